"""In what a run's config is not that of a shipped recipe."""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ml_collections

from bccl_jax.config import shipped
from bccl_jax.config.fields import get_config
from bccl_jax.config.flattening import flatten
from bccl_jax.errors import BcclError
from bccl_jax.workdir.agreement import FREE_KEYS


class Changes(NamedTuple):
    """What was changed.

    Attributes:
      recipe: how the config that is the nearest is called, as --config takes it; "" where none is
        for this data set, so that the changes are from the defaults of the method.
      changed: key -> (its value there, its value in the run).
    """

    recipe: str
    changed: dict[str, tuple[Any, Any]]


def changes(flat: Mapping[str, Any]) -> Changes:
    """Finds the shipped config that a run's is the nearest to, and what differs.

    Args:
      flat: of the run, flattened.

    Returns:
      The changes, without what shapes no run, such as where data lies.
    """
    found = [Changes(name, _differing(config, flat)) for name, config in _candidates(flat)]
    if found:
        return min(found, key=lambda each: len(each.changed))
    return Changes("", _differing(get_config(flat["method.name"]), flat))


def _candidates(flat: Mapping[str, Any]) -> Iterator[tuple[str, ml_collections.ConfigDict]]:
    method = flat["method.name"]
    names = [name for name, data in _data_sets().items() if data == flat["data.name"]]
    for name in names:
        for arguments in (method, f"{method},{flat['model.backbone']}"):
            try:
                config = shipped.get_config(name, arguments)
            except (BcclError, ValueError, TypeError):  # not every config takes every argument
                continue
            if config.method.name == method:
                yield f"{name}:{arguments}", config


@functools.cache
def _data_sets() -> dict[str, str]:
    """What each shipped config is of."""
    return {name: shipped.get_config(name).data.name for name in shipped.names()}


def _differing(
    config: ml_collections.ConfigDict, flat: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    there = json.loads(json.dumps(flatten(config)))
    return {
        key: (there.get(key), value)
        for key, value in sorted(flat.items())
        if key in there and there[key] != value and not key.startswith(FREE_KEYS)
    }
