"""A traced function without platforms, barriers and rules of derivatives computes the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.models.normalization import relu
from bccl_jax.use.exporting.neutral import neutral, traced

X = jnp.linspace(-2, 3, 12).reshape(3, 4)
WEIGHTS = np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)


@jax.custom_vjp
def doubled(x):
    return 2 * x


doubled.defvjp(lambda x: (2 * x, None), lambda _, g: (g,))


def everything(x):
    x = jax.nn.relu(x) + jax.nn.silu(x)
    x = jax.checkpoint(lambda x: jnp.sin(relu(x)))(doubled(x))
    return jax.jit(lambda x: x @ (WEIGHTS * jax.lax.rsqrt(WEIGHTS**2 + 1)))(x)


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                yield from primitives(getattr(inner, "jaxpr", inner))


def test_it_computes_the_same():
    for function in (neutral(everything), traced(everything, X)):
        np.testing.assert_allclose(jax.jit(function)(X), everything(X), rtol=1e-6)


def test_what_formats_of_others_lack_is_gone():
    plain = set(primitives(jax.make_jaxpr(everything)(X).jaxpr))
    gone = {"platform_index", "cond", "optimization_barrier", "custom_vjp_call", "custom_jvp_call"}
    assert gone <= plain
    left = list(primitives(jax.make_jaxpr(neutral(everything))(X).jaxpr))
    assert not (gone | {"jit", "pjit", "remat2", "checkpoint"}) & set(left)
    # Of weights alone: computed as it is traced.
    assert "rsqrt" in plain
    assert "rsqrt" not in left


@pytest.mark.parametrize("others", [{"default": jnp.cos}, {}])
def test_the_default_of_the_platforms_is_taken_else_the_cpus(others):
    def function(x):
        return jax.lax.platform_dependent(x, tpu=jnp.exp, cpu=jnp.sin, **others)

    wanted = jnp.cos if others else jnp.sin
    np.testing.assert_array_equal(jax.jit(neutral(function))(X), jax.jit(wanted)(X))


def test_a_condition_on_the_input_stays():
    def function(x):
        return jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x)

    for x in (X, -X):
        np.testing.assert_array_equal(jax.jit(neutral(function))(x), jax.jit(function)(x))
    assert "cond" in set(primitives(jax.make_jaxpr(neutral(function))(X).jaxpr))


def test_the_number_of_rows_may_be_open():
    (batch,) = jax.export.symbolic_shape("batch")

    def function(x):
        return neutral(lambda x: everything(x) + jnp.zeros((len(x.shape), 1, 1))[0] + x[:, :1])(x)

    open_rows = jax.ShapeDtypeStruct((batch, 4), jnp.float32)
    found = jax.export.export(jax.jit(function))(open_rows)
    np.testing.assert_allclose(found.call(X), function(X), rtol=1e-6)
