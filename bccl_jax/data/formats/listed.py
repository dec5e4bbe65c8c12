"""Photographs named by lists, a path and a label a line, as long-tailed data sets are published."""

import dataclasses
import functools
import os

from bccl_jax.data import checks
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.formats.lists import Entries, names_of_classes, read_list
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown

# Where the paths of a list start, for messages.
_START = "the folder of --config.data.dir=DIR"


@dataclasses.dataclass(frozen=True)
class ListedDataset:
    """A published data set of lists.

    Attributes:
      name: the data set.
      num_classes: K.
      train: name of the training list.
      test: name of the test list.
      validation: name of the validation list, "" if there is none.
      train_total: images of the public training list.
      test_total: images of the public test list.
      validation_total: images of the public validation list.
      classes: name of the optional file of class names.
    """

    name: str
    num_classes: int
    train: str
    train_total: int
    test: str
    test_total: int
    validation: str = ""
    validation_total: int = 0
    classes: str = "classes.txt"


IMAGENET_LT = ListedDataset(
    name="imagenet_lt",
    num_classes=1000,
    train="ImageNet_LT_train.txt",
    train_total=115_846,
    test="ImageNet_LT_test.txt",
    test_total=50_000,
    validation="ImageNet_LT_val.txt",
    validation_total=20_000,
    classes="ImageNet_LT_classes.txt",
)
INATURALIST2018 = ListedDataset(
    name="inaturalist2018",
    num_classes=8142,
    train="iNaturalist18_train.txt",
    train_total=437_513,
    test="iNaturalist18_val.txt",
    test_total=24_426,
    classes="iNaturalist18_classes.txt",
)
PLACES_LT = ListedDataset(
    name="places_lt",
    num_classes=365,
    train="Places_LT_train.txt",
    train_total=62_500,
    test="Places_LT_test.txt",
    test_total=36_500,
    validation="Places_LT_val.txt",
    validation_total=7_300,
    classes="Places_LT_classes.txt",
)
TINY_IMAGENET_LT = ListedDataset(
    name="tiny_imagenet_lt",
    num_classes=200,
    train="train_lt.txt",
    train_total=7_457,
    test="val.txt",
    test_total=2_000,
)


def load(
    dataset: ListedDataset, data_dir: str, lists: str = "", check_totals: bool = True
) -> Splits:
    """Reads the lists of a data set and checks that their images are there.

    Args:
      dataset: which.
      data_dir: the folder that the paths of the lists start from.
      lists: the folder of the lists, "" for `data_dir`.
      check_totals: whether each list must have as many images as the public one. If not, lists may
        be cut down: the classes are those up to the largest label of the training list.

    Returns:
      The splits in the order of their lists, no image of which was opened.

    Raises:
      DataError: a list or an image is missing, or a list is broken or not the public one.
    """
    root, folder = _folders(dataset, data_dir, lists)
    files_in = functools.cache(checks.files_in)
    read = functools.partial(_read_part, dataset, folder, check_totals)
    train = read(dataset.train, dataset.train_total, dataset.num_classes)
    num_classes = dataset.num_classes if check_totals else int(train.labels.max()) + 1
    parts = {dataset.train: train}
    parts[dataset.test] = read(dataset.test, dataset.test_total, num_classes)
    if dataset.validation:
        parts[dataset.validation] = read(dataset.validation, dataset.validation_total, num_classes)
    path = os.path.join(folder, dataset.classes)
    names = names_of_classes(path, dataset.num_classes, num_classes)
    for file, part in parts.items():
        origin = os.path.join(folder, file)
        checks.check_present(root, part.paths, part.lines, origin, _START, files_in)
    return Splits(
        *(Split(FileImages(root, part.paths), part.labels, names) for part in parts.values())
    )


def load_test(
    dataset: ListedDataset,
    class_names: tuple[str, ...],
    data_dir: str,
    lists: str = "",
    check_totals: bool = True,
) -> Split:
    """Reads the test list alone, of a run that knows the names of its classes; see `load`."""
    root, folder = _folders(dataset, data_dir, lists)
    file, total = dataset.test, dataset.test_total
    part = _read_part(dataset, folder, check_totals, file, total, len(class_names))
    origin = os.path.join(folder, file)
    checks.check_present(
        root, part.paths, part.lines, origin, _START, functools.cache(checks.files_in)
    )
    return Split(FileImages(root, part.paths), part.labels, class_names)


def _folders(dataset: ListedDataset, data_dir: str, lists: str) -> tuple[str, str]:
    """The folder of the images and that of the lists."""
    root = os.path.expanduser(data_dir)
    folder = os.path.expanduser(lists) if lists else root
    key = "config.data.lists" if lists else "config.data.dir"
    for name, path in (("config.data.dir", root), (key, folder)):
        if not os.path.isdir(path):
            what = "no folder" if os.path.lexists(path) else "not there"
            raise DataError(
                f"{name} is {shown(path)}, which is {what}; name the one that holds the "
                f"{'images' if name == 'config.data.dir' else 'lists'} of {dataset.name} by "
                f"--{name}=DIR"
            )
    return root, folder


def _read_part(
    dataset: ListedDataset,
    folder: str,
    check_totals: bool,
    file: str,
    total: int,
    num_classes: int,
) -> Entries:
    path = os.path.join(folder, file)
    if not os.path.lexists(path):
        raise DataError(
            f"there is no list {shown(path)}; put the lists of {dataset.name} there, or "
            "name their folder by config.data.lists"
        )
    entries = read_list(path, num_classes)
    if check_totals:
        checks.check_total(len(entries.paths), total, path)
    return entries


def check_splits(dataset: ListedDataset, splits: Splits, origin: str) -> None:
    """Checks that splits of another source have the classes and the sizes of the published ones.

    Args:
      dataset: which they should be.
      splits: what was read.
      origin: where from, for the message.

    Raises:
      DataError: they have not.
    """
    num_classes = len(splits.train.class_names)
    if num_classes != dataset.num_classes:
        raise DataError(
            f"{shown(origin)} has {num_classes} classes where {dataset.name} has "
            f"{dataset.num_classes}; name another folder by --config.data.dir=DIR, or set "
            "config.data.check_totals=False for a part of it"
        )
    totals = (dataset.train_total, dataset.test_total, dataset.validation_total)
    roles = ("training", "test", "validation")
    for role, split, total in zip(roles, splits[:3], totals, strict=True):
        if split is not None:
            checks.check_total(len(split), total, f"the {role} split in {origin}")
