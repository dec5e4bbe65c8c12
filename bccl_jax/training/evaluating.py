"""Evaluates a run: a split while it trains, and what it saved."""

import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import ml_collections

from bccl_jax.data.fingerprint import fingerprint, warnings
from bccl_jax.data.split import Dataset, Split
from bccl_jax.devices.jax_settings import usual
from bccl_jax.devices.mesh import is_lead, speaks
from bccl_jax.devices.selftest import check_devices
from bccl_jax.errors import WorkdirError
from bccl_jax.evaluation.evaluate import Evaluation, evaluate
from bccl_jax.reporting import console
from bccl_jax.system.progress import PATIENCE, under_way
from bccl_jax.training.assemble import Assembly, assemble
from bccl_jax.training.start import start, tell
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir

# note_broken(dataset, split, positions): keeps in mind which pictures cannot be decoded.
NoteBroken = Callable[[Dataset, Split, Iterable[int]], None]


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


def evaluate_split(
    run: Assembly,
    state: TrainState,
    split: Split,
    where: str = "",
    note_broken: NoteBroken | None = None,
) -> Evaluation:
    """Evaluates a state and says how far that is, if it takes long.

    Args:
      run: the run.
      state: of it.
      split: of its data set.
      where: what stands before "evaluating".
      note_broken: called, where this process writes, with the pictures that cannot be decoded.

    Returns:
      The figures.

    Raises:
      BcclError: as `bccl_jax.evaluation.evaluate.evaluate`.
    """

    def note(positions):
        if note_broken is not None and is_lead():
            note_broken(run.dataset, split, positions)

    # The bar of a short evaluation would only flicker.
    with under_way(f"{where}evaluating", len(split), delay=PATIENCE, shown=is_lead()) as task:
        return evaluate(
            run.predict, state, split, run.class_counts, run.config, run.mesh, task.advance, note
        )


def budget(run: Assembly) -> console.Budget:
    """The steps of a run."""
    return console.Budget(run.config.epochs, run.steps_per_epoch, run.config.batch_size)


@usual()
def evaluate_checkpoints(
    config: ml_collections.ConfigDict, workdir: str | pathlib.Path, which: str | None = None
) -> dict[str, SavedEvaluation]:
    """Evaluates what a run saved, on the test split; nothing is written.

    Args:
      config: of the run; `config.eval` and where the data lies may differ from it.
      workdir: the run's directory.
      which: "last", "best" or a step; None takes the last, and the best if one was evaluated.

    Returns:
      The figures of each checkpoint, by `which`.

    Raises:
      BcclError: bad config, data or directory, or no such checkpoint.
    """
    with under_way("preparing the evaluation", shown=speaks()):
        return _evaluate_saved(config, Workdir(workdir), which)


def _evaluate_saved(
    config: ml_collections.ConfigDict, directory: Workdir, which: str | None
) -> dict[str, SavedEvaluation]:
    start(config)
    if not directory.check(config, evaluating=True):
        raise WorkdirError(
            f"--workdir={directory.path} holds no run to evaluate; train there first"
        )
    run = assemble(config)
    check_devices(run.mesh.local_devices)
    directory.check_classes(run.dataset)
    # What else the run saw has no part in the figures.
    numbers = fingerprint(run.dataset, ["test"])
    tell(directory.check_images(run.dataset, numbers))
    tell(*warnings(run.dataset, directory.recorded(["train"]) | numbers))
    with (
        jax.set_mesh(run.mesh),
        Checkpoints(directory.checkpoints, read_only=True) as checkpoints,
    ):
        names = [which]
        if which is None:
            names = ["last"] if checkpoints.best() is None else ["last", "best"]
        steps = {name: checkpoints.resolve(name) for name in names}
        by_step = {}
        for step in dict.fromkeys(steps.values()):
            if is_lead():
                those = " and ".join(name for name in steps if steps[name] == step)
                where = directory.checkpoints / str(step)
                print(f"evaluating {those}: {budget(run).position(step)}, {where}", flush=True)
            state, _ = checkpoints.restore(step, run.abstract_state)
            evaluation = evaluate_split(run, state, run.dataset.test)
            epoch = step // run.steps_per_epoch
            by_step[step] = SavedEvaluation(epoch, evaluation, run.dataset.chosen_on)
    return {name: by_step[step] for name, step in steps.items()}
