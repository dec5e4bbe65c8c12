"""What a method may look at between two epochs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Between(NamedTuple):
    """What a method may look at between two epochs.

    Attributes:
      epoch: complete epochs.
      epochs: of the run.
      params: the network's parameters.
      features: (split name, or "train") -> (float32 [N, D], labels int32 [N]) of the backbone with
        running statistics over the images of a split as they are, on the host; raises ConfigError
        where the run has no such split.
    """

    epoch: int
    epochs: int
    params: Any
    features: Callable[[str], tuple[np.ndarray, np.ndarray]]
