"""Evaluates what a run saved: its directory and the test split are enough."""

import pathlib
from typing import NamedTuple

import jax
import ml_collections

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.reading import classifier_of, restored
from bccl_jax.classifier.starting import start, tell
from bccl_jax.config.dataset import load_data, load_tested
from bccl_jax.config.validation import validate_against_test
from bccl_jax.data.fingerprint import fingerprint, warnings
from bccl_jax.data.split import Dataset
from bccl_jax.devices.jax_settings import usual
from bccl_jax.devices.mesh import is_lead, speaks
from bccl_jax.devices.selftest import check_devices
from bccl_jax.errors import WorkdirError
from bccl_jax.evaluation.evaluate import Evaluation
from bccl_jax.evaluation.told import evaluate_split
from bccl_jax.reporting import console
from bccl_jax.system.progress import under_way
from bccl_jax.workdir.opened import Run, checkpoints_of, opened


class SavedEvaluation(NamedTuple):
    """The figures of a checkpoint.

    Attributes:
      epoch: complete epochs.
      evaluation: on the test split.
      chosen_on: the split that the best epoch was chosen on, "test" or "validation".
    """

    epoch: int
    evaluation: Evaluation
    chosen_on: str


@usual()
def evaluate_checkpoints(
    config: ml_collections.ConfigDict, workdir: str | pathlib.Path, which: str | None = None
) -> dict[str, SavedEvaluation]:
    """Evaluates what a run saved, on the test split; nothing is written.

    The training images need not be there, unless the test split is a part of them.

    Args:
      config: of the run; `config.eval` and where the data lies may differ from it.
      workdir: the run's directory, or a shared file.
      which: "last", "best" or a step; None takes the last, and the best if one was evaluated, or
        the one of a shared file.

    Returns:
      The figures of each checkpoint, by `which`; of a run with `config.optimizer.ema` also those of
      the averaged weights, by "last averaged" and so on.

    Raises:
      BcclError: bad config, data or directory, or no such checkpoint.
    """
    with under_way("preparing the evaluation", shown=speaks()):
        return _evaluate_saved(config, opened(workdir), which)


def _evaluate_saved(
    config: ml_collections.ConfigDict, directory: Run, which: str | None
) -> dict[str, SavedEvaluation]:
    start(config)
    if not directory.check(config, evaluating=True):
        raise WorkdirError(
            f"--workdir={directory.path} holds no run to evaluate; train there first"
        )
    classifier = classifier_of(config, directory)
    check_devices(classifier.mesh.local_devices)
    dataset = _tested(classifier, directory)
    budget = console.Budget(
        classifier.config.epochs, classifier.steps_per_epoch, classifier.config.batch_size
    )
    own = dataset.set_aside or "validation" in directory.parts()
    chosen_on = "validation" if own else "test"
    with (
        jax.set_mesh(classifier.mesh),
        checkpoints_of(directory) as checkpoints,
    ):
        names = checkpoints.named() if which is None else [which]
        steps = {name: checkpoints.resolve(name) for name in names}
        averages = [False, True] if classifier.config.optimizer.ema else [False]
        if checkpoints.averaged is not None:
            averages = [checkpoints.averaged]
        found = {}
        for step in dict.fromkeys(steps.values()):
            if is_lead():
                those = " and ".join(name for name in steps if steps[name] == step)
                where = f"{budget.position(step)}, {checkpoints.place(step)}"
                print(f"evaluating {those}: {where}", flush=True)
            epoch = step // classifier.steps_per_epoch
            for average in averages:
                variables = restored(classifier, checkpoints, step, average, whole=False)
                evaluation = evaluate_split(classifier, variables, dataset.test)
                found[step, average] = SavedEvaluation(epoch, evaluation, chosen_on)
    return {
        f"{name} averaged" if average else name: found[step, average]
        for name, step in steps.items()
        for average in averages
    }


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
    recorded = directory.recorded(["train"])
    if len(recorded.get("train", ())) == classifier.class_counts.sum():
        tell(*warnings(dataset, recorded | numbers))
    return dataset
