"""Which files of one's own a run needs, for its directory to remember."""

import contextlib
from collections.abc import Iterator
from typing import Any

import ml_collections

from bccl_jax import methods, models
from bccl_jax.augment import outside as views
from bccl_jax.config.flattening import flatten
from bccl_jax.config.importing import absolute
from bccl_jax.data import sources
from bccl_jax.settings.registry import Origin, Registry


def remembered(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """A config as a run's directory keeps it: flattened, with every file that it needs."""
    return flatten(config) | {"imports": list(files_of(config))}


def files_of(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """Absolute paths of the files that a config needs, each once.

    Args:
      config: with the keys of `bccl_jax.config.get_config`.

    Returns:
      Those of `config.imports`, then those that registered the method, its views, the backbone or
      the data set; a notebook is none.
    """
    asked = [absolute(file) for file in config.imports]
    return tuple(dict.fromkeys(asked + [o.file for _, _, o in _registered(config) if o.file]))


def without_file(config: ml_collections.ConfigDict) -> str | None:
    """A sentence on what a config names that has no file for a directory to remember, if any."""
    found = _registered(config)
    lacking = [f"the {kind} {name!r}" for kind, name, origin in found if not origin.file]
    if not lacking:
        return None
    return (
        f"{' and '.join(lacking)} was registered in a notebook: another process can only go on "
        "with this run, or evaluate it, where that is done again; a file can be remembered"
    )


def _registered(config: ml_collections.ConfigDict) -> Iterator[tuple[str, str, Origin]]:
    asked: list[tuple[Registry, str]] = [
        (methods.OWN, config.method.name),
        *((views.OWN, name) for name in _views(config)),
        (models.OWN, config.model.backbone),
        (sources.OWN, config.data.name),
    ]
    for registry, name in asked:
        if name in registry.table and name in registry.origins:
            yield registry.kind, name, registry.origins[name]


def _views(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    # Settings that cannot work are told elsewhere.
    with contextlib.suppress(Exception):
        return tuple(dict.fromkeys(methods.create(config.method).views))
    return ()
