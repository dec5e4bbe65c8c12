"""Methods by name, one file each, and the seam to the engine.

A method called `name` is the class `METHOD` of `bccl_jax/methods/name.py`; one of one's own is a
class that `register` gives a name (docs/extending.md).
"""

import dataclasses
import functools
import importlib
import pkgutil
import typing
from collections.abc import Callable

import ml_collections
from ml_collections import config_dict

from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method
from bccl_jax.methods.shared import outside
from bccl_jax.settings.bounds import Bound, Choice, shown
from bccl_jax.settings.registry import Origin, Registry
from bccl_jax.settings.suggestions import did_you_mean, key_like, nearest, series
from bccl_jax.system.documentation import page


def names() -> list[str]:
    """The names of all methods, those that were registered last."""
    return [*shipped(), *OWN.table]


@functools.cache
def shipped() -> tuple[str, ...]:
    """The names of the package's own methods."""
    return tuple(
        sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base" and not m.ispkg)
    )


def of_a_file() -> str:
    """Ends a sentence on a name that is not known: it may be of a file of one's own."""
    where = page("extending.md")
    return f"; one of your own is known by its file, --config.imports=FILE.py ({where})"


# Behind a method's name: its own recipe in place of the harness's.
PUBLISHED = "published"

OWN = Registry("method", {}, taken=shipped())


def register(name: str) -> Callable[[type[Method]], type[Method]]:
    """Makes a class the method called `name`, as a decorator of it.

    Args:
      name: which configs, `--config=FILE:NAME` and records call it by. Where the file that
        registers it is run again the newer class takes the place of the older.

    Returns:
      The decorator; it gives the class back as it is.

    Raises:
      ConfigError: the name is taken, or the class is no frozen dataclass below `base.Method` with a
        loss and settings that a config can hold.
    """
    origin = Origin.of_caller()

    def add(found: type[Method]) -> type[Method]:
        outside.check_class(name, found)
        OWN.add(name, found, origin)
        return found

    return add


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Raises:
      ConfigError: no method has that name.
    """
    if not isinstance(name, str) or name not in names():
        hint = did_you_mean(nearest(name, names())) or of_a_file()
        if isinstance(name, str) and (having := having_preset(name)):
            hint = f"; {name} is a preset, written {having[0]},{name}"
        raise ConfigError(
            f"no method is called {shown(name)} (config.method.name); there are "
            f"{', '.join(names())}{hint}"
        )
    if name in OWN.table:
        return OWN.table[name]
    return importlib.import_module(f"{__name__}.{name}").METHOD


def variant(text: str) -> tuple[str, str]:
    """What a config's argument names: a method, and maybe a preset of it behind a comma.

    Args:
      text: such as "bccl", "bccl,released" or "bcl,published".

    Returns:
      The method and the preset, "" for the method's own.

    Raises:
      ConfigError: no method has that name, or it has no such preset.
    """
    words = map(str.strip, text.split(",")) if isinstance(text, str) else ()
    parts = [word for word in words if word] or [text]
    if len(parts) == 1:
        method_class(parts[0])
        return parts[0], ""
    if len(parts) == 2 and parts[0] in names() and parts[1] in presets(parts[0]):
        return parts[0], parts[1]
    name = next((part for part in parts if part in names()), "bccl")
    own = presets(name)
    behind = f"behind {name} maybe a preset ({', '.join(own)}), " if own else ""
    meant = nearest(parts[-1], own) if name in parts else ""
    raise ConfigError(
        f"{shown(text)} names several things where one method is due (config.method.name); write "
        f"one of {', '.join(names())}, {behind}"
        f"and a backbone by config.model.backbone{did_you_mean(meant and f'{name},{meant}')}"
    )


def presets(name: str) -> list[str]:
    """The presets that a method has: readings of it, and "published" for a recipe of its own.

    Raises:
      ConfigError: no method has that name.
    """
    bound = bounds(name).get("preset")
    readings = list(bound.known) if isinstance(bound, Choice) else []
    return [*readings, PUBLISHED] if method_class(name).published else readings


def having_preset(preset: str) -> list[str]:
    """The methods that have a preset."""
    return [name for name in names() if preset in presets(name)]


def settings(name: str, **changes) -> ml_collections.ConfigDict:
    """Returns the default settings of a method as `config.method`.

    Args:
      name: the method, such as "bccl".
      **changes: settings that differ from the method's defaults.

    Returns:
      A ConfigDict of `name` and every field of the method's dataclass; what a preset decides has
      its value, but for the `left_to_preset`, which are None.

    Raises:
      ConfigError: no method has that name, or a change names no setting of it.
    """
    unknown = sorted(set(changes) - _fields(name))
    if unknown:
        raise ConfigError(unknown_setting(unknown[0], name))
    # What the preset decides is written out, so that the config says what will be run.
    made = method_class(name)(**{k: v for k, v in changes.items() if k == "preset"})
    hints = typing.get_type_hints(method_class(name))
    config = ml_collections.ConfigDict({"name": name})
    for field in dataclasses.fields(made):
        value = None if field.name in made.left_to_preset else getattr(made, field.name)
        if value is None:
            # A placeholder of its kind lets the command line set it.
            (kind,) = (k for k in typing.get_args(hints[field.name]) if k is not type(None))
            value = config_dict.placeholder(kind)
        config[field.name] = value
    config.update(changes)
    return config


def bounds(name: str) -> dict[str, Bound]:
    """The bounds that a method states of its settings, which are their fields' annotations.

    Of a registered method every setting has one: where it states none, the kind of its default.

    Raises:
      ConfigError: no method has that name.
    """
    hints = typing.get_type_hints(method_class(name), include_extras=True)
    found = outside.loose_bounds(method_class(name)) if name in OWN.table else {}
    for field in dataclasses.fields(method_class(name)):
        for note in getattr(hints[field.name], "__metadata__", ()):
            if hasattr(note, "allows"):
                found[field.name] = note
    return found


def create(config: ml_collections.ConfigDict) -> Method:
    """Builds the method that `config.method` describes.

    Args:
      config: `config.method`: the name and the settings.

    Returns:
      The frozen method.

    Raises:
      ConfigError: no method has that name, or its settings are another method's.
    """
    check_settings(config)
    values = {key: value for key, value in config.items() if key != "name"}
    return method_class(config.name)(**values)


def check_settings(config: ml_collections.ConfigDict) -> None:
    """Checks that `config.method` has the settings of the method that it names, and no others.

    Raises:
      ConfigError: no method has that name, or its settings are another method's.
    """
    fields = _fields(config.name)
    found = set(config) - {"name"}
    others = [_fields(name) for name in names()]
    if fields - found or (found != fields and found in others):
        raise ConfigError(
            f"config.method.name is {config.name!r} but the settings beside it are another "
            "method's; choose a method by the config's argument, as in "
            f"--config=digits_lt:{config.name}"
        )
    for setting in sorted(found - fields):
        raise ConfigError(unknown_setting(setting, config.name))


def unknown_setting(setting: str, name: str) -> str:
    """The sentence on a setting that a method does not have."""
    text = f"the config has no key {f'method.{setting}'!r}"
    having = [n for n in names() if setting in _fields(n)]
    if having:
        return (
            f"{text} with the method {name}; it is a setting of {series(having)}, which the "
            f"config's argument chooses, as in --config=digits_lt:{having[0]}"
        )
    keys = [f"method.{key}" for key in sorted(_fields(name))]
    return text + did_you_mean(key_like(f"method.{setting}", keys), "config.")


def _fields(name: str) -> set[str]:
    return {field.name for field in dataclasses.fields(method_class(name))}
