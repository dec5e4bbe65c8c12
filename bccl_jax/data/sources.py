"""Data sets by name: from files to a long-tailed training split and the split to evaluate on."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from bccl_jax.data import checks
from bccl_jax.data.formats import cifar, digits, folder, given, listed, packed, prepared
from bccl_jax.data.formats.table import Columns
from bccl_jax.data.long_tail import class_counts, holdout_split, imbalance_factor, subset_indices
from bccl_jax.data.split import Dataset, Split, Splits, keep, reduce
from bccl_jax.errors import ConfigError, DataError
from bccl_jax.settings.registry import Origin, Registry

SOURCES = ("original", "tfds", "packed")


@dataclasses.dataclass(frozen=True)
class Request:
    """What a loader may want to know; see `load_dataset`."""

    name: str
    source: str
    data_dir: str
    lists: str
    check_totals: bool
    test_fraction: float
    seed: int
    folders: dict[str, str]
    columns: Columns

    def check(self) -> None:
        """Checks what can be known before anything is read.

        Raises:
          ConfigError: there is no such data set, or it has no such source, or what is only for
            pictures of one's own is said of another.
        """
        if self.name not in DATASETS:
            raise ConfigError(
                f"config.data.name is {self.name!r}; choose one of {', '.join(DATASETS)}"
            )
        if self.source not in DATASETS[self.name]:
            raise ConfigError(
                f"config.data.source is {self.source!r}, which {self.name} does not come from; "
                f"choose one of {', '.join(DATASETS[self.name])}"
            )
        folders = [f"config.data.{key}" for key, value in self.folders.items() if value]
        named = folders + self.columns.keys()
        if named and self.name != "folder":
            raise ConfigError(
                f"{named[0]} is for pictures of one's own, but config.data.name is "
                f"{self.name!r}; leave it empty, or write config.data.name='folder'"
            )


def _in(load: Callable, *args) -> Callable[[Request], tuple]:
    """A loader that wants nothing but the folder."""
    return lambda request: load(*args, request.data_dir)


def _packed(name: str, request: Request) -> Splits:
    return packed.load(request.data_dir, name)


def _from_lists(dataset: listed.ListedDataset, request: Request) -> Splits:
    return listed.load(dataset, request.data_dir, request.lists, request.check_totals)


def _of_public_size(dataset: listed.ListedDataset, load: Callable, request: Request) -> Splits:
    splits = load(request)
    if request.check_totals:
        listed.check_splits(dataset, splits, request.data_dir)
    return splits


def _prepared(tfds_name: str, request: Request) -> Splits:
    return prepared.load_encoded(tfds_name, request.data_dir)


def _own(request: Request) -> Splits:
    return folder.load(
        request.data_dir,
        request.test_fraction,
        request.seed,
        **request.folders,
        columns=request.columns,
    )


def _photographs(dataset: listed.ListedDataset, tfds_name: str = "") -> dict[str, Callable]:
    others = {"packed": functools.partial(_packed, dataset.name)}
    if tfds_name:
        others["tfds"] = functools.partial(_prepared, tfds_name)
    return {"original": functools.partial(_from_lists, dataset)} | {
        source: functools.partial(_of_public_size, dataset, load) for source, load in others.items()
    }


# name -> source -> request -> (training split, test split) or `Splits`, as the origin has them.
DATASETS = {
    "digits": {"original": lambda request: digits.load()},
    "cifar10": {
        "original": _in(cifar.load_cifar10),
        "tfds": _in(prepared.load, "cifar10"),
    },
    "cifar100": {
        "original": _in(cifar.load_cifar100),
        "tfds": _in(prepared.load, "cifar100"),
    },
    "imagenet_lt": _photographs(listed.IMAGENET_LT, "imagenet_lt"),
    "inaturalist2018": _photographs(listed.INATURALIST2018, "i_naturalist2018"),
    "places_lt": _photographs(listed.PLACES_LT),
    "tiny_imagenet_lt": _photographs(listed.TINY_IMAGENET_LT),
    "folder": {"original": _own, "packed": functools.partial(_packed, "folder")},
}


OWN = Registry("data set", DATASETS)


def register(name: str) -> Callable[[Callable], Callable]:
    """Makes a function the data set called `name`, as a decorator of it.

    The function takes a `Request`, of which `data_dir` is `config.data.dir`, and returns `Splits`,
    or (training split, test split), as the data set's origin has them: the draw of a long-tailed
    split, the keys of `config.data` and the checks are those of every data set.

    Args:
      name: which `config.data.name` calls it by.

    Returns:
      The decorator; it gives the function back as it is.

    Raises:
      ConfigError: the name is taken.
    """
    origin = Origin.of_caller()

    def add(load: Callable) -> Callable:
        if not callable(load):
            raise ConfigError(f"the data set {name!r} is {load!r}; it must be a function")
        loaders = {"original": functools.partial(given.load, load)}
        OWN.add(name, loaders | {"packed": functools.partial(_packed, name)}, origin)
        return load

    return add


def load_dataset(
    name: str,
    *,
    source: str = "original",
    data_dir: str = "data",
    lists: str = "",
    check_totals: bool = True,
    classes: int = 0,
    pixels: int = 0,
    imbalance: float = 100.0,
    subset_seed: int = 0,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.2,
    train_folder: str = "",
    test_folder: str = "",
    validation_folder: str = "",
    path_column: str = "",
    label_column: str = "",
    split_column: str = "",
) -> Dataset:
    """Reads a data set and makes its training split long-tailed.

    A balanced training split is drawn from (`long_tail.subset_indices`); one that is long-tailed
    already is taken as it is. No photograph is opened.

    Args:
      name: a key of `DATASETS`.
      source: "original", "tfds" or "packed".
      data_dir: where the files lie; for "folder" a folder or a CSV file (`folder.load`).
      lists: the folder of the lists of a data set that has such; "" for `data_dir`.
      check_totals: whether such a data set must have as many images as the published one.
      classes: classes to keep, evenly spaced over the labels; 0 keeps all.
      pixels: side that images in memory are reduced to by averaging; 0 keeps theirs.
      imbalance: the imbalance factor; 0 takes the training split as it is, whatever it is.
      subset_seed: of the draw, and of that of a test split.
      validation_fraction: share of each class of the training split that is set aside, before the
        draw, and takes the place of the test split; 0 evaluates on the test split.
      test_fraction: share of each class of "folder" that becomes a test split if there is none.
      train_folder: of "folder", the folder of the training split as a path from `data_dir`; "" for
        the one of its name.
      test_folder: the same of the test split.
      validation_folder: the same of the validation split.
      path_column: of "folder" with a CSV file, the column of the paths; "" for "path".
      label_column: the same of the labels.
      split_column: the same of the splits.

    Returns:
      The data set.

    Raises:
      ConfigError: there is no such data set, or it has no such source, or a number is out of range.
      DataError: files are missing or broken, a class has no training image, two splits share
        images, or the training split is long-tailed already by another factor.
    """
    if imbalance and not imbalance >= 1:
        raise ConfigError(
            f"config.data.imbalance is {imbalance}; it must be at least 1, which is balanced, or "
            "0, which takes the training split as it is"
        )
    request = Request(
        name,
        source,
        data_dir,
        lists,
        check_totals,
        test_fraction,
        subset_seed,
        {"train_folder": train_folder, "test_folder": test_folder}
        | {"validation_folder": validation_folder},
        Columns(path_column, label_column, split_column),
    )
    request.check()
    splits = Splits(*DATASETS[name][source](request))
    _check(splits, name)
    if classes:
        splits = keep(splits, classes, name)
    if pixels:
        splits = reduce(splits, pixels, name)
    train, test, validation = splits.train, splits.test, splits.validation
    counts = np.bincount(train.labels)
    balanced = counts.min() == counts.max()
    # The profile rounds n_max / IF down, so the smallest class may lie up to one image below it.
    if imbalance and not balanced and abs(counts.min() - counts.max() / imbalance) >= 1:
        raise DataError(
            f"the training split of {name} is long-tailed already, by {counts.max()} / "
            f"{counts.min()} = {imbalance_factor(counts):.4g}, and not by config.data.imbalance="
            f"{imbalance:g}; write the factor that it has, or 0 to take it as it is"
        )
    if validation_fraction:
        train, test = _set_aside(train, validation_fraction, name)
        # Settings are chosen with what was set aside alone.
        validation = None
    if imbalance and balanced:
        train = _draw(train, imbalance, subset_seed, name)
    return Dataset(name, train, test, validation, splits.notes, bool(validation_fraction))


def _check(splits: Splits, name: str) -> None:
    checks.check_classes(splits.train.labels, splits.train.class_names, name)
    if not splits.test.encoded:
        return
    tested = _names(splits.test)
    for role, split in (("training", splits.train), ("validation", splits.validation)):
        if split is not None:
            checks.check_disjoint(
                _names(split), tested, f"the {role} split", f"the test split of {name}"
            )


def _names(split: Split) -> list[str]:
    return [split.images.name(position) for position in range(len(split))]


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


__all__ = ["DATASETS", "SOURCES", "Dataset", "Split", "load_dataset", "register"]
