"""Evaluates what a run saved: its directory and the test split are enough."""

import itertools
import os
import pathlib
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.reading import classifier_of, restored
from bccl_jax.classifier.starting import start, tell
from bccl_jax.classifier.variables import Variables
from bccl_jax.config.dataset import load_another, load_data, load_tested
from bccl_jax.config.validation import validate_against_test
from bccl_jax.data.fingerprint import fingerprint, warnings
from bccl_jax.data.long_tail import shot_groups
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.data.photographs.fitting import Fit
from bccl_jax.data.split import Dataset
from bccl_jax.devices.jax_settings import usual
from bccl_jax.devices.mesh import is_lead, speaks
from bccl_jax.devices.selftest import check_devices
from bccl_jax.errors import WorkdirError
from bccl_jax.evaluation.detailed import FILES, Details
from bccl_jax.evaluation.details_folder import DetailsFolder, folder_of
from bccl_jax.evaluation.evaluate import Evaluation
from bccl_jax.evaluation.over_split import AS_EVALUATED, Reading, seen
from bccl_jax.evaluation.told import evaluate_split
from bccl_jax.reporting import console
from bccl_jax.system.names import shown
from bccl_jax.system.progress import under_way
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.inputs import read_photographs
from bccl_jax.workdir.opened import Run, checkpoints_of, opened
from bccl_jax.workdir.shared_run import SharedCheckpoint


class Another(NamedTuple):
    """Pictures to evaluate on in the place of a run's test split.

    Attributes:
      path: of a folder or a CSV file, as `data.formats.another.load` reads it.
      known_only: whether those of classes that the run does not know are left out.
    """

    path: str
    known_only: bool = False


class SavedEvaluation(NamedTuple):
    """The figures of a checkpoint.

    Attributes:
      epoch: complete epochs.
      evaluation: on the test split.
      chosen_on: the split that the best epoch was chosen on, "test" or "validation"; "run's test"
        and so on where the evaluation is on other pictures.
      details: what else there is to tell, where that was asked for.
    """

    epoch: int
    evaluation: Evaluation
    chosen_on: str
    details: Details | None = None


@usual()
def evaluate_checkpoints(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    which: str | None = None,
    *,
    another: Another | None = None,
    details: DetailsFolder | None = None,
    judging: bool = False,
) -> dict[str, SavedEvaluation]:
    """Evaluates what a run saved, on the test split; nothing is written.

    The training images need not be there, unless the test split is a part of them.

    Args:
      config: of the run; `config.eval` and where the data lies may differ from it.
      workdir: the run's directory, or a shared file.
      which: "last", "best" or a step; None takes the last, and the best if one was evaluated, or
        the one of a shared file.
      another: what is evaluated on in the place of the run's test split, which then need not be
        there.
      details: where `written.write_details` is to write what it finds, which is asked before
        anything is evaluated; None where nothing is to be written.
      judging: whether details are found though nothing is to be written.

    Returns:
      The figures of each checkpoint, by `which`; of a run with `config.optimizer.ema` also those of
      the averaged weights, by "last averaged" and so on.

    Raises:
      BcclError: bad config, data or directory, no such checkpoint, or no place for the details.
    """
    with under_way("preparing the evaluation", shown=speaks()):
        judging = judging or details is not None
        return _evaluate_saved(config, opened(workdir), which, another, details, judging)


