"""The runs of a row, over seeds."""

import dataclasses

import numpy as np

from bccl_jax.evaluation import statistics
from bccl_jax.evaluation.statistics import Spread

from ..designing.design import Cell, Row
from .reading import class_accuracies, figure
from .results import Record


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of a row in one setting.

    Attributes:
      row: of the experiment.
      cells: that were asked for; none where the harness has no method or the scale leaves it out.
      records: of those that are finished, by seed in rising order.
    """

    row: Row
    cells: tuple[Cell, ...]
    records: dict[int, Record]

    @property
    def missing(self) -> list[int]:
        """Seeds that have no record."""
        return [cell.seed for cell in self.cells if cell.seed not in self.records]

    @property
    def averaged(self) -> bool:
        """Whether every record has figures of averaged weights beside the raw ones."""
        return bool(self.records) and all("ema" in record for record in self.records.values())

    def accuracy(self, shot: str, epoch: str = "last", averaged: bool = False) -> Spread | None:
        """Accuracy in percent over seeds.

        Args:
          shot: "top1", "all", "many", "medium" or "few", or another figure of an evaluation.
          epoch: "last" or "best".
          averaged: of the averaged weights in place of the raw ones.
        """
        each = [figure(record, epoch, shot, averaged) for record in self.records.values()]
        return statistics.spread(each)

    def per_class(self) -> np.ndarray:
        """Accuracy of each class in percent at the last epoch, float64 [K], mean over seeds.

        NaN for a class without evaluation images in any of the runs.
        """
        return np.array([class_accuracies(record) for record in self.records.values()]).mean(axis=0)
