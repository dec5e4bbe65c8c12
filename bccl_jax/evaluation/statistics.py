"""Statistics of paired runs; float64, on the host, the same on every call.

Two rows are compared seed by seed on the same images, and there are two questions. Would another
training run show the difference as well? That is for the seeds to answer: `paired_t`. Would another
test set? That is for the images: `sign_flip`. `interval` takes both as drawn at random.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

FLIPS = 100_000
LEVEL = 0.95


class Spread(NamedTuple):
    """A mean over seeds.

    Attributes:
      mean: of the values.
      deviation: sample standard deviation (n - 1); None for a single value.
      count: n.
    """

    mean: float
    deviation: float | None
    count: int


def spread(values: Sequence[float | None]) -> Spread | None:
    """Mean and sample standard deviation; None where there is no value, or one is None.

    Examples:
      >>> spread([50.0, 52.0, 54.0])
      Spread(mean=52.0, deviation=2.0, count=3)
    """
    if not len(values) or any(value is None for value in values):
        return None
    array = np.asarray(values, np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else None
    return Spread(float(array.mean()), deviation, len(array))


def paired_t(differences: np.ndarray) -> float | None:
    """Paired t-test over seeds: would other training runs differ on average, on these images?

    t = mean(d) / (std(d) / sqrt(n)) with n - 1 degrees of freedom, two-sided. It takes the
    differences as normal, and two or three seeds can only confirm one that hardly varies.

    Args:
      differences: float [n], first row less second, one of each seed.

    Returns:
      The p-value; None for fewer than two seeds, or where all differences are equal, so that
      nothing tells how much a seed matters.
    """
    differences = np.asarray(differences, np.float64)
    n = len(differences)
    if n < 2 or np.ptp(differences) <= 1e-9:
        return None
    t = differences.mean() / (differences.std(ddof=1) / np.sqrt(n))
    return float(2 * stats.t.sf(abs(t), n - 1))


def sign_flip(differences: np.ndarray, flips: int = FLIPS, seed: int = 0) -> float:
    """Sign-flip permutation test over images: would these very networks differ on other images?

    Under the null hypothesis an image's difference is as likely to favour one row as the other, so
    that each image's sign may be flipped. With D the sum of the differences and D' that of a flip,
    p = (1 + #{|D'| >= |D|}) / (1 + flips), two-sided.

    Images of one absolute difference, summed over seeds, flip together as one binomial number; this
    is the same draw as image by image, in a fraction of the time.

    Args:
      differences: int [S, N] of -1, 0, 1: whether the first row is right on an image with a seed,
        less whether the second is.
      flips: to draw.
      seed: of the draws.

    Returns:
      The p-value; 1 where no image differs.
    """
    of_image = np.asarray(differences, np.int64).sum(axis=0)
    rng = np.random.RandomState(seed)
    sizes, counts = np.unique(np.abs(of_image[of_image != 0]), return_counts=True)
    flipped = np.zeros(flips, np.int64)
    for size, count in zip(sizes, counts, strict=True):
        flipped += size * (2 * rng.binomial(count, 0.5, flips) - count)
    extreme = np.count_nonzero(np.abs(flipped) >= abs(of_image.sum()))
    return float((1 + extreme) / (1 + flips))


def interval(differences: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Confidence interval of the mean difference, seeds and images both drawn at random.

    Two-way random effects without replication: d_si = m + a_s + b_i + e_si. With mean squares MS,

        var(mean) = (MS_seeds + MS_images - MS_rest) / (S N),

    at least that of seeds alone and of images alone, and the t distribution with Satterthwaite's
    degrees of freedom (Searle, Casella & McCulloch 1992). A single seed leaves the images alone to
    vary.

    Args:
      differences: int [S, N] of -1, 0, 1, as `sign_flip` takes them; N of 2 or more.
      level: of the interval.

    Returns:
      Lower and upper bound, a share of the images.
    """
    values = np.asarray(differences, np.float64)
    seeds, images = values.shape
    mean = values.mean()
    of_images = values.mean(axis=0).var(ddof=1) / images
    variance, freedom = of_images, images - 1.0
    if seeds > 1:
        of_seeds = values.mean(axis=1).var(ddof=1) / seeds
        rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + mean
        of_rest = np.sum(rest**2) / ((seeds - 1) * (images - 1)) / values.size
        variance = max(of_seeds + of_images - of_rest, of_seeds, of_images)
        weights = of_seeds**2 / (seeds - 1) + of_images**2 / (images - 1)
        weights += of_rest**2 / ((seeds - 1) * (images - 1))
        freedom = variance**2 / weights if weights else 1.0
    half = stats.t.ppf((1 + level) / 2, max(freedom, 1.0)) * np.sqrt(variance)
    return float(mean - half), float(mean + half)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction of the p-values of m tests: it bounds the chance of any false rejection.

    With the values in rising order, p'_i = max over j <= i of min(1, (m - j + 1) p_j).

    Args:
      values: p-values; None is no test and does not count.

    Returns:
      The adjusted values in the same order.

    Examples:
      >>> holm([0.01, 0.04, 0.03])
      [0.03, 0.06, 0.06]
    """
    adjusted = list(values)
    tested = sorted((p, i) for i, p in enumerate(values) if p is not None)
    highest = 0.0
    for rank, (p, i) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[i] = highest
    return adjusted


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two orders: 1 the same, -1 reversed; None where one of them has none."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(stats.kendalltau(first, second).statistic)
