"""Metrics of training steps: read from the device one chunk late, checked, averaged.

Reading late keeps the device busy with the next chunk while the host waits for this one.
"""

import math
from collections.abc import Iterable

import jax
import numpy as np

from bccl_jax.errors import NonFiniteLossError
from bccl_jax.workdir.skipped import SkippedImages


def position(
    done: int, steps: int, unfinished: dict[str, list[float]]
) -> tuple[int, int, dict[str, list[float]]]:
    """Where a run stands whose checkpoint was written after so many steps.

    Args:
      done: steps of the state.
      steps: of an epoch.
      unfinished: metrics of the checkpoint by name, of the steps of an epoch without its end. A
        run of a time before may have saved those of later steps with them, which are left out.

    Returns:
      The epoch to go on with; how many of its steps are done, all of one that ended without an
      evaluation; and their metrics.
    """
    epoch, skip = divmod(done, steps)
    if not skip and unfinished:
        epoch, skip = epoch - 1, steps
    return epoch, skip, {name: values[:skip] for name, values in unfinished.items()}


class Ledger:
    """The metrics of an epoch's steps.

    Args:
      epoch: epochs complete before this one.
      first_step: steps complete before this epoch.
      unfinished: metrics of the steps of this epoch that were done before, by name.
      skipped: takes the photographs that were broken; None for images in memory.

    Attributes:
      steps: of this epoch, dispatched so far.
      newly_read: steps whose metrics the last call read.
      last_loss: the newest loss that was read, NaN if none was.
    """

    def __init__(
        self,
        epoch: int,
        first_step: int,
        unfinished: dict[str, list[float]],
        skipped: SkippedImages | None,
    ):
        self._epoch, self._first_step, self._skipped = epoch, first_step, skipped
        self._values = {name: list(values) for name, values in unfinished.items()}
        self._pending = None
        self.steps = len(self._values.get("loss", ()))
        self.newly_read = 0
        self.last_loss = math.nan

    def add(self, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of one chunk and reads those of the chunk before."""
        self._read()
        self._pending = metrics
        self.steps += np.size(metrics["loss"])

    def read_all(self) -> dict[str, list[float]]:
        """Returns every step's metrics by name."""
        self._read()
        return self._values

    def means(self) -> dict[str, float]:
        """Returns the mean over the epoch's steps; the learning rate is the last one."""
        values = self.read_all()
        means = {name: float(np.mean(value)) for name, value in values.items()}
        means["learning_rate"] = values["learning_rate"][-1]
        return means

    def quarters(self, names: Iterable[str]) -> dict[str, list[float]]:
        """Returns the means over the quarters of the epoch's steps, in order.

        Args:
          names: of metrics; those that not every step has are left out.

        Returns:
          Four means by name, fewer where the epoch has fewer steps.
        """
        values = self.read_all()
        return {
            name: [float(np.mean(part)) for part in np.array_split(values[name], 4) if part.size]
            for name in names
            if len(values.get(name, ())) == self.steps
        }

    def _read(self) -> None:
        self.newly_read = 0
        if self._pending is None:
            return
        metrics = jax.device_get(self._pending)
        self._pending = None
        if self._skipped is not None:
            self._skipped.add(metrics.pop("broken"))
        losses = np.atleast_1d(metrics["loss"])
        self.newly_read, self.last_loss = len(losses), float(losses[-1])
        # A gradient that is not finite spoils the state one step before the loss shows it.
        finite = np.isfinite(losses) & np.isfinite(np.atleast_1d(metrics["gradient_norm"]))
        if not finite.all():
            first = int(np.argmin(finite))
            step = self._first_step + len(self._values.get("loss", ())) + first + 1
            what = "the gradient" if np.isfinite(losses[first]) else "the loss"
            raise NonFiniteLossError(
                f"{what} is not finite in epoch {self._epoch + 1} at step {step}; checkpoints of "
                "earlier epochs are kept: lower config.optimizer.learning_rate or lengthen "
                "config.optimizer.warmup_epochs, in a new --workdir"
            )
        for name, value in metrics.items():
            self._values.setdefault(name, []).extend(np.atleast_1d(value).tolist())
