"""When two functions are the same to a compiler: a method may write its own anew each epoch."""

import functools
import inspect
from collections.abc import Callable, Hashable
from typing import Any


def sameness(function: Callable) -> Hashable:
    """What two functions have in common that do the same: their code and all that is bound to it.

    Args:
      function: a function, a method, a `functools.partial` of one, or a callable object, which is
        the same as its equals.

    Returns:
      Something to be compared.

    Raises:
      TypeError: something bound to it cannot be compared, as an array; the message is its type.
    """
    if isinstance(function, functools.partial):
        names = sorted(function.keywords)
        values = (*function.args, *(function.keywords[name] for name in names))
        return sameness(function.func), tuple(names), tuple(map(_value, values))
    if inspect.ismethod(function):
        return sameness(function.__func__), _value(function.__self__)
    if inspect.isfunction(function):
        bound = [cell.cell_contents for cell in function.__closure__ or ()]
        bound += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        return function.__module__, function.__code__, tuple(map(_value, bound))
    return _value(function)


def _value(value: Any) -> Hashable:
    if isinstance(value, functools.partial) or inspect.isroutine(value):
        return sameness(value)
    try:
        hash(value)
    except TypeError:
        raise TypeError(type(value).__name__) from None
    # 1 and True are equal and compile to different programs.
    return type(value), value
