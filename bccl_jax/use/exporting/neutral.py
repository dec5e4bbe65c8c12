"""A traced function without what is for one platform, for compilers, or for derivatives alone.

`jax.lax.platform_dependent` stages a branch for each platform, and formats that know no platforms
have no operation for the choice. Here its default is taken. Barriers, which compute nothing, and
the rules of derivatives go too, and what does not depend on the inputs is computed at once.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

# Calls whose body stands for them, by the name of the parameter that has it.
_BODIES = {
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat2": "jaxpr",
}


def neutral(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Closes over a function what computes the same on any platform.

    Args:
      function: of one array, and with one array as its value.

    Returns:
      The same function, to be traced.
    """

    @functools.wraps(function)
    def computed(array):
        return traced(function, jax.ShapeDtypeStruct(array.shape, array.dtype))(array)

    return computed


def traced(
    function: Callable[[jax.Array], jax.Array], array: jax.ShapeDtypeStruct
) -> Callable[[jax.Array], jax.Array]:
    """The same of a function that is traced at once.

    Args:
      function: of one array, and with one array as its value.
      array: of what shape and dtype that is.

    Returns:
      The same function, of such arrays alone, to be traced again.
    """
    closed = jax.make_jaxpr(function)(array)

    def computed(array):
        (found,) = _evaluate(closed.jaxpr, closed.consts, [array])
        return found

    return computed


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    values: dict[Any, Any] = {}

    def read(variable):
        return variable.val if isinstance(variable, Literal) else values[variable]

    def write(variables, found):
        values.update(zip(variables, found, strict=True))

    write(jaxpr.constvars, consts)
    write(jaxpr.invars, inputs)
    for equation in jaxpr.eqns:
        operands = [read(variable) for variable in equation.invars]
        write(equation.outvars, _computed(equation.primitive, operands, equation.params))
    return [read(variable) for variable in jaxpr.outvars]


def _computed(primitive: Any, operands: list[Any], params: Mapping[str, Any]) -> list[Any]:
    """What one equation gives."""
    name = primitive.name
    if name == "platform_index":
        return [np.int32(_default(params["platforms"]))]
    if name == "optimization_barrier":
        return operands
    if name == "cond" and not isinstance(operands[0], jax.core.Tracer):
        # `lax.cond` holds an index to the branches that there are.
        branch = params["branches"][np.clip(int(operands[0]), 0, len(params["branches"]) - 1)]
        return _evaluate(branch.jaxpr, branch.consts, operands[1:])
    if name in _BODIES:
        body = params[_BODIES[name]]
        consts = body.consts if isinstance(body, ClosedJaxpr) else ()
        inner = body.jaxpr if isinstance(body, ClosedJaxpr) else body
        return _evaluate(inner, consts, operands)
    if any(isinstance(operand, jax.core.Tracer) for operand in operands) or _symbolic(params):
        found = primitive.bind(*operands, **params)
    else:
        with jax.ensure_compile_time_eval():
            found = primitive.bind(*operands, **params)
    return list(found) if primitive.multiple_results else [found]


def _default(platforms: Sequence[Sequence[str] | None]) -> int:
    """The branch of platforms that none is for, else the CPU's."""
    if None in platforms:
        return list(platforms).index(None)
    return next((i for i, names in enumerate(platforms) if "cpu" in names), 0)


def _symbolic(params: Mapping[str, Any]) -> bool:
    """Whether the batch's size, which is not known, is in an equation's parameters."""
    shape = params.get("shape")
    return isinstance(shape, tuple) and not all(isinstance(n, int | np.integer) for n in shape)
