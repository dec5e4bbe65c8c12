"""Methods by name: a method called `name` is the class `METHOD` of `bccl_jax/methods/name.py`."""

import dataclasses
import importlib
import pkgutil

import ml_collections
from ml_collections import config_dict

from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method


def names() -> list[str]:
    """The names of all methods."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")


def _method_class(name: str) -> type[Method]:
    if name not in names():
        raise ConfigError(
            f"no method is called {name!r} (config.method.name); there are {', '.join(names())}"
        )
    return importlib.import_module(f"{__name__}.{name}").METHOD


def settings(name: str, **changes) -> ml_collections.ConfigDict:
    """Returns the default settings of a method as `config.method`.

    Args:
      name: the method, such as "bccl".
      **changes: settings that differ from the method's defaults.

    Returns:
      A ConfigDict of `name` and every field of the method's dataclass.

    Raises:
      ConfigError: no method has that name, or a change names no setting of it.
    """
    config = ml_collections.ConfigDict({"name": name})
    for field in dataclasses.fields(_method_class(name)):
        # None means "as the preset says"; a placeholder lets the command line set it.
        default = config_dict.placeholder(float) if field.default is None else field.default
        config[field.name] = default
    unknown = sorted(set(changes) - set(config))
    if unknown:
        raise ConfigError(f"the method {name} has no setting {unknown[0]!r}")
    config.update(changes)
    return config


def create(config: ml_collections.ConfigDict) -> Method:
    """Builds the method that `config.method` describes.

    Args:
      config: `config.method`: the name and the settings.

    Returns:
      The frozen method.

    Raises:
      ConfigError: no method has that name, or its settings are another method's.
    """
    method_class = _method_class(config.name)
    fields = {field.name for field in dataclasses.fields(method_class)}
    values = {key: value for key, value in config.items() if key != "name"}
    if set(values) != fields:
        raise ConfigError(
            f"config.method.name is {config.name!r} but the settings beside it are another "
            "method's; choose a method by the config's argument, as in "
            f"--config=configs/digits_lt.py:{config.name}"
        )
    return method_class(**values)
