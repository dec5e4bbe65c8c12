"""What a method knows of its run, and of which parts the run is made."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Context:
    """What a method may know of the run before it starts.

    Attributes:
      class_counts: int [K], images of each class that the first stream is drawn from: those of the
        training split but for what is held out. They are the class prior that a loss sees.
      epochs: length of the run.
      dtype: of the network's computation.
      norm_groups: parts of a batch that each have batch statistics of their own.
      num_devices: that share a batch, and classes where a method splits them.
    """

    class_counts: np.ndarray
    epochs: int
    dtype: Any
    norm_groups: int = 1
    num_devices: int = 1

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_counts)


class Progress(NamedTuple):
    """Where in the run a step is; arrays, so that nothing recompiles but for another stage.

    Attributes:
      step: int32 [], steps done before this one.
      epoch: int32 [], epochs completed before this one.
      stage: which of the method's stages this is, a Python number: each is a program of its own.
    """

    step: jax.Array
    epoch: jax.Array
    stage: int = 0


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of a run: epochs that train the same things in the same way.

    A stage after the first one begins with an optimizer that has seen nothing and with a
    learning-rate schedule of its own, over its own epochs.

    Attributes:
      epochs: how many; 0 leaves the stage out, for a run that starts from another one.
      trains: what is trained, as paths in the parameters such as "heads_classifier" or
        "heads_classifier/scale"; empty for all. The rest stays as it is, bit for bit; that its
        batch statistics do too is up to the loss, which runs it with `train=False`.
      anew: paths in the parameters that start from new random numbers.
      sampler: how its images are drawn, of `data.sampling.SAMPLERS`; "" for `config.data.sampler`.
      optimizer: keys of `config.optimizer` that differ, and their values.
    """

    epochs: int
    trains: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    sampler: str = ""
    optimizer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
