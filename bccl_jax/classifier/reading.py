"""A classifier read back from the directory of a run alone: no data is needed."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
from jax.sharding import Mesh

from bccl_jax.classifier.image_classifier import ImageClassifier, create_classifier
from bccl_jax.classifier.variables import AveragedVariables, Variables
from bccl_jax.config.files import of_run
from bccl_jax.config.validation import validate
from bccl_jax.devices.mesh import configure, devices, mesh_over
from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.inputs import (
    read_classes,
    read_image_shape,
    read_photographs,
    read_results,
)


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint and what predicts with it.

    Attributes:
      classifier: stateless.
      variables: its arrays, on the devices of its mesh.
      which: what the checkpoint was asked for by: "last", "best" or a step.
      averaged: whether the weights are the averaged ones.
      photographs: whether the run's images are photographs, which are cropped, or arrays of the
        size that the network sees.
      results: what the run ended with, as its results.json has it; empty where it did not end.
    """

    classifier: ImageClassifier
    variables: Variables
    which: str
    averaged: bool
    photographs: bool
    results: dict[str, Any]

    @property
    def epoch(self) -> int:
        """Complete epochs."""
        return int(self.variables.step) // self.classifier.steps_per_epoch


def read(
    path: str | pathlib.Path,
    which: str = "last",
    average: bool = False,
    *,
    imports: Sequence[str] | None = None,
    to_predict: bool = False,
) -> Saved:
    """Reads what a run trained, from its directory alone.

    Args:
      path: the run's directory.
      which: "last", "best" or a step.
      average: the averaged weights in the place of the raw ones.
      imports: files of one's own, in place of those that the run remembers.
      to_predict: whether it is for predictions alone: without the method's own state where none
        reads it, over the devices of this process, however many the run had.

    Returns:
      The classifier and its arrays; as many devices share its batches as are there, unless the
      number is part of the run.

    Raises:
      ConfigError: the run does not fit the devices that are there.
      WorkdirError: there is no run, or no such checkpoint, or it is damaged, or it has no average.
    """
    directory = Workdir(path)
    if not directory.config.is_file():
        raise WorkdirError(
            f"{shown(directory.path)} holds no run (no {directory.config.name}); name the "
            "--workdir of one"
        )
    config = of_run(directory.config, imports)
    if config.model.batch_norm == "global":
        config.devices = 0  # which this machine may have fewer of
    validate(config)
    mesh = None
    if to_predict:
        configure(config.deterministic)
        devices()
        mesh = mesh_over(jax.local_devices())
    classifier = classifier_of(config, directory, mesh)
    with Checkpoints(directory.checkpoints, read_only=True) as checkpoints:
        step = checkpoints.resolve(which)
        return Saved(
            classifier,
            restored(classifier, checkpoints, step, average, whole=not to_predict),
            which,
            average,
            read_photographs(directory, config),
            read_results(directory),
        )


def classifier_of(
    config: ml_collections.ConfigDict, directory: Workdir, mesh: Mesh | None = None
) -> ImageClassifier:
    """Builds the classifier of a run from what its directory says of the classes.

    Args:
      config: of the run, validated; keys that do not shape it may differ from the saved ones.
      directory: of the run.
      mesh: of its devices; None for those that the config asks for.

    Raises:
      ConfigError: the run does not fit the devices that are there.
      WorkdirError: a file of the directory is missing or broken.
    """
    names, counts = read_classes(directory)
    return create_classifier(config, names, counts, read_image_shape(directory, config), mesh)


def restored(
    classifier: ImageClassifier,
    checkpoints: Checkpoints,
    step: int,
    average: bool = False,
    *,
    whole: bool = True,
) -> Variables:
    """The arrays of a checkpoint, without those that training alone needs.

    Args:
      classifier: whose arrays they are.
      checkpoints: of its run.
      step: one of theirs.
      average: the averaged weights in the place of the raw ones.
      whole: False for what predictions read alone.

    Raises:
      WorkdirError: the checkpoint is damaged, or the run keeps no average.
    """
    abstract = classifier.abstract_variables if whole else classifier.predicting_variables
    with jax.set_mesh(classifier.mesh):
        if not average:
            return checkpoints.restore_part(step, abstract)
        if not classifier.config.optimizer.ema:
            raise WorkdirError(
                f"the run of {shown(checkpoints.directory)} keeps no average of its weights, for "
                "its config.optimizer.ema is 0; read it without average=True"
            )
        weights = {"params": abstract.params, "batch_stats": abstract.batch_stats}
        found = AveragedVariables(step=abstract.step, average=weights, method=abstract.method)
        return checkpoints.restore_part(step, found).variables
