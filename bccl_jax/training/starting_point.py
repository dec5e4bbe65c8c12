"""The weights that a run starts from: torchvision's, or those of another run."""

import os
from typing import Any

import flax.struct
import jax

from bccl_jax.classifier.image_classifier import ImageClassifier, with_shardings
from bccl_jax.classifier.reading import classifier_of
from bccl_jax.config.files import is_of_run
from bccl_jax.config.shared import is_shared
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError
from bccl_jax.models.pretrained import load as load_pretrained
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import shown
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.opened import checkpoints_of, config_of, opened


@flax.struct.dataclass
class Weights:
    """Parameters and running statistics, nested dicts by the names of a network's modules."""

    params: Any
    batch_stats: Any


def started(state: TrainState, classifier: ImageClassifier) -> TrainState:
    """The state before the first step with the weights that `config.model.pretrained` names.

    Of torchvision's file the backbone is taken. Of the last checkpoint of another run's directory,
    or the one of a shared file, the backbone is, and each head that this run has too: by its name,
    of the same shapes, and where it has an output for each class, of the same classes.

    Args:
      state: with random weights.
      classifier: of the run.

    Returns:
      The state; the same where nothing is named.

    Raises:
      ConfigError: the other run has another backbone.
      DataError: the file cannot be used.
      WorkdirError: the directory holds no run, or no checkpoint that can be read.
    """
    config = classifier.config
    if not config.model.pretrained:
        return state
    path = expanded(config.model.pretrained)
    if path.is_dir() or is_shared(path):
        found = _of_run(path, classifier)
    elif is_of_run(os.fspath(path)):
        found = _of_run(path.parent, classifier)
    else:
        pretrained = load_pretrained(path, config.model.backbone)
        found = Weights({"backbone": pretrained["params"]}, {"backbone": pretrained["batch_stats"]})
    found = jax.device_put(found, replicated(classifier.mesh))
    params = {**state.params, **found.params}
    return state.replace(
        params=params,
        batch_stats={**state.batch_stats, **found.batch_stats},
        method=classifier.method.follow(state.method, params, first=True),
    )


def _of_run(path: os.PathLike, classifier: ImageClassifier) -> Weights:
    run = opened(path)
    named = f"config.model.pretrained={shown(path)}"
    if isinstance(run, Workdir) and not run.config.is_file():
        raise ConfigError(
            f"{named} is a folder that holds no run; name a run's --workdir or a file of weights"
        )
    config = config_of(run)
    if config.model.backbone != classifier.config.model.backbone:
        raise ConfigError(
            f"{named} is a run of config.model.backbone={config.model.backbone!r}, and this one's "
            f"is {classifier.config.model.backbone!r}; choose the same"
        )
    other = classifier_of(config, run, classifier.mesh)
    abstract = Weights(
        *(
            with_shardings(shapes, jax.tree.map(lambda _: replicated(classifier.mesh), shapes))
            for shapes in (other.abstract_variables.params, other.abstract_variables.batch_stats)
        )
    )
    with checkpoints_of(run) as checkpoints:
        there = checkpoints.restore_part(checkpoints.resolve(checkpoints.named()[0]), abstract)
    shared = {"backbone"} | {name for name in there.params if _fits(name, classifier, other)}
    return Weights(
        *(
            {name: part for name, part in vars(there)[which].items() if name in shared}
            for which in ("params", "batch_stats")
        )
    )


def _fits(name: str, mine: ImageClassifier, other: ImageClassifier) -> bool:
    """Whether a head of another run can be taken over."""

    def shapes(classifier, which):
        found = vars(classifier.abstract_variables)[which].get(name, {})
        return jax.tree.map(lambda x: x.shape, found)

    if any(shapes(mine, which) != shapes(other, which) for which in ("params", "batch_stats")):
        return False
    return name != "heads_classifier" or mine.class_names == other.class_names