def _evaluate_saved(
    config: ml_collections.ConfigDict,
    directory: Run,
    which: str | None,
    another: Another | None,
    details: DetailsFolder | None,
    judging: bool,
) -> dict[str, SavedEvaluation]:
    start(config)
    if not directory.check(config, evaluating=True):
        what = "holds no run to evaluate" if directory.path.exists() else "is not there"
        raise WorkdirError(
            f"--workdir={shown(directory.path)} {what}; correct the path, or train there first"
        )
    classifier = classifier_of(config, directory)
    check_devices(classifier.mesh.local_devices)
    budget = console.Budget(
        classifier.config.epochs, classifier.steps_per_epoch, classifier.config.batch_size
    )
    aside = classifier.config.data.validation_fraction > 0
    own = aside or "validation" in directory.parts()
    chosen_on = ("run's " if another else "") + ("validation" if own else "test")
    with (
        jax.set_mesh(classifier.mesh),
        checkpoints_of(directory) as checkpoints,
    ):
        names = checkpoints.named() if which is None else [which]
        # Before anything is read: there may be none of that name.
        for name in names:
            checkpoints.resolve(name)
        averages = [False, True] if classifier.config.optimizer.ema else [False]
        if checkpoints.averaged is not None:
            averages = [checkpoints.averaged]
        keys = {
            name: [f"{name} averaged" if average else name for average in averages]
            for name in names
        }
        if details is not None and is_lead():
            for key in itertools.chain.from_iterable(keys.values()):
                details.check(folder_of(key), FILES)
        if another is None:
            dataset, reading = _tested(classifier, directory), AS_EVALUATED
        else:
            dataset, reading = _another(classifier, directory, another)
        steps, weights = _taken(classifier, checkpoints, names, averages)
        found = {}
        for step in dict.fromkeys(steps.values()):
            if is_lead():
                those = " and ".join(name for name in steps if steps[name] == step)
                where = f"{budget.position(step)}, {checkpoints.place(step)}"
                print(f"evaluating {those}: {where}", flush=True)
            epoch = step // classifier.steps_per_epoch
            for average, variables in zip(averages, weights.pop(step), strict=True):
                evaluation = evaluate_split(
                    classifier,
                    variables,
                    dataset.test,
                    judging=judging,
                    reading=reading,
                )
                found[step, average] = SavedEvaluation(epoch, evaluation, chosen_on)
    evaluated = {
        key: found[steps[name], average]
        for name in names
        for key, average in zip(keys[name], averages, strict=True)
    }
    if not judging:
        return evaluated
    where = os.path.basename(os.path.abspath(another.path)) if another else dataset.name
    title = f"{classifier.config.method.name} on {where}"
    if adjustment := classifier.config.eval.logit_adjustment:
        title += f", logits adjusted by {adjustment:g}"
    return {
        key: saved._replace(
            details=_detailed(classifier, dataset, reading, saved, f"{title}, {key}")
        )
        for key, saved in evaluated.items()
    }


def _taken(
    classifier: ImageClassifier,
    checkpoints: Checkpoints | SharedCheckpoint,
    names: list[str],
    averages: list[bool],
) -> tuple[dict[str, int], dict[int, list[Variables]]]:
    """The steps of checkpoints by their names, and the weights of each step, raw and averaged.

    All are read before the first is evaluated, for a run under way soon removes them.
    """
    steps, weights = {}, {}

    def read(step: int) -> list[Variables]:
        if step in weights:
            return weights[step]
        return [restored(classifier, checkpoints, step, each, whole=False) for each in averages]

    for name in names:
        step, found = checkpoints.taking(name, read)
        steps[name], weights[step] = step, found
    return steps, weights


def _detailed(
    classifier: ImageClassifier,
    dataset: Dataset,
    reading: Reading,
    saved: SavedEvaluation,
    title: str,
) -> Details:
    settings = classifier.config.eval
    return Details(
        f"{title} (epoch {saved.epoch})",
        saved.evaluation,
        dataset.test,
        classifier.class_counts,
        shot_groups(classifier.class_counts, settings.many_above, settings.few_below),
        lambda positions: seen(dataset.test, positions, classifier.config, reading),
    )


def _tested(classifier: ImageClassifier, directory: Run) -> Dataset:
    """The test split of a run, checked to be the run's, and the others where they are needed."""
    dataset = load_tested(classifier.config, classifier.class_names)
    if dataset is None:
        dataset = load_data(classifier.config)
        directory.check_classes(dataset)
    else:
        directory.check_test_split(dataset.test)
    validate_against_test(classifier.config, dataset.test)
    # What else the run saw has no part in the figures.
    numbers = fingerprint(dataset, ["test"])
    tell(directory.check_images(dataset, numbers))
    _tell_of_training_images(classifier, directory, dataset, numbers)
    return dataset


def _another(
    classifier: ImageClassifier, directory: Run, another: Another
) -> tuple[Dataset, Reading]:
    """Other pictures than the run's, and how its network sees them."""
    config = classifier.config
    dataset = load_another(config, classifier.class_names, *another)
    tell(*dataset.notes)
    if not read_photographs(directory, config):
        fit = Fit(classifier.image_shape[:2], config.data.pixels, Decoding.of(config))
        return dataset, Reading(fit=fit)
    validate_against_test(config, dataset.test)
    _tell_of_training_images(classifier, directory, dataset, fingerprint(dataset, ["test"]))
    return dataset, AS_EVALUATED


def _tell_of_training_images(
    classifier: ImageClassifier, directory: Run, dataset: Dataset, numbers: dict[str, np.ndarray]
) -> None:
    recorded = directory.recorded(["train"])
    if len(recorded.get("train", ())) == classifier.class_counts.sum():
        tell(*warnings(dataset, recorded | numbers))
