"""Where the paths of a run's config led when it was trained: they are found from any folder."""

import os
from collections.abc import Mapping
from typing import Any

from bccl_jax.errors import ConfigError
from bccl_jax.system.environment import expanded

# What a run's directory calls the record of them.
PLACES = "places.json"
# Of `config.imports` the config itself has absolute paths, and other paths start from `data.dir`.
_PATHS = ("data.dir", "data.lists", "model.pretrained", "method.start_from")


def places(flat: Mapping[str, Any]) -> dict[str, str]:
    """The absolute path of each path of a config that leads somewhere.

    Args:
      flat: a flattened config.
    """
    led = {key: absolute(flat[key]) for key in _PATHS if flat.get(key)}
    return {key: place for key, place in led.items() if os.path.exists(place)}


def led(flat: Mapping[str, Any], recorded: Mapping[str, str]) -> dict[str, Any]:
    """A config of a run whose paths lead where they led then.

    A path that leads nowhere there any more is taken as it was given, if that leads somewhere from
    here: a project may have moved with its data.

    Args:
      flat: the flattened config, as it was given.
      recorded: its `places` when it was trained; {} of a run of a time before they were kept.
    """
    return dict(flat) | {
        key: place
        for key, place in recorded.items()
        if key in _PATHS
        and key in flat
        and (os.path.exists(place) or not os.path.exists(absolute(flat[key])))
    }


def same(key: str, value: Any, recorded: Mapping[str, str]) -> bool:
    """Whether a value of a key is a path that leads where that of a run led."""
    return key in recorded and isinstance(value, str) and absolute(value) == recorded[key]


def absolute(path: str) -> str:
    """A path from the root; as it is where no home folder is known that it begins with."""
    try:
        return os.path.abspath(expanded(path))
    except ConfigError:  # a home folder that is not known here
        return path
