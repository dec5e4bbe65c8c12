"""A config as a flat dict of JSON values, and back."""

from typing import Any

import ml_collections

from bccl_jax.config.fields import get_config
from bccl_jax.errors import ConfigError
from bccl_jax.settings.bounds import shown
from bccl_jax.settings.suggestions import did_you_mean, key_like


def flatten(config: ml_collections.ConfigDict) -> dict:
    """Returns {"data.name": value, ...}, tuples as lists, as JSON would give them back."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            flat.update({f"{key}.{inner}": v for inner, v in flatten(value).items()})
        else:
            flat[key] = list(value) if isinstance(value, tuple) else value
    return flat


def unflatten(flat: dict) -> ml_collections.ConfigDict:
    """Returns the config that `flatten` made {"data.name": value, ...} of, lists as tuples.

    A key that is missing, such as one that is younger than the run, has its default.

    Raises:
      ConfigError: the method or a key is unknown, or a value is of another kind than its key's.
    """
    config = get_config(flat.get("method.name"))
    known = flatten(config)
    for key in sorted(flat.keys() - known.keys()):
        raise ConfigError(
            f"the config has no key {key!r}{did_you_mean(key_like(key, known), 'config.')}"
        )
    for key, value in flat.items():
        value = tuple(value) if isinstance(value, list) else value
        set_value(config, key, value)
    return config


def set_value(config: ml_collections.ConfigDict, key: str, value: Any) -> None:
    """Gives a key, such as "data.name", a value.

    Raises:
      ConfigError: the value is of another kind than the key's.
    """
    try:
        config.update_from_flattened_dict({key: value})
    except (TypeError, OverflowError) as error:
        raise ConfigError(f"config.{key} is {shown(value)}, which is not a value of it") from error
