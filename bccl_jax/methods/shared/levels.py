"""CUDA's levels of the classes: which images test them, and what the tests make of them."""

import numpy as np

from bccl_jax.augment.curriculum import LEVELS


def draw_tests(
    labels: np.ndarray, levels: np.ndarray, per_level: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the images that a class is tested on at every level up to its own.

    At level s these are per_level (s + 1) images of the class, drawn with replacement, so that a
    class of few images is tested as often as any; one of none is not tested.

    Args:
      labels: int [N], of the images.
      levels: int [K], from 0 to `LEVELS`.
      per_level: images at level 0.
      rng: what draws.

    Returns:
      int64 [n], images by position; int32 [n], the level that each is to be seen at.
    """
    counts = np.bincount(labels, minlength=len(levels))
    order = np.argsort(labels, kind="stable")
    tested = (np.arange(LEVELS + 1) <= np.asarray(levels)[:, None]) & (counts > 0)[:, None]
    classes, at = np.nonzero(tested)
    number = per_level * (at + 1)
    classes, at = np.repeat(classes, number), np.repeat(at, number)
    first = np.cumsum(counts) - counts
    return order[first[classes] + rng.integers(counts[classes])], at.astype(np.int32)


def positions(found: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Where in what was asked for that stands which was found of it, in the same order.

    Args:
      found: int [m], what is left of `asked` without some of its entries.
      asked: int [n].

    Returns:
      int64 [m].
    """
    if len(found) == len(asked):
        return np.arange(len(asked))
    rest = iter(enumerate(asked.tolist()))
    return np.array([next(at for at, one in rest if one == index) for index in found.tolist()])


def next_levels(
    levels: np.ndarray, correct: np.ndarray, trials: np.ndarray, accept: float
) -> np.ndarray:
    """Raises the classes that pass at every level up to their own by one, lowers all others.

    Args:
      levels: int [K], from 0 to `LEVELS`.
      correct: int [K, LEVELS + 1], tested images that were predicted right, by class and level.
      trials: like it, all tested images.
      accept: the share of them that a class has to exceed.

    Returns:
      int32 [K], from 0 to `LEVELS`. A class that was not tested at a level has not passed it.
    """
    share = np.divide(correct, trials, out=np.zeros(np.shape(trials)), where=trials > 0)
    beyond = np.arange(LEVELS + 1) > np.asarray(levels)[:, None]
    passed = np.all(beyond | (share > accept), axis=1)
    return np.clip(levels + np.where(passed, 1, -1), 0, LEVELS).astype(np.int32)
