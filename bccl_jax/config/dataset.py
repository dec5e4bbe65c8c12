"""The data set that a config names."""

import re

import ml_collections

from bccl_jax.config.validation import validate
from bccl_jax.data.formats import another
from bccl_jax.data.formats.table import Columns
from bccl_jax.data.sources import load_dataset
from bccl_jax.data.split import Dataset
from bccl_jax.data.tested import load_test_split
from bccl_jax.devices.mesh import speaks
from bccl_jax.system.progress import under_way


def load_data(config: ml_collections.ConfigDict) -> Dataset:
    """Reads the data set that a config names.

    Raises:
      ConfigError: a value cannot work, or does not fit the data.
      DataError: the data set is missing or broken.
    """
    validate(config)
    data = config.data
    with under_way("reading the data set", shown=speaks()):
        return load_dataset(
            data.name,
            source=data.source,
            data_dir=data.dir,
            lists=data.lists,
            check_totals=data.check_totals,
            classes=data.classes,
            pixels=data.pixels,
            imbalance=data.imbalance,
            subset_seed=data.subset_seed,
            validation_fraction=data.validation_fraction,
            test_fraction=data.test_fraction,
            train_folder=data.train_folder,
            test_folder=data.test_folder,
            validation_folder=data.validation_folder,
            path_column=data.path_column,
            label_column=data.label_column,
            split_column=data.split_column,
        )


def told_by_flag(error: Exception, flag: str) -> str:
    """What an error of the data set says, by a command's own flag of its folder.

    Args:
      error: of `load_data` and its like, which name `config.data.dir`.
      flag: that the command has in its place, such as "--data_dir".
    """
    return re.sub(r"(--)?\bconfig\.data\.dir\b", flag, str(error))


def load_tested(config: ml_collections.ConfigDict, class_names: tuple[str, ...]) -> Dataset | None:
    """Reads the test split that a config names, without the training split.

    Args:
      config: of a run that is evaluated.
      class_names: of the run, K names.

    Returns:
      The data set with its test split alone; None where that is not to be had without the training
      split, of which it is a part, for example.

    Raises:
      ConfigError: a value cannot work.
      DataError: the test split is missing or broken, or has other classes.
    """
    validate(config)
    data = config.data
    with under_way("reading the test split", shown=speaks()):
        return load_test_split(
            data.name,
            class_names,
            source=data.source,
            data_dir=data.dir,
            lists=data.lists,
            check_totals=data.check_totals,
            classes=data.classes,
            pixels=data.pixels,
            set_aside=bool(data.validation_fraction),
            train_folder=data.train_folder,
            test_folder=data.test_folder,
            path_column=data.path_column,
            label_column=data.label_column,
            split_column=data.split_column,
        )


def load_another(
    config: ml_collections.ConfigDict,
    class_names: tuple[str, ...],
    path: str,
    known_only: bool = False,
) -> Dataset:
    """Reads a folder or a list of labelled pictures in the place of a run's test split.

    Args:
      config: of the run; of `config.data` the names of columns are read.
      class_names: of the run, K names.
      path: see `another.load`.
      known_only: see there.

    Returns:
      The data set with its test split alone.

    Raises:
      DataError: see there.
    """
    data = config.data
    columns = Columns(data.path_column, data.label_column, data.split_column)
    with under_way("reading the pictures", shown=speaks()):
        return another.load(path, class_names, known_only, columns)
