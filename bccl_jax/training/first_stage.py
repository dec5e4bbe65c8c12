"""Another run in the place of a method's first stage: what it must be, and what is taken of it.

It is a run of any method with the same backbone on the very same training images, in whatever
directory: the weights tell one from another.
"""

import hashlib
import pathlib

import flax.traverse_util
import ml_collections
import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.starting import tell
from bccl_jax.classifier.variables import Weights
from bccl_jax.config.files import is_of_run
from bccl_jax.config.shared import is_shared
from bccl_jax.data.split import Dataset
from bccl_jax.devices.mesh import is_lead
from bccl_jax.errors import BcclError, ConfigError, WorkdirError
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import shown
from bccl_jax.training.parts import parted
from bccl_jax.training.starting_point import (
    check_run,
    other_colors,
    read_source,
    with_arrays,
)
from bccl_jax.training.state import TrainState
from bccl_jax.workdir import content, identity, json_files
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.opened import config_of, opened
from bccl_jax.workdir.shared_run import named_leaves

KEY = "method.start_from"
# What a directory calls the record of it.
RECORD = "first_stage"
# Of which images the training split is, as far as the config alone says it.
_IMAGES = (
    "data.name",
    "data.imbalance",
    "data.classes",
    "data.pixels",
    "data.subset_seed",
    "data.validation_fraction",
)
_CLASSIFIER = "heads_classifier"


def check_first_stage(config: ml_collections.ConfigDict) -> None:
    """Checks what can be known of `config.method.start_from` before any data is read.

    Args:
      config: of the run that is to start, validated.

    Raises:
      ConfigError: it names no run, or none of this backbone and these images.
      DataError: it is a damaged file.
    """
    path = _path(config)
    if path is None:
        return
    named = _named(path)
    if not path.is_dir() and not is_shared(path):
        what = "is no run" if path.exists() else "is not there"
        raise ConfigError(f"{named} {what}; name a run's --workdir or a shared file of one")
    check_run(path, named, config)
    there = config_of(opened(path))
    for key in _IMAGES:
        group, name = key.split(".")
        if there[group][name] != config[group][name]:
            raise ConfigError(
                f"{named} is a run of config.{key}={there[group][name]!r}, and this one's is "
                f"{config[group][name]!r}; the first stage must be of the same images, so choose "
                "the same, or take its weights alone by config.model.pretrained"
            )


def check_images(
    config: ml_collections.ConfigDict, dataset: Dataset, numbers: dict[str, np.ndarray]
) -> None:
    """Checks that the run in the place of the first stage saw the very same training images.

    Args:
      config: of the run that is to start.
      dataset: of it.
      numbers: `data.fingerprint.fingerprint` of that.

    Raises:
      WorkdirError: it saw others; the message names the first that differs.
    """
    path = _path(config)
    if path is None:
        return
    run, named = opened(path), _named(path)
    identity.check_classes(run.record("classes", list), dataset, named)
    identity.check_split(run.record("splits", dict), "train", dataset.train, named)
    if then := run.recorded(["train"]):
        content.compare(then, {"train": numbers["train"]}, dataset, {}, path)


def with_first_stage(state: TrainState, classifier: ImageClassifier) -> TrainState:
    """The state before the first step with the network that another run trained.

    A line says what is taken over of it.

    Args:
      state: with random weights.
      classifier: of the run.

    Returns:
      The state; the same where no run is named.

    Raises:
      ConfigError: the second stage goes on with a classifier that the other run does not have.
      DataError: the file cannot be used.
      WorkdirError: the directory's checkpoint cannot be read.
    """
    config = classifier.config
    path = _path(config)
    if path is None:
        return state
    check_first_stage(config)
    source = read_source(path, _named(path), classifier)
    found = source.transfer
    needed = _kept(classifier, state.params)
    if needed - {path[1:] for path in found.arrays if path[0] == "params"}:
        raise ConfigError(
            f"{_named(path)} cannot be the first stage of {config.method.name}, which goes on with "
            f"its classifier ({found.told}); name a run whose config.method.classifier is "
            f"{config.method.classifier!r} too, or choose crt, which begins with a new one"
        )
    told = found.told if needed else f"{config.method.name} begins with a new classifier"
    tell(
        f"first stage: {shown(path)} ({source.config.method.name}, epoch {source.epoch} of "
        f"{source.config.epochs}, backbone {config.model.backbone}), on the same images; "
        f"{told}",
        other_colors(source.colors, config),
    )
    return with_arrays(state, found.arrays, classifier)


def note(directory: Workdir, classifier: ImageClassifier) -> None:
    """Has a directory remember what its run took in the place of the first stage.

    Args:
      directory: of the run, which the caller holds.
      classifier: of the run.
    """
    path = _path(classifier.config)
    if path is None:
        return
    source = read_source(path, _named(path), classifier)
    record = {
        "run": path.absolute().name,
        "method": source.config.method.name,
        "epoch": source.epoch,
        "epochs": source.config.epochs,
        "weights": _digest(source.weights),
    }
    if is_lead():
        json_files.write(directory.path / f"{RECORD}.json", record)


def check_noted(directory: Workdir, classifier: ImageClassifier) -> None:
    """Checks that a run that goes on is still of the first stage that it began with.

    It has no need of that any more: one that is gone, or cannot be read, changes nothing.

    Raises:
      WorkdirError: where the config says lies another network now.
    """
    path = _path(classifier.config)
    if path is None or not directory.has(RECORD) or not path.exists():
        return
    try:
        weights = read_source(path, _named(path), classifier).weights
    except BcclError:
        return
    if _digest(weights) != directory.record(RECORD, dict)["weights"]:
        raise WorkdirError(
            f"{_named(path)} has other weights than the first stage that the run in "
            f"--workdir={shown(directory.path)} was started from; restore them or name another "
            "directory"
        )


def _path(config: ml_collections.ConfigDict) -> pathlib.Path | None:
    named = config.method.get("start_from")
    if not named:
        return None
    path = expanded(named)
    return path.parent if is_of_run(str(path)) else path


def _named(path: pathlib.Path) -> str:
    return f"config.{KEY}={shown(path)}"


def _kept(classifier: ImageClassifier, params: dict) -> set[tuple[str, ...]]:
    """Of the classifier, what the first stage trains and the last one does not begin anew."""
    first, *_, last = classifier.method.stages(classifier.config.epochs)
    own = {_CLASSIFIER: params[_CLASSIFIER]}
    of_first = tuple(path for path in first.trains if path.startswith(_CLASSIFIER))
    trained, _ = parted(own, of_first)
    if last.anew:
        _, trained = parted(trained, last.anew)
    return set(flax.traverse_util.flatten_dict(trained))


def _digest(weights: Weights) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, leaf in named_leaves({"params": weights.params, "batch_stats": weights.batch_stats}):
        array = np.asarray(leaf)
        digest.update(f"{name} {array.dtype} {array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
