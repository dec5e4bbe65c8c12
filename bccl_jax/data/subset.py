"""A small balanced part of the training split that a method draws a stream of its own from.

MetaSAug (Li et al. 2021) learns from ten images a class beside the long-tailed rest. Which images
these are is a pure function of labels and seed; nothing here imports JAX, as reader processes do.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from bccl_jax.data.sampling import CLASS_BALANCED
from bccl_jax.errors import ConfigError
from bccl_jax.system.names import printable

# Tells the random numbers of the choice from those of an epoch.
_CHOICE = 0xBA1A


@dataclasses.dataclass(frozen=True)
class BalancedSubset:
    """As many images of each class, and a stream that is drawn from them alone.

    Attributes:
      per_class: n, images of each class. A class of fewer gives all of them, or all but one where
        they are held out, so that one is left to train on.
      held_out: whether they are taken away from all that is not drawn from such a part: the first
        stream, and those of plain samplers. Else they stay in it as well.
      sampler: how the stream is drawn from them, one of `sampling.SAMPLERS`.
    """

    per_class: int = 10
    held_out: bool = True
    sampler: str = CLASS_BALANCED

    def sizes(self, class_counts: np.ndarray) -> np.ndarray:
        """How many images the part has of each class.

        Args:
          class_counts: int [K], images of the training split.

        Returns:
          int64 [K].
        """
        there = np.asarray(class_counts, np.int64)
        return np.clip(there - self.held_out, 0, self.per_class)

    def choose(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """Which images the part has.

        Each class has one random order, of which the part takes the first: of two parts of one seed
        the larger one has the images of the smaller one.

        Args:
          labels: int [N], of the training split.
          seed: of the run.

        Returns:
          int64 [M], indices into `labels`, in file order.
        """
        chosen = []
        for label, size in enumerate(self.sizes(np.bincount(labels))):
            rng = np.random.default_rng([seed, label, _CHOICE])
            chosen.append(rng.permutation(np.flatnonzero(labels == label))[:size])
        return np.sort(np.concatenate(chosen))


# What a stream is drawn by: a sampler from what the first stream has, or a part of its own.
Source = str | BalancedSubset


def held_out(sources: Iterable[Source]) -> BalancedSubset | None:
    """The part that is held out for the streams of a method; None where nothing is.

    Args:
      sources: of the streams. Several that hold out share images, so that the largest has all.
    """
    parts = [x for x in sources if isinstance(x, BalancedSubset) and x.held_out]
    return max(parts, key=lambda part: part.per_class, default=None)


def trained_counts(class_counts: np.ndarray, sources: Iterable[Source]) -> np.ndarray:
    """How many images of each class the first stream is drawn from.

    Args:
      class_counts: int [K], images of the training split.
      sources: of a method's streams.

    Returns:
      int [K]; the same array where nothing is held out.
    """
    part = held_out(sources)
    return class_counts if part is None else class_counts - part.sizes(class_counts)


def check(
    sources: Iterable[Source], class_counts: np.ndarray, class_names: tuple[str, ...], method: str
) -> None:
    """Checks that a training split can give the parts that a method asks for.

    A class that has no image at all is missed nowhere.

    Args:
      sources: of the method's streams.
      class_counts: int [K], images of the training split.
      class_names: K names, for the message.
      method: its name, for the message.

    Raises:
      ConfigError: a class has a single image, which cannot be held out and trained on.
    """
    part = held_out(sources)
    if part is None or not np.any(class_counts == 1):
        return
    alone = class_names[int(np.argmax(class_counts == 1))]
    raise ConfigError(
        f"config.method.name is {method!r}, which holds {part.per_class} images of each class out "
        f"of the training split and trains on the rest, but {printable(alone)} has only one image; "
        "lower config.data.imbalance or complete the data set, so that each class has two"
    )
