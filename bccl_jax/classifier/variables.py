"""The arrays that a network predicts with."""

from typing import Any

import flax.struct
import jax


@flax.struct.dataclass
class Variables:
    """What of a run's state a prediction reads.

    Attributes:
      step: int32 [], steps that they were trained for.
      params: the network's parameters, float32.
      batch_stats: running statistics of batch normalisation, float32.
      method: the method's own state, such as queues and centroids.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    method: Any


@flax.struct.dataclass
class Weights:
    """Those that are trained alone, and their statistics.

    Attributes:
      params: as `Variables` has them.
      batch_stats: as `Variables` has them.
    """

    params: Any
    batch_stats: Any


@flax.struct.dataclass
class AveragedVariables:
    """The same where the weights are to be the averaged ones.

    Attributes:
      step: as `Variables` has it.
      average: {"params", "batch_stats"}, averages over the steps.
      method: as `Variables` has it, which is not averaged.
    """

    step: jax.Array
    average: Any
    method: Any

    @property
    def variables(self) -> Variables:
        """The arrays to predict with."""
        return Variables(step=self.step, method=self.method, **self.average)
