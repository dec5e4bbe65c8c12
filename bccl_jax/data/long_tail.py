"""The long-tailed profile, the field's seeded subset of it, and the shot groups of the protocol."""

import numpy as np

from bccl_jax.errors import ConfigError, DataError


def class_counts(num_classes: int, max_count: int, imbalance_factor: float) -> np.ndarray:
    """The exponential profile of Cui et al. 2019: n_k = int(n_max * IF^(-k / (K - 1))).

    Args:
      num_classes: K.
      max_count: n_max, images of the largest class.
      imbalance_factor: IF, largest class over smallest, at least 1.

    Returns:
      int64 [K], falling from n_max.

    Raises:
      ConfigError: the imbalance factor is below 1.

    Examples:
      Ten classes, the largest ten times the smallest:

      >>> class_counts(10, 100, 10.0)
      array([100,  77,  59,  46,  35,  27,  21,  16,  12,  10])
    """
    if not imbalance_factor >= 1:
        raise ConfigError(
            f"config.data.imbalance is {imbalance_factor}; it must be at least 1, which is balanced"
        )
    # In float64 and in LDAM's own order of operations, so that every count agrees with theirs.
    exponent = np.arange(num_classes) / max(num_classes - 1.0, 1.0)
    return np.array([int(max_count * (1.0 / imbalance_factor) ** e) for e in exponent], np.int64)


def subset_indices(labels: np.ndarray, counts: np.ndarray, seed: int = 0) -> np.ndarray:
    """The draw of LDAM-DRW (Cao et al. 2019), image for image.

    One `RandomState` goes through the classes in label order, shuffles each class's indices, which
    are in file order, and takes the first n_k.

    Args:
      labels: int [N].
      counts: int [K], images wanted of each class.
      seed: of the draw; 0 is what the field uses.

    Returns:
      int64 [sum of counts], indices into `labels`, class by class.

    Raises:
      DataError: a class has fewer images than wanted.

    Examples:
      >>> labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
      >>> chosen = subset_indices(labels, counts=[3, 1])
      >>> labels[chosen]
      array([0, 0, 0, 1])
    """
    labels = np.asarray(labels)
    rng = np.random.RandomState(seed)
    chosen = []
    for label, count in enumerate(counts):
        indices = np.flatnonzero(labels == label)
        if len(indices) < count:
            raise DataError(
                f"class {label} has {len(indices)} images, fewer than the {count} of the "
                "long-tailed profile; raise config.data.imbalance or complete the data set"
            )
        rng.shuffle(indices)
        chosen.append(indices[:count])
    return np.concatenate(chosen)


def shot_groups(
    class_counts: np.ndarray, many_above: int = 100, few_below: int = 20
) -> dict[str, np.ndarray]:
    """Which classes are many-, medium- and few-shot (Liu et al. 2019).

    Args:
      class_counts: int [K], training images of each class.
      many_above: many-shot classes have more images than this.
      few_below: few-shot classes have fewer images than this.

    Returns:
      {"many", "medium", "few"}: bool [K], of which exactly one holds for a class.

    Raises:
      ValueError: the bounds overlap.

    Examples:
      >>> groups = shot_groups([500, 120, 60, 20, 5])
      >>> {name: np.flatnonzero(group).tolist() for name, group in groups.items()}
      {'many': [0, 1], 'medium': [2, 3], 'few': [4]}
    """
    if few_below > many_above + 1:
        raise ValueError(
            f"few_below is {few_below} and many_above {many_above}, so that a class could be in "
            "both groups; lower few_below"
        )
    counts = np.asarray(class_counts)
    many, few = counts > many_above, counts < few_below
    return {"many": many, "medium": ~many & ~few, "few": few}


def imbalance_factor(class_counts: np.ndarray) -> float:
    """Largest class over smallest; infinite where a class has no image.

    Examples:
      >>> imbalance_factor([500, 60, 5])
      100.0
      >>> imbalance_factor([500, 60, 0])
      inf
    """
    counts = np.asarray(class_counts)
    return float(counts.max() / counts.min()) if counts.min() else float("inf")


def holdout_split(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Sets a validation part of a training split aside, to choose settings on.

    Of each class the last floor(n_k * fraction) images in file order are set aside: the same ones
    whatever the seed, the imbalance factor or the method.

    Args:
      labels: int [N].
      fraction: share of each class, 0 to below 1.

    Returns:
      int64 indices that remain, and int64 indices set aside, both in file order.

    Raises:
      ConfigError: the fraction is negative, or would leave nothing to train on.

    Examples:
      >>> labels = np.array([0, 0, 0, 0, 1, 1])
      >>> holdout_split(labels, 0.5)
      (array([0, 1, 4]), array([2, 3, 5]))
    """
    if not 0 <= fraction < 1:
        raise ConfigError(
            f"config.data.validation_fraction is {fraction}; it must be at least 0 and below 1"
        )
    labels = np.asarray(labels)
    aside = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        # Rounding first keeps 100 * 0.29 = 28.999... at 29.
        number = int(np.floor(np.round(len(indices) * fraction, 6)))
        aside[indices[len(indices) - number :]] = True
    return np.flatnonzero(~aside), np.flatnonzero(aside)


def draw_test_split(
    labels: np.ndarray, fraction: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a test split from images that come without one.

    Of each class floor(n_k * fraction) images, but at least 1 and at most n_k - 1; a class of a
    single image keeps it for training. Each class has a draw of its own, so that images added to
    one leave the others' split as it was.

    Args:
      labels: int [N].
      fraction: share of each class, above 0 and below 1.
      seed: of the draw.

    Returns:
      int64 indices that remain, and int64 indices of the test split, both in file order.

    Examples:
      A class of a single image keeps it for training:

      >>> labels = np.array([0, 0, 0, 0, 0, 1, 1, 2])
      >>> train, test = draw_test_split(labels, 0.2)
      >>> labels[test]
      array([0, 1])
    """
    labels = np.asarray(labels)
    drawn = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        number = int(np.floor(np.round(len(indices) * fraction, 6)))
        number = min(max(number, 1), len(indices) - 1)
        drawn[np.random.RandomState([seed, label]).permutation(indices)[:number]] = True
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)
