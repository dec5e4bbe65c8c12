"""The test split of a data set alone, for a run that is only evaluated.

Not every test split can be had alone: one may be a part of the training split.
"""

from collections.abc import Callable

from bccl_jax.data.formats import cifar, digits, folder, listed, packed, prepared
from bccl_jax.data.formats.table import Columns
from bccl_jax.data.sources import Request
from bccl_jax.data.split import Dataset, Split, kept_classes
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown, some

# (request, class names of the run) -> the test split as the origin has it, None if it is drawn.
Load = Callable[[Request, tuple[str, ...]], Split | None]


def _photographs(dataset: listed.ListedDataset, tfds_name: str = "") -> dict[str, Load]:
    return {
        "original": lambda request, names: listed.load_test(
            dataset, names, request.data_dir, request.lists, request.check_totals
        ),
        "packed": _packed,
        "tfds": lambda request, names: prepared.load_encoded_test(tfds_name, request.data_dir),
    }


def _packed(request: Request, names: tuple[str, ...]) -> Split:
    del names
    return packed.load_test(request.data_dir, request.name)


def _own(request: Request, names: tuple[str, ...]) -> Split | None:
    named = {role: request.folders[role] for role in ("train_folder", "test_folder")}
    return folder.load_test(request.data_dir, names, **named, columns=request.columns)


_LOADERS: dict[str, dict[str, Load]] = {
    "digits": {"original": lambda request, names: digits.load()[1]},
    "cifar10": {
        "original": lambda request, names: cifar.load_cifar10_test(request.data_dir),
        "tfds": lambda request, names: prepared.load_test("cifar10", request.data_dir),
    },
    "cifar100": {
        "original": lambda request, names: cifar.load_cifar100_test(request.data_dir),
        "tfds": lambda request, names: prepared.load_test("cifar100", request.data_dir),
    },
    "imagenet_lt": _photographs(listed.IMAGENET_LT, "imagenet_lt"),
    "inaturalist2018": _photographs(listed.INATURALIST2018, "i_naturalist2018"),
    "places_lt": _photographs(listed.PLACES_LT),
    "tiny_imagenet_lt": _photographs(listed.TINY_IMAGENET_LT),
    "folder": {"original": _own, "packed": _packed},
}


def load_test_split(
    name: str,
    class_names: tuple[str, ...],
    *,
    source: str = "original",
    data_dir: str = "data",
    lists: str = "",
    check_totals: bool = True,
    classes: int = 0,
    pixels: int = 0,
    set_aside: bool = False,
    train_folder: str = "",
    test_folder: str = "",
    path_column: str = "",
    label_column: str = "",
    split_column: str = "",
) -> Dataset | None:
    """Reads the test split of a data set alone.

    Args:
      name: of the data set, as `sources.load_dataset` knows it, and so all but the following.
      class_names: of the run, K names.
      source: see there.
      data_dir: see there.
      lists: see there.
      check_totals: see there.
      classes: see there.
      pixels: see there.
      set_aside: whether the run is evaluated on a part of the training split.
      train_folder: see there.
      test_folder: see there.
      path_column: see there.
      label_column: see there.
      split_column: see there.

    Returns:
      The data set without a training split; None if there is no test split without it.

    Raises:
      ConfigError: there is no such data set or source, or a number is out of range.
      DataError: files are missing or broken, or it has other classes than the run.
    """
    folders = {"train_folder": train_folder, "test_folder": test_folder}
    columns = Columns(path_column, label_column, split_column)
    request = Request(name, source, data_dir, lists, check_totals, 0.0, 0, folders, columns)
    request.check()
    load = _LOADERS.get(name, {}).get(source)
    # Of lists and folders the names of all classes, of which some were kept, are not known.
    renumbered = classes and not name.startswith(("digits", "cifar"))
    if set_aside or load is None or renumbered:
        return None
    split = load(request, class_names)
    if split is None:
        return None
    if classes:
        split = kept_classes(split, classes, name)
    if pixels:
        split = split.reduced(pixels)
    if tuple(split.class_names) != tuple(class_names):
        here = set(split.class_names) ^ set(class_names)
        raise DataError(
            f"the test split of {name} in {shown(data_dir)} has other classes "
            f"than the run, {some(sorted(here)) or 'in another order'}; name the data of the run "
            "by --config.data.dir=DIR"
        )
    return Dataset(name, None, split)
