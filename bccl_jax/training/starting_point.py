"""The weights that a run starts from: those of a file of PyTorch's names, or of another run."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import ml_collections

from bccl_jax.classifier.image_classifier import ImageClassifier, with_shardings
from bccl_jax.classifier.reading import classifier_of
from bccl_jax.classifier.starting import tell
from bccl_jax.classifier.transfer import Transfer, transfer
from bccl_jax.classifier.variables import Weights
from bccl_jax.config.files import RUN_CONFIG, is_of_run
from bccl_jax.config.shared import is_shared
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError
from bccl_jax.models.pretrained import COLORS, check_file
from bccl_jax.models.pretrained import load as load_pretrained
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import shown
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.opened import Run, checkpoints_of, config_of, opened


def check_start(config: ml_collections.ConfigDict) -> None:
    """Checks what can be known of `config.model.pretrained` before any data is read.

    Args:
      config: of the run that is to start.

    Raises:
      ConfigError: it names nothing that a run of this config can start from.
      DataError: it is a file that cannot be used.
    """
    if not config.model.pretrained:
        return
    path = _path(config)
    if path is None:
        check_file(expanded(config.model.pretrained), config.model.backbone)
        return
    check_run(path, _named(path), config)


def check_run(path: pathlib.Path, named: str, config: ml_collections.ConfigDict) -> None:
    """Checks that a run can be started from, as far as that is known without its weights.

    Args:
      path: where it lies, in a directory or a shared file.
      named: the key and its value, for messages.
      config: of the run that is to start.

    Raises:
      ConfigError: there is no run, none of this backbone, or none that has a checkpoint.
      DataError: it is a damaged file.
    """
    run = opened(path)
    if isinstance(run, Workdir):
        if not run.config.is_file():
            raise ConfigError(f"{named} is a folder that holds no run{_meant(path, named)}")
        if not run.has_checkpoint():
            raise ConfigError(
                f"{named} is a run without a checkpoint so far; train it on, or name another one"
            )
    there = config_of(run).model.backbone
    if there != config.model.backbone:
        raise ConfigError(
            f"{named} is a run of config.model.backbone={there!r}, and this one's is "
            f"{config.model.backbone!r}; choose the same"
        )


def started(state: TrainState, classifier: ImageClassifier) -> TrainState:
    """The state before the first step with the weights that `config.model.pretrained` names.

    Of a file the backbone is taken. Of the last checkpoint of another run's directory, or the one
    of a shared file, the backbone is, and what `transfer` chooses of its heads. A line says so.

    Args:
      state: with random weights.
      classifier: of the run.

    Returns:
      The state; the same where nothing is named.

    Raises:
      ConfigError: the other run has another backbone.
      DataError: the file cannot be used.
      WorkdirError: the directory's checkpoint cannot be read.
    """
    config = classifier.config
    if not config.model.pretrained:
        return state
    check_start(config)
    path = _path(config)
    if path is None:
        path = expanded(config.model.pretrained)
        found = load_pretrained(path, config.model.backbone)
        arrays = {(kind, "backbone"): found[kind] for kind in ("params", "batch_stats")}
        arrays = flax.traverse_util.flatten_dict(flax.traverse_util.unflatten_dict(arrays))
        which, told, colors = "", "classifier new: a file does not name its classes", COLORS
    else:
        source = read_source(path, _named(path), classifier)
        arrays, told, colors = source.transfer.arrays, source.transfer.told, source.colors
        which = f"epoch {source.epoch}, "
    tell(
        f"starts from {shown(path)} ({which}backbone {config.model.backbone}): {told}",
        other_colors(colors, config),
    )
    return with_arrays(state, arrays, classifier)


def with_arrays(
    state: TrainState, arrays: Mapping[tuple[str, ...], Any], classifier: ImageClassifier
) -> TrainState:
    """A state before the first step with some of its network's arrays replaced.

    Args:
      state: of the run.
      arrays: by their paths, which begin with "params" or "batch_stats".
      classifier: of the run.

    Returns:
      The state, in which what follows the parameters follows the new ones.
    """
    own = {"params": state.params, "batch_stats": state.batch_stats}
    arrays = jax.device_put(dict(arrays), replicated(classifier.mesh))
    joined = flax.traverse_util.unflatten_dict(flax.traverse_util.flatten_dict(own) | arrays)
    params = joined["params"]
    return state.replace(
        params=params,
        batch_stats=joined.get("batch_stats", {}),
        method=classifier.method.follow(state.method, params, first=True),
    )


def _path(config: ml_collections.ConfigDict) -> pathlib.Path | None:
    """Where the run that is named lies, in a directory or a shared file; None for other files."""
    path = expanded(config.model.pretrained)
    if path.is_dir() or is_shared(path):
        return path
    return path.parent if is_of_run(os.fspath(path)) else None


def _named(path: pathlib.Path) -> str:
    return f"config.model.pretrained={shown(path)}"


def _meant(path: pathlib.Path, named: str) -> str:
    """What may be meant by a folder that holds no run."""
    files = sorted(path.glob("*.safetensors")) + sorted(path.glob("*.pth"))
    runs = [parent for parent in path.absolute().parents[:2] if (parent / RUN_CONFIG).is_file()]
    runs += sorted(file.parent for file in path.glob(f"*/{RUN_CONFIG}"))
    if found := [*files, *runs]:
        return f"; did you mean {named.partition('=')[0]}={shown(found[0])}?"
    return "; name a run's --workdir or a file of weights"


@dataclasses.dataclass(frozen=True)
class Source:
    """A run whose weights another one starts from.

    Attributes:
      config: of it.
      weights: of its last checkpoint, or the one of a shared file.
      epoch: that these are of.
      transfer: what the other one takes over of them.
    """

    config: ml_collections.ConfigDict
    weights: Weights
    epoch: int
    transfer: Transfer

    @property
    def colors(self) -> dict[str, tuple[float, ...]]:
        """What its images are normalised by, by the keys of `config.augment`."""
        return {name: tuple(self.config.augment[name]) for name in COLORS}


def read_source(path: pathlib.Path, named: str, classifier: ImageClassifier) -> Source:
    """Reads the weights of a run that another one starts from.

    Args:
      path: where it lies, in a directory or a shared file.
      named: the key and its value, for messages.
      classifier: of the run that starts.

    Raises:
      ConfigError: its backbone has arrays of other shapes.
      DataError: the file cannot be used.
      WorkdirError: the directory's checkpoint cannot be read.
    """
    run: Run = opened(path)
    config = config_of(run)
    other = classifier_of(config, run, classifier.mesh)
    variables = other.abstract_variables
    everywhere = replicated(classifier.mesh)
    abstract = Weights(
        *(
            with_shardings(shapes, jax.tree.map(lambda _: everywhere, shapes))
            for shapes in (variables.params, variables.batch_stats)
        )
    )
    with checkpoints_of(run) as checkpoints:
        step = checkpoints.resolve(checkpoints.named()[0])
        weights = checkpoints.restore_part(step, abstract)
    try:
        found = transfer(weights.params, weights.batch_stats, other, classifier)
    except ConfigError as error:
        raise ConfigError(f"{named} does not fit: {error}") from error
    return Source(other.config, weights, step // other.steps_per_epoch, found)


def other_colors(colors: dict, config: ml_collections.ConfigDict) -> str | None:
    """A sentence where images are normalised by other numbers than those of the weights."""
    keys = [f"config.augment.{k}" for k, v in colors.items() if tuple(config.augment[k]) != v]
    if not keys:
        return None
    there = " and ".join(f"config.augment.{name}={value}" for name, value in colors.items())
    return (
        f"the weights are of images normalised otherwise, by {there}: with these values the "
        "network sees what it was trained on"
    )
