"""How balanced a feature space is: measures of each class, to be compared between head and tail.

Everything is of unit vectors, float64, on the host.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

# A direction in which unit vectors vary by less than this (root mean square) is rounding: float32
# features are exact to 1e-7.
_ROUNDING = 1e-6

PER_CLASS = (
    "spread",
    "nearest_class",
    "alignment",
    "uniformity",
    "effective_rank",
    "simplex_gap",
)


@dataclasses.dataclass(frozen=True)
class FeatureSpace:
    """Measures of the features of K classes; NaN for a class that has too few samples for one.

    With m the mean of a class's unit vectors, its direction is m / |m|; a class whose mean is zero
    has none.

    Attributes:
      spread: float64 [K], mean squared distance of a class's samples to its direction, 2 - 2 |m|:
        0 for a collapsed class, 2 for one that lies all around the sphere. The direction, and not
        the mean, is what a centroid on the sphere is. Two samples or more.
      nearest_class: float64 [K], degrees between a class's direction and the nearest other one.
      alignment: float64 [K], mean squared distance of two distinct samples of a class (Wang & Isola
        2020, alpha = 2). Two samples or more.
      uniformity: float64 [K], log of the mean of exp(-2 d^2) over the distances d of a class's
        samples to all others, of whatever class (Wang & Isola 2020, t = 2). -8 to 0; the lower, the
        emptier is the space around the class.
      effective_rank: float64 [K], exp of the entropy of the normalised singular values of a class's
        centred features (Roy & Vetterli 2007); 1 for a collapsed class. Two samples or more.
      simplex_gap: float64 [K], mean over the other classes of |cos + 1 / (K - 1)|, of the angle
        between the means of two classes, centred at the mean of all means; 0 where they form a
        simplex, as under neural collapse (Papyan et al. 2020). K counts the classes that have
        samples; of two the gap is always 0.
      global_uniformity: of all pairs of distinct samples.
      rank_of_means: effective rank of the centred class means, at most K - 1.
    """

    spread: np.ndarray
    nearest_class: np.ndarray
    alignment: np.ndarray
    uniformity: np.ndarray
    effective_rank: np.ndarray
    simplex_gap: np.ndarray
    global_uniformity: float
    rank_of_means: float

    def record(self, groups: dict[str, np.ndarray]) -> dict:
        """The measures as JSON values, null for NaN.

        Args:
          groups: bool [K] of "many", "medium" and "few", as `shot_groups` gives them.

        Returns:
          For each measure of a class its `summary`, its `imbalance` and the classes' values as
          "per_class"; the two measures of all classes by name.
        """
        measures = {name: getattr(self, name) for name in PER_CLASS}
        return {
            name: {
                **summary(values, groups),
                **imbalance(values, groups),
                "per_class": [_json(value) for value in values],
            }
            for name, values in measures.items()
        } | {name: _json(getattr(self, name)) for name in ("global_uniformity", "rank_of_means")}


def measure(
    features: np.ndarray, labels: np.ndarray, num_classes: int, chunk: int = 1024
) -> FeatureSpace:
    """Measures a feature space.

    Args:
      features: float [N, D], of any length: they are scaled to unit vectors, zeros stay zero.
      labels: int [N].
      num_classes: K.
      chunk: samples that are compared with as many others at a time; bounds the memory.

    Returns:
      The measures.

    Raises:
      ValueError: the shapes differ, a feature is not finite, or a label is not an integer of 0 to
        K - 1.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    _check(features, labels, num_classes)
    features = _unit(features)
    counts = np.bincount(labels, minlength=num_classes)
    there = np.flatnonzero(counts)
    means = np.zeros((num_classes, features.shape[1]))
    spread, alignment, rank = (np.full(num_classes, np.nan) for _ in range(3))
    for k in there:
        of_class = features[labels == k]
        means[k] = of_class.mean(axis=0)
        if counts[k] > 1:
            centred = of_class - means[k]
            squares = np.sum(of_class**2) / counts[k]
            spread[k] = max(squares + 1 - 2 * np.linalg.norm(means[k]), 0.0)
            alignment[k] = 2 * np.sum(centred**2) / (counts[k] - 1)
            rank[k] = _effective_rank(centred)
    uniformity, global_uniformity = _uniformity(features, labels, counts, chunk)
    nearest, gap = (np.full(num_classes, np.nan) for _ in range(2))
    rank_of_means = np.nan
    if len(there) > 1:
        centred = means[there] - means[there].mean(axis=0)
        nearest[there] = _nearest(means[there], chunk)
        gap[there] = _simplex_gap(centred, chunk)
        rank_of_means = _effective_rank(centred)
    return FeatureSpace(
        spread, nearest, alignment, uniformity, rank, gap, global_uniformity, rank_of_means
    )


def summary(values: np.ndarray, groups: dict[str, np.ndarray]) -> dict[str, float | None]:
    """The mean of a measure over all classes and over those of each shot group.

    Args:
      values: float [K]; classes of NaN are left out.
      groups: bool [K] by name, as `shot_groups` gives them.

    Returns:
      {"all": mean, ...and the groups}; None for a group without a value.
    """
    everyone = {"all": np.ones(len(values), bool)}
    return {
        name: _json(np.mean(values[group & ~np.isnan(values)])) if _any(values, group) else None
        for name, group in (everyone | groups).items()
    }


