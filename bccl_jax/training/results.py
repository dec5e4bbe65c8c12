"""How a run ended: its figures, and what it leaves in its directory."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from bccl_jax.data.long_tail import shot_groups
from bccl_jax.devices.mesh import is_lead
from bccl_jax.evaluation.evaluate import Evaluation
from bccl_jax.evaluation.told import evaluate_split
from bccl_jax.reporting.console import SHOTS
from bccl_jax.reporting.plots import save_report
from bccl_jax.reporting.records import finite
from bccl_jax.training import first_stage
from bccl_jax.training.assemble import Run
from bccl_jax.training.averages import final_averages
from bccl_jax.training.evaluating import evaluate_and_note
from bccl_jax.training.state import TrainState
from bccl_jax.workdir import gone, json_files
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
      state: after the last step.
      last: the last epoch's evaluation, on the test split.
      best: the best epoch's evaluation; not a fair figure where it was chosen on the test set.
      best_epoch: that epoch.
      chosen_on: the split that the best epoch was chosen on, "test" or "validation".
      records: one for each epoch.
      class_counts: int [K], training images of each class.
      class_names: K names.
      correct: bool [n], whether the state predicts each decoded image of the test split right.
      decoded: bool [N], which images of the test split these are.
      workdir: where everything lies.
      ema: the figures of the averaged weights in the last epoch and in the best one of the raw
        weights, by "last" and "best"; empty without `config.optimizer.ema`.
    """

    state: TrainState
    last: dict[str, Any]
    best: dict[str, Any]
    best_epoch: int
    chosen_on: str
    records: list[dict[str, Any]]
    class_counts: np.ndarray
    class_names: tuple[str, ...]
    correct: np.ndarray
    decoded: np.ndarray
    workdir: pathlib.Path
    ema: dict[str, dict[str, Any]]

    def __repr__(self):
        """One line, for a cell of a notebook that ends in a training."""
        figures = ", ".join(f"{shot} {self.last[shot]:.2f}" for shot in SHOTS if self.last[shot])
        epoch = self.records[-1]["epoch"]
        return f"<run in {self.workdir}, last epoch ({epoch}): {figures} %>"


def finish(
    run: Run,
    directory: Workdir,
    checkpoints: Checkpoints,
    state: TrainState,
    records: list[dict],
    evaluation: Evaluation | None,
) -> Result:
    """Evaluates what is left to evaluate, and writes the results and their picture.

    Args:
      run: that is complete.
      directory: its own.
      checkpoints: of it.
      state: after the last step.
      records: of all epochs.
      evaluation: of the last epoch; None for a run that was complete already.

    Returns:
      The result.
    """
    settings = run.config.eval
    best_step = checkpoints.best()
    best = next(record for record in records if record["step"] == best_step)
    if evaluation is None or run.dataset.validation is not None:
        # Of a run that was complete already; or one whose choice was made on the validation split,
        # so that the test split is looked at once, now.
        evaluation = evaluate_and_note(run, directory, state, run.dataset.test)
    figures = {"last": evaluation.record(), "best": best["eval"]}
    if best_step == records[-1]["step"]:
        figures["best"] = figures["last"]
    elif run.dataset.validation is not None:
        chosen, _ = checkpoints.restore(best_step, run.abstract_state)
        chosen = evaluate_split(run.classifier, chosen, run.dataset.test, "best epoch  ")
        figures["best"] = chosen.record()
    result = Result(
        state=state,
        **figures,
        best_epoch=best["epoch"],
        chosen_on=run.dataset.chosen_on,
        records=records,
        class_counts=run.class_counts,
        class_names=run.dataset.train.class_names,
        correct=evaluation.correct,
        decoded=evaluation.decoded,
        workdir=directory.path,
        ema=final_averages(run, checkpoints, state, records, best),
    )
    if is_lead():
        groups = shot_groups(run.class_counts, settings.many_above, settings.few_below)
        title = f"{run.config.method.name} on {run.config.data.name}, seed {run.config.seed}"
        names, on = run.dataset.train.class_names, run.dataset.chosen_on
        save_report(directory.report, records, run.class_counts, groups, names, title, on)
        results = {**figures, "best_epoch": result.best_epoch, "chosen_on": result.chosen_on}
        results[gone.STEP] = int(state.step)
        results |= {"ema": result.ema} if result.ema else {}
        if directory.has(first_stage.RECORD):
            results[first_stage.RECORD] = directory.record(first_stage.RECORD, dict)
        json_files.write(directory.results, finite(results))
    return result
