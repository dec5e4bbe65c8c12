"""What happens at the end of an epoch: the method renews its state, then the run is evaluated.

The order is part of what makes a resumed run exact: refresh, evaluate, log, and only then save, so
that a checkpoint of a complete epoch leaves nothing to redo. Logging and saving are the loop's.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np

from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import is_lead
from bccl_jax.evaluation.evaluate import Evaluation
from bccl_jax.system.progress import under_way
from bccl_jax.training.assemble import Run
from bccl_jax.training.averages import average_record
from bccl_jax.training.between import Passes
from bccl_jax.training.evaluating import evaluate_and_note
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.directory import Workdir

# observe(run, state, epoch) -> what to add to that epoch's record, as JSON values.
Observe = Callable[[Run, TrainState, int], dict[str, Any]]

# Streams of the run's key beside the steps', which fold in the step itself.
_REFRESH_STREAM = 0x7EF12E54


def evaluation_due(config: ml_collections.ConfigDict, epoch: int) -> bool:
    """Whether a run is evaluated after so many epochs."""
    return epoch == config.epochs or epoch % config.eval.every_epochs == 0


class EpochEnd:
    """The ends of the epochs of one run.

    Args:
      run: the run.
      directory: its own.
      observe: called after each evaluation, for measures of one's own.
    """

    def __init__(self, run: Run, directory: Workdir, observe: Observe | None):
        self._run, self._directory, self._observe = run, directory, observe
        self._passes = Passes(run)

    def refreshed_after(self, epoch: int) -> bool:
        """Whether the method renews its state after so many epochs."""
        return self._run.method.refresh_due(epoch, self._run.config.epochs)

    def evaluated_after(self, epoch: int) -> bool:
        """Whether the run is evaluated after so many epochs."""
        return evaluation_due(self._run.config, epoch)

    def refresh(self, state: TrainState, epoch: int, pause: Callable) -> tuple[TrainState, dict]:
        """Lets the method renew its state, if that is due.

        Args:
          state: after the steps of the epoch.
          epoch: complete epochs.
          pause: pause(what) -> a context in which the progress of the steps stands still.

        Returns:
          The state, and what the epoch's record has of it.
        """
        if not self.refreshed_after(epoch):
            return state, {}
        run = self._run
        key = jax.random.fold_in(jax.random.fold_in(state.key, _REFRESH_STREAM), epoch)
        with pause("refresh"), self._under_way(epoch, "refreshing the method's state"):
            between = self._passes.between(state, epoch)
            method_state, report = run.method.refresh(state.method, key, between)
        return state.replace(method=method_state), {"refresh": report}

    def evaluate(
        self, state: TrainState, epoch: int, pause: Callable
    ) -> tuple[Evaluation | None, dict]:
        """Evaluates the split that the run is watched on, if that is due.

        Args:
          state: after the refresh.
          epoch: complete epochs.
          pause: see `refresh`.

        Returns:
          The figures, None if none were due, and what the epoch's record has of them.
        """
        if not self.evaluated_after(epoch):
            return None, {}
        run, where = self._run, f"{self._where(epoch)}  "
        monitored = run.dataset.monitored
        with pause("evaluation"):
            evaluation = evaluate_and_note(run, self._directory, state, monitored, where)
            averages = average_record(run, state, monitored, where)
        record = {"eval": evaluation.record(), **averages}
        if self._observe is not None:
            with pause("observation"), self._under_way(epoch, "measuring"):
                record |= self._observe(run, state, epoch)
        if epoch == run.config.epochs:
            record["confusion"] = evaluation.confusion.tolist()
        return evaluation, record

    def score(self, evaluation: Evaluation | None, epoch: int) -> dict[str, float] | None:
        """What the best checkpoint is chosen by; None for an epoch that was not evaluated."""
        if evaluation is None:
            return None
        return {
            "accuracy": evaluation.record()["all"],
            "epoch": epoch,
            # An epoch whose pictures could not be read is not better for want of a class.
            "lost_classes": _lost_classes(self._run.dataset.monitored, evaluation),
        }

    def _where(self, epoch: int) -> str:
        return f"epoch {epoch}/{self._run.config.epochs}"

    def _under_way(self, epoch: int, what: str) -> contextlib.AbstractContextManager:
        return under_way(f"{self._where(epoch)}  {what}", shown=is_lead())


def _lost_classes(split: Split, evaluation: Evaluation) -> int:
    """Classes of which no picture could be decoded."""
    return len(np.unique(split.labels)) - evaluation.classes_tested["all"]
