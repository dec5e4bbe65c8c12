"""What follows a run into a service that may keep it for years: one run there, each epoch once."""

import abc
from typing import Any

import numpy as np

from bccl_jax.tracking.callback import Begun, Callback
from bccl_jax.tracking.scalars import closing, scalars


class Service(Callback, abc.ABC):
    """Remembers in the run's directory which run it is there, and the last epoch that was sent.

    A run that goes on is the same run there. Epochs that it lacks are sent from the records, those
    that it has are not sent again: they come out the same. A complete run is left in peace.
    """

    wants_views = True

    @abc.abstractmethod
    def open(self, run: Begun, known: str | None) -> str:
        """Opens a run there, the known one or a new one.

        Args:
          run: as `Callback.begin` has it.
          known: what this returned when the run was first followed, None now.

        Returns:
          What names it there.
        """

    @abc.abstractmethod
    def log(self, numbers: dict[str, float], epoch: int) -> None:
        """Sends the numbers of an epoch."""

    @abc.abstractmethod
    def show(self, name: str, image: np.ndarray, epoch: int) -> None:
        """Sends a picture, uint8 [H, W, 3]; `epoch` is the last one that was sent."""

    @abc.abstractmethod
    def close(self, numbers: dict[str, float] | None, epoch: int) -> None:
        """Ends, with how the run ended, or with None where it will go on another time."""

    def begin(self, run):
        """See `Callback`."""
        self._keep, self._kept = run.keep, {"epoch": 0} | dict(run.kept)
        sent, total = self._kept["epoch"], run.config["epochs"]
        self._idle = bool(self._kept.get("complete")) and sent >= total == len(run.records)
        if self._idle:
            return
        self._note(id=self.open(run, self._kept.get("id")), complete=False)
        for record in run.records:
            self.epoch(record)

    def epoch(self, record):
        """See `Callback`."""
        if not self._idle and record["epoch"] > self._kept["epoch"]:
            self.log(scalars(record), record["epoch"])
            self._note(epoch=record["epoch"])

    def picture(self, name, image, epoch):
        """See `Callback`."""
        if not self._idle:
            self.show(name, image, max(epoch, self._kept["epoch"]))

    def end(self, result):
        """See `Callback`."""
        if self._idle:
            return
        self.close(None if result is None else closing(result), self._kept["epoch"])
        self._note(complete=result is not None)

    def _note(self, **values: Any) -> None:
        self._kept |= values
        self._keep(self._kept)
