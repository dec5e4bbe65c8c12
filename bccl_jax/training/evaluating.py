"""An evaluation in the course of a run, which keeps in mind what it could not read."""

import functools

from bccl_jax.data.split import Split
from bccl_jax.evaluation.evaluate import Evaluation
from bccl_jax.evaluation.told import evaluate_split
from bccl_jax.training.assemble import Run
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.directory import Workdir


def evaluate_and_note(
    run: Run, directory: Workdir, state: TrainState, split: Split, where: str = ""
) -> Evaluation:
    """Evaluates a split and notes in the run's directory which of its pictures cannot be decoded.

    Args:
      run: whose state it is.
      directory: of the run.
      state: to evaluate.
      split: of the run's data set.
      where: what stands before "evaluating" while that is under way.

    Returns:
      The figures.
    """
    note = functools.partial(directory.note_broken, run.dataset, split)
    return evaluate_split(run.classifier, state, split, where, note)
