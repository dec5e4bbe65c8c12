"""The seam between a run and what follows it."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np


@dataclasses.dataclass(frozen=True)
class Begun:
    """A run as its training begins, or goes on.

    Attributes:
      workdir: where everything lies.
      config: JSON values by flat key, sized to the data.
      class_names: K names.
      class_counts: int [K], training images of each class.
      records: of the epochs that are complete, as metrics.jsonl has them.
      kept: what this callback kept when it last followed the run; {} the first time.
      keep: keep(values) keeps JSON values in the run's directory, for the next time.
    """

    workdir: pathlib.Path
    config: Mapping[str, Any]
    class_names: tuple[str, ...]
    class_counts: np.ndarray
    records: tuple[dict[str, Any], ...]
    kept: Mapping[str, Any]
    keep: Callable[[dict[str, Any]], None]


class Callback:
    """Follows a run: override what is of interest, for by itself each function does nothing.

    Where several processes make one run, the leading one alone calls it. What it is given is its
    own, so that nothing that it does to it changes the run.

    Attributes:
      wants_views: whether a picture of the augmented views is made for it before the first step,
        which takes the seconds that their compilation does.
    """

    wants_views: ClassVar[bool] = False

    def begin(self, run: Begun) -> None:
        """Before the first step, of a run that goes on as well, or that is complete."""

    def epoch(self, record: dict[str, Any]) -> None:
        """After each epoch.

        Args:
          record: as metrics.jsonl has it, and "machine": "images_per_second" of the steps without
            what comes between epochs, and where devices tell of their memory
            "device_memory_gib" and "device_memory_peak_gib", of the fullest.
        """

    def picture(self, name: str, image: np.ndarray, epoch: int) -> None:
        """A picture: "views" before the first step, "report" at the end.

        Args:
          name: of it.
          image: uint8 [H, W, 3].
          epoch: complete epochs.
        """

    def end(self, result: Any) -> None:
        """After everything, also where the run was interrupted or failed.

        Args:
          result: `bccl_jax.training.results.Result`; None of a run that did not reach its end.
        """
