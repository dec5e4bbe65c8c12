"""One row less another: differences, intervals and p-values."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from bccl_jax.evaluation import statistics

from .reading import class_accuracies, correct, images
from .runs import Runs


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One row less another, over the seeds that both have.

    Attributes:
      row: name of the first.
      reference: name of the second.
      seeds: that both have.
      difference: of the mean accuracy of the classes that both tested, percentage points.
      low: of its 95 % interval; None where the images cannot be paired.
      high: of its 95 % interval.
      p_seeds: paired t-test over seeds; None where there is none.
      p_images: sign flips over images; None where the images cannot be paired.
      adjusted_seeds: `p_seeds` by Holm over the comparisons made together.
      adjusted_images: `p_images` likewise.
    """

    row: str
    reference: str
    seeds: tuple[int, ...]
    difference: float
    low: float | None
    high: float | None
    p_seeds: float | None
    p_images: float | None
    adjusted_seeds: float | None = None
    adjusted_images: float | None = None


def compare(first: Runs, second: Runs) -> Comparison | None:
    """The first row less the second, over the seeds that both have; None where nothing is common.

    The difference is over the classes that all these runs tested: a mean that lacks a hard class is
    no gain.
    """
    seeds = tuple(seed for seed in first.records if seed in second.records)
    if not seeds:
        return None
    pairs = [(first.records[seed], second.records[seed]) for seed in seeds]
    if len({len(record["class_counts"]) for pair in pairs for record in pair}) > 1:
        return None
    of_classes = np.array([class_accuracies(a) - class_accuracies(b) for a, b in pairs])
    common = ~np.isnan(of_classes).any(axis=0)
    if not common.any():
        return None
    differences = of_classes[:, common].mean(axis=1)
    low = high = p_images = None
    # Pictures that could not be decoded are left out: without the same ones, images do not pair.
    which = {images(record) for pair in pairs for record in pair}
    if len(which) == 1 and None not in which and pairs[0][0]["images"] > 1:
        of_images = np.array([correct(a).astype(int) - correct(b) for a, b in pairs])
        low, high = (100 * bound for bound in statistics.interval(of_images))
        p_images = statistics.sign_flip(of_images)
    return Comparison(
        first.row.name,
        second.row.name,
        seeds,
        float(differences.mean()),
        low,
        high,
        statistics.paired_t(differences),
        p_images,
    )


def adjusted(comparisons: Iterable[Comparison | None]) -> list[Comparison]:
    """Those there are, with p-values by Holm over all of them."""
    found = [comparison for comparison in comparisons if comparison is not None]
    of_seeds = statistics.holm([comparison.p_seeds for comparison in found])
    of_images = statistics.holm([comparison.p_images for comparison in found])
    return [
        dataclasses.replace(comparison, adjusted_seeds=s, adjusted_images=i)
        for comparison, s, i in zip(found, of_seeds, of_images, strict=True)
    ]
