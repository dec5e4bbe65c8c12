"""A classifier read back from the directory of a run alone: no data is needed."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
from jax.sharding import Mesh

from bccl_jax.classifier.image_classifier import ImageClassifier, create_classifier
from bccl_jax.classifier.variables import AveragedVariables, Variables
from bccl_jax.config.validation import validate
from bccl_jax.devices.mesh import configure, devices, mesh_over
from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.inputs import (
    read_classes,
    read_image_shape,
    read_photographs,
    read_results,
)
from bccl_jax.workdir.opened import Run, checkpoints_of, config_of, opened
from bccl_jax.workdir.shared_run import SharedCheckpoint


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
    path: str | os.PathLike,
    which: str | None = "last",
    average: bool = False,
    *,
    imports: Sequence[str] | None = None,
    to_predict: bool = False,
) -> Saved:
    """Reads what a run trained, from its directory or a shared file alone.

    Args:
      path: of either.
      which: "last", "best" or a step; None for the last one, or the one of a shared file.
      average: the averaged weights in the place of the raw ones.
      imports: files of one's own, in place of those that a run remembers.
      to_predict: whether it is for predictions alone: without the method's own state where none
        reads it, which a shared file has not, over the devices of this process, however many the
        run had.

    Returns:
      The classifier and its arrays; as many devices share its batches as are there, unless the
      number is part of the run.

    Raises:
      ConfigError: the run does not fit the devices that are there.
      DataError: the file is no shared one, or damaged.
      WorkdirError: there is no run, or no such checkpoint, or it is damaged, or it has no average.
    """
    run = opened(path)
    config = config_of(run, imports)
    validate(config)
    if config.model.batch_norm == "global":
        config.devices = 0  # which this machine may have fewer of
    mesh = None
    if to_predict:
        configure(config.deterministic)
        devices()
        mesh = mesh_over(jax.local_devices())
    classifier = classifier_of(config, run, mesh)
    with checkpoints_of(run) as checkpoints:
        which = checkpoints.named()[0] if which is None else which
        _, variables = checkpoints.taking(
            which,
            lambda step: restored(classifier, checkpoints, step, average, whole=not to_predict),
        )
        return Saved(
            classifier,
            variables,
            which,
            average or bool(checkpoints.averaged),
            read_photographs(run, config),
            read_results(run),
        )


def classifier_of(
    config: ml_collections.ConfigDict, run: Run, mesh: Mesh | None = None
) -> ImageClassifier:
    """Builds the classifier of a run from what its directory or file says of the classes.

    Args:
      config: of the run, validated; keys that do not shape it may differ from the saved ones.
      run: that is read.
      mesh: of its devices; None for those that the config asks for.

    Raises:
      BcclError: the run does not fit the devices that are there, or a record is missing or broken.
    """
    names, counts = read_classes(run)
    classifier = create_classifier(config, names, counts, read_image_shape(run, config), mesh)
    if not classifier.steps_per_epoch:
        raise WorkdirError(
            f"{run.place('classes')} has {int(classifier.trained_counts.sum())} training images, "
            f"fewer than config.batch_size={classifier.config.batch_size}: they are not of one run"
        )
    return classifier


def restored(
    classifier: ImageClassifier,
    checkpoints: Checkpoints | SharedCheckpoint,
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
        if average and checkpoints.averaged is False:
            raise WorkdirError(
                f"{shown(checkpoints.directory)} holds raw weights alone; share the run again with "
                "--average, or leave average=True out"
            )
        if not average or checkpoints.averaged:
            return checkpoints.restore_part(step, abstract)
        if not classifier.config.optimizer.ema:
            raise WorkdirError(
                f"the run of {shown(checkpoints.directory)} keeps no average of its weights, for "
                "its config.optimizer.ema is 0; read it without average=True"
            )
        weights = {"params": abstract.params, "batch_stats": abstract.batch_stats}
        found = AveragedVariables(step=abstract.step, average=weights, method=abstract.method)
        return checkpoints.restore_part(step, found).variables
