"""What a method knows of its run, and of which parts the run is made."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bccl_jax.errors import ConfigError


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
      learning_rate: float32 [], of the optimizer in this step.
    """

    step: jax.Array
    epoch: jax.Array
    stage: int = 0
    learning_rate: jax.Array | float = 0.0


# What a stage trains that trains nothing.
NOTHING = ("",)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of a run: epochs that train the same things in the same way.

    A stage after the first one begins with an optimizer that has seen nothing and with a
    learning-rate schedule of its own, over its own epochs; unless it continues the one before it,
    whose optimizer then goes on, under one schedule over the epochs of both.

    Attributes:
      epochs: how many; 0 leaves the stage out, for a run that starts from another one.
      trains: what is trained, as paths in the parameters such as "heads_classifier" or
        "heads_classifier/scale"; empty for all, `NOTHING` for none. The rest stays as it is, bit
        for bit; that its batch statistics do too is up to the loss, which runs it with
        `train=False`.
      rates: paths in what is trained whose learning rate is another one, over that of the stage.
      anew: paths in the parameters that start from new random numbers.
      sampler: how its images are drawn, of `data.sampling.SAMPLERS`; "" for `config.data.sampler`.
      optimizer: keys of `config.optimizer` that differ, and their values.
      rate_factor: of the learning rate of the run, where the optimizer's keys name none.
      continues: whether it goes on with the optimizer, the schedule and the sampler of the stage
        before it. It may train something else or by another loss, but starts nothing anew.
      set_by: the config key that says how long it is, for the message where it has no epochs.

    Raises:
      ConfigError: it continues another one and has an optimizer, a sampler or a start of its own.
    """

    epochs: int
    trains: tuple[str, ...] = ()
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    anew: tuple[str, ...] = ()
    sampler: str = ""
    optimizer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rate_factor: float = 1.0
    continues: bool = False
    set_by: str = "config.epochs"

    def __post_init__(self):
        own = [name for name in ("anew", "sampler", "optimizer") if getattr(self, name)]
        own += ["rate_factor"] if self.rate_factor != 1 else []
        if self.continues and own:
            raise ConfigError(
                f"a stage continues the one before it and names {', '.join(own)}, which would be "
                "of its own; leave either out of Method.stages"
            )


def scheduled(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Stages as the optimizer has them: each with the epochs of those that continue it."""
    found: list[Stage] = []
    for stage in stages:
        if found and stage.continues:
            epochs = found[-1].epochs + stage.epochs
            found[-1] = dataclasses.replace(found[-1], epochs=epochs)
        else:
            found.append(stage)
    return tuple(found)