def imbalance(values: np.ndarray, groups: dict[str, np.ndarray]) -> dict[str, float | None]:
    """How unequal a measure is between classes.

    Args:
      values: float [K]; classes of NaN are left out.
      groups: bool [K] of "many" and "few".

    Returns:
      "variation", the coefficient of variation: standard deviation over |mean|, of all classes;
      "few_over_many" and "few_minus_many", of the means of these groups. None where a group is
      empty or the divisor is 0. A ratio says nothing of a measure that is a logarithm
      (`uniformity`): take the difference there.
    """
    means = summary(values, groups)
    every, many, few = (means[name] for name in ("all", "many", "few"))
    both = many is not None and few is not None
    return {
        "variation": float(np.nanstd(values) / abs(every)) if every else None,
        "few_over_many": few / many if both and many else None,
        "few_minus_many": few - many if both else None,
    }


def _check(features: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features have shape {features.shape} and labels {labels.shape}; "
            "they must be [N, D] and [N]"
        )
    if not len(labels):
        raise ValueError("there are no features to measure")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels have dtype {labels.dtype}; they must be integers")
    if not (labels.min() >= 0 and labels.max() < num_classes):
        raise ValueError(
            f"labels lie in {labels.min()} to {labels.max()}, outside 0 to {num_classes - 1}"
        )
    if not np.isfinite(features).all():
        raise ValueError("features are not finite")


def _any(values: np.ndarray, group: np.ndarray) -> bool:
    return bool((group & ~np.isnan(values)).any())


def _json(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _effective_rank(centred: np.ndarray) -> float:
    """Of features [n, D] less their mean.

    The smaller Gram matrix has the squares of the singular values in a fraction of the time.
    """
    n, dim = centred.shape
    gram = centred @ centred.T if n < dim else centred.T @ centred
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    values = values[values > _ROUNDING * np.sqrt(n)]
    shares = values / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _uniformity(
    features: np.ndarray, labels: np.ndarray, counts: np.ndarray, chunk: int
) -> tuple[np.ndarray, float]:
    """Of each class [K] and of all pairs; each pair is compared once, block by block."""
    total = len(features)
    squares = np.sum(features**2, axis=1)
    sums = np.zeros(total)
    for rows in _slices(total, chunk):
        for columns in _slices(total, chunk, rows.start):
            block = features[rows] @ features[columns].T
            block *= 2
            block -= squares[rows, None]
            block -= squares[None, columns]
            block *= 2
            # Rounding puts equal vectors at a distance below 0.
            np.exp(np.minimum(block, 0.0, out=block), out=block)
            if rows == columns:
                np.fill_diagonal(block, 0.0)
            else:
                sums[columns] += block.sum(axis=0)
            sums[rows] += block.sum(axis=1)
    of_class = np.bincount(labels, weights=sums, minlength=len(counts))
    pairs = counts * (total - 1.0)
    found = np.full(len(counts), np.nan)
    if total == 1:
        return found, np.nan
    found[counts > 0] = np.log(of_class[counts > 0] / pairs[counts > 0])
    return found, float(np.log(of_class.sum() / pairs.sum()))


def _nearest(means: np.ndarray, chunk: int) -> np.ndarray:
    """Degrees [K] from each mean's direction to the nearest other one; NaN for a mean of zero."""
    found = np.full(len(means), np.nan)
    directed, directions = _directions(means)
    if len(directed) < 2:
        return found
    for rows, cosines in _cosines(directions, chunk):
        np.fill_diagonal(cosines[:, rows], -np.inf)
        other = directions[np.argmax(cosines, axis=1)]
        # The arccosine of small angles is inexact: it would call equal directions 1e-6 degrees.
        apart = np.linalg.norm(directions[rows] - other, axis=1)
        together = np.linalg.norm(directions[rows] + other, axis=1)
        found[directed[rows]] = np.degrees(2 * np.arctan2(apart, together))
    return found


def _simplex_gap(centred: np.ndarray, chunk: int) -> np.ndarray:
    """Mean |cos + 1 / (K - 1)| [K] of centred means [K, D] to the others; NaN for one of zero."""
    found = np.full(len(centred), np.nan)
    directed, directions = _directions(centred)
    if len(directed) < 2:
        return found
    for rows, cosines in _cosines(directions, chunk):
        gaps = np.abs(cosines + 1 / (len(centred) - 1))
        np.fill_diagonal(gaps[:, rows], 0.0)
        found[directed[rows]] = gaps.sum(axis=1) / (len(directed) - 1)
    return found


def _directions(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of vectors [K, D] are not zero, int [k], and their unit vectors [k, D]."""
    directed = np.flatnonzero(np.linalg.norm(vectors, axis=1) > _ROUNDING)
    return directed, _unit(vectors[directed])


def _cosines(directions: np.ndarray, chunk: int) -> Iterator[tuple[slice, np.ndarray]]:
    for rows in _slices(len(directions), chunk):
        yield rows, directions[rows] @ directions.T


def _slices(total: int, chunk: int, start: int = 0) -> Iterator[slice]:
    for first in range(start, total, chunk):
        yield slice(first, min(first + chunk, total))
