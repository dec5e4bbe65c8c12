"""What the class of a method of one's own must be to be registered."""

import dataclasses
import inspect
import types
import typing

from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method
from bccl_jax.settings.bounds import Bound, Like, Maybe, shown

# What a config, a command line and a JSON file can hold.
_KINDS = (bool, int, float, str, tuple)


def check_class(name: str, found: type[Method]) -> None:
    """Checks a class that is to be the method called `name`.

    Raises:
      ConfigError: it is no frozen dataclass below `Method`, has no loss, or a setting that a config
        cannot hold.
    """
    if not isinstance(found, type) or not issubclass(found, Method):
        raise ConfigError(
            f"what is registered as the method {name!r} is {shown(found)}; it must be a subclass "
            "of bccl_jax.methods.base.Method"
        )
    what = f"the method {name!r} is the class {found.__name__}, "
    # A subclass of a dataclass has the parameters of the latter.
    parameters = vars(found).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        raise ConfigError(
            f"{what}which is no frozen dataclass; write @dataclasses.dataclass(frozen=True) "
            f"between @methods.register({name!r}) and the class"
        )
    if found.loss is Method.loss:
        raise ConfigError(f"{what}which has no loss; write its function loss")
    hints = _hints(found, what)
    for field in dataclasses.fields(found):
        if field.name == "name":
            raise ConfigError(
                f"{what}with a setting called 'name', which config.method has already; choose "
                "another name"
            )
        if field.default is None and len(_kinds(hints[field.name])) == 1:
            continue
        if not isinstance(field.default, _KINDS):
            raise ConfigError(
                f"{what}whose setting {field.name!r} has no default that a config can hold; give "
                "it a number, a text, True or False, or a tuple of these, or None as in "
                f"`{field.name}: float | None = None`"
            )


def loose_bounds(found: type[Method]) -> dict[str, Bound]:
    """The bounds of the settings that state none: what is of the kind of their defaults."""
    hints = typing.get_type_hints(found)
    loose = {}
    for field in dataclasses.fields(found):
        if field.default is None:
            (kind,) = _kinds(hints[field.name])
            loose[field.name] = Maybe(Like(kind()))
        else:
            loose[field.name] = Like(field.default)
    return loose


def _hints(found: type, what: str) -> dict[str, typing.Any]:
    try:
        return typing.get_type_hints(found)
    except Exception as error:  # annotations are code
        raise ConfigError(f"{what}whose annotations cannot be read: {error}") from error


def _kinds(hint: typing.Any) -> list[type]:
    """What a setting may be beside None, such as float of `float | None`."""
    inner = typing.get_args(hint) if _is_union(hint) else (hint,)
    kinds = [typing.get_origin(kind) or kind for kind in inner]
    return [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, _KINDS)]


def _is_union(hint: typing.Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)
