"""Data sets by name: from files to a long-tailed training split and the split to evaluate on."""

import functools

import numpy as np

from bccl_jax.data import cifar, digits, prepared
from bccl_jax.data.long_tail import class_counts, holdout_split, imbalance_factor, subset_indices
from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import ConfigError, DataError

# name -> source -> data_dir -> (training split, test split), each as its origin has it.
DATASETS = {
    "digits": {"original": lambda data_dir: digits.load()},
    "cifar10": {
        "original": cifar.load_cifar10,
        "tfds": functools.partial(prepared.load, "cifar10"),
    },
    "cifar100": {
        "original": cifar.load_cifar100,
        "tfds": functools.partial(prepared.load, "cifar100"),
    },
}
SOURCES = ("original", "tfds")


def load_dataset(
    name: str,
    *,
    source: str = "original",
    data_dir: str = "data",
    imbalance: float = 100.0,
    subset_seed: int = 0,
    validation_fraction: float = 0.0,
) -> Dataset:
    """Reads a data set and makes its training split long-tailed.

    A balanced training split is drawn from (`long_tail.subset_indices`); one that is long-tailed
    already is taken as it is.

    Args:
      name: a key of `DATASETS`.
      source: "original" or "tfds".
      data_dir: where the files lie.
      imbalance: the imbalance factor.
      subset_seed: of the draw.
      validation_fraction: share of each class of the training split that is set aside, before the
        draw, and takes the place of the test split; 0 evaluates on the test split.

    Returns:
      The data set.

    Raises:
      ConfigError: there is no such data set, or it has no such source.
      DataError: files are missing or broken, a class has no training image, or the split is
        long-tailed already by another factor.
    """
    if name not in DATASETS:
        raise ConfigError(f"config.data.name is {name!r}; choose one of {', '.join(DATASETS)}")
    if source not in DATASETS[name]:
        raise ConfigError(
            f"config.data.source is {source!r}, which {name} does not come from; "
            f"choose one of {', '.join(DATASETS[name])}"
        )
    train, test = DATASETS[name][source](data_dir)
    given = np.bincount(train.labels, minlength=len(train.class_names))
    if given.min() == 0:
        raise DataError(
            f"class {given.argmin()} of {name} has no training image; complete the data set under "
            f"config.data.dir={data_dir}"
        )
    balanced = given.min() == given.max()
    # The profile rounds n_max / IF down, so the smallest class may lie up to one image below it.
    if not balanced and abs(given.min() - given.max() / imbalance) >= 1:
        raise DataError(
            f"the training split of {name} is long-tailed already, by {given.max()} / "
            f"{given.min()} = {imbalance_factor(given):.4g}, and not by config.data.imbalance="
            f"{imbalance:g}; write the factor that it has"
        )
    if validation_fraction:
        train, test = _set_aside(train, validation_fraction, name)
    if balanced:
        train = _draw(train, imbalance, subset_seed, name)
    return Dataset(name, train, test)


def _set_aside(train: Split, fraction: float, name: str) -> tuple[Split, Split]:
    remaining, aside = holdout_split(train.labels, fraction)
    if not len(aside):
        raise ConfigError(
            f"config.data.validation_fraction is {fraction}, less than one image of any class of "
            f"{name}; raise it"
        )
    return train.take(remaining), train.take(aside)


def _draw(train: Split, imbalance: float, seed: int, name: str) -> Split:
    largest = int(np.bincount(train.labels).max())
    counts = class_counts(len(train.class_names), largest, imbalance)
    if counts.min() == 0:
        raise ConfigError(
            f"config.data.imbalance is {imbalance:g}, so that the smallest class of {name} would "
            f"have no image; lower it to at most {largest}"
        )
    return train.take(subset_indices(train.labels, counts, seed))


__all__ = ["DATASETS", "SOURCES", "Dataset", "Split", "load_dataset"]
