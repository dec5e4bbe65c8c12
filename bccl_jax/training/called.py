"""Training called from Python, by the path of a config file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from PIL import Image

from bccl_jax.config import files
from bccl_jax.config.allowed import unknown_key
from bccl_jax.config.flattening import flatten, set_value
from bccl_jax.errors import ConfigError, StoppedAtOnce
from bccl_jax.settings.bounds import shown
from bccl_jax.tracking.callback import Callback
from bccl_jax.training.loop import Observe, train_and_evaluate
from bccl_jax.training.results import Result
from bccl_jax.training.views_file import views_image
from bccl_jax.workdir.directory import Workdir


def train(
    config: str | os.PathLike | ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    changes: Mapping[str, Any] | None = None,
    *,
    observe: Observe | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | None = None,
) -> Result:
    """Trains a run to its end, or goes on with the one that the directory holds.

    Args:
      config: "FILE.py" or "FILE.py:METHOD" of a config file, "DIR/config.json" of a run, or a
        config.
      workdir: the run's directory: a new one, or that of a run of the very same config.
      changes: values by their keys, such as {"epochs": 5, "model.pretrained": path}.
      observe: called after each evaluation, for measures of one's own.
      callbacks: objects of classes that derive from `bccl_jax.Callback`, told of the run beside
        `config.trackers`; what one raises ends the run.
      checkpoint: "last", "best" or a step to go on from, where that is not to be the newest one;
        later and damaged ones are moved to the folder `set_aside` of the directory.

    Returns:
      The final state and its figures.

    Raises:
      BcclError: as `bccl_jax.training.loop.train_and_evaluate`; or there is no such config file or
        key.
      Interrupted: a signal, Ctrl-C or the button of a notebook stopped it after a checkpoint.
      KeyboardInterrupt: the same a second time, or before the first step.
    """
    config = changed(_loaded(config), changes or {})
    try:
        return train_and_evaluate(config, workdir, observe, callbacks, checkpoint)
    except KeyboardInterrupt:
        raise StoppedAtOnce from None


def views(
    config: str | os.PathLike | ml_collections.ConfigDict,
    changes: Mapping[str, Any] | None = None,
    *,
    workdir: str | os.PathLike | None = None,
) -> Image.Image:
    """Draws what augmentation makes of some images of a run, which need not be there.

    Args:
      config: as `train` takes it.
      changes: the same.
      workdir: of a run, whose next steps are shown, with what it has learned of a curriculum; None
        for the first steps of a new one.

    Returns:
      The picture, which a notebook shows; it has `save`.

    Raises:
      BcclError: as of `train`.
    """
    directory = None if workdir is None else Workdir(workdir)
    return views_image(changed(_loaded(config), changes or {}), directory)


def _loaded(
    config: str | os.PathLike | ml_collections.ConfigDict,
) -> ml_collections.ConfigDict:
    if isinstance(config, str | os.PathLike):
        return files.load(os.fspath(config), option="config")
    if not isinstance(config, ml_collections.ConfigDict | ml_collections.FrozenConfigDict):
        raise ConfigError(
            f"config is {shown(config, 40)}; it must be the path of a config file, or what "
            "bccl_jax.config.get_config gives"
        )
    return config


def changed(
    config: ml_collections.ConfigDict, changes: Mapping[str, Any]
) -> ml_collections.ConfigDict:
    """A copy of a config with other values of some keys.

    Raises:
      ConfigError: there is no such key, or a value is of another kind than its key's.
    """
    config = ml_collections.ConfigDict(config).copy_and_resolve_references()
    known = flatten(config)
    for key, value in changes.items():
        if key not in known:
            raise ConfigError(unknown_key(key, known))
        # Such as a result's `workdir`, to start from.
        set_value(config, key, os.fspath(value) if isinstance(value, os.PathLike) else value)
    return config
