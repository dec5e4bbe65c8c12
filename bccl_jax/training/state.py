"""Everything that a training step reads and renews, as one functional pytree of arrays."""

from typing import Any

import flax.struct
import jax


@flax.struct.dataclass
class TrainState:
    """The state of a run; a checkpoint of it is enough to go on.

    Attributes:
      step: int32 [], steps done.
      key: the run's random key; a step draws from `fold_in(key, step)`.
      params: the network's parameters, float32.
      batch_stats: running statistics of batch normalisation, float32.
      opt_state: the optimizer's state.
      method: the method's own state, such as queues and centroids.
    """

    step: jax.Array
    key: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    method: Any


@flax.struct.dataclass
class AveragedState(TrainState):
    """The state of a run that also keeps an average of its weights (`config.optimizer.ema`).

    A class of its own: Orbax finds a field that is None, or empty, missing in a checkpoint of a
    time before there was such a field.

    Attributes:
      average: {"params", "batch_stats"}, averages of those over the steps; zeros before the first.
    """

    average: Any

    @property
    def averaged(self) -> "AveragedState":
        """The same with the averages in the place of what they are averages of."""
        return self.replace(**self.average)
