"""Photographs of one's own: a folder for each class, or a CSV file of paths and labels."""

import os
import posixpath

import numpy as np

from bccl_jax.data.encoded import FileImages
from bccl_jax.data.formats import mistaken, split_folders, table
from bccl_jax.data.formats.table import Columns, class_order
from bccl_jax.data.formats.tree import SUFFIXES, Tree
from bccl_jax.data.long_tail import draw_test_split
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import ConfigError, DataError
from bccl_jax.system.names import shown, some


def load(
    data_dir: str,
    test_fraction: float = 0.2,
    seed: int = 0,
    *,
    train_folder: str = "",
    test_folder: str = "",
    validation_folder: str = "",
    columns: Columns = table.BY_NAME,
) -> Splits:
    """Reads a data set of one's own; no image is opened.

    Three layouts are known. Images lie anywhere below the folder of their class:

    - `data_dir/CLASS/*.jpg`;
    - `data_dir/train/CLASS/*.jpg`, and the same below `test` and `val`, of which each may lack;
    - `data_dir` is a CSV file with the header `path,label` or `path,label,split`: paths from its
      folder, labels that are names or integers, and train, test or validation.

    Classes are in the order of their names, of their numbers if all are integers. Where there is no
    test split, one is drawn from the training split (`long_tail.draw_test_split`), the same for the
    same files in any order.

    Args:
      data_dir: a folder or a CSV file.
      test_fraction: share of each class that is drawn.
      seed: of the draw.
      train_folder: the training split's, as a path from `data_dir`; "" to know it by its name.
      test_folder: the test split's, the same.
      validation_folder: the validation split's, the same.
      columns: of a CSV file, if they have other names.

    Returns:
      The splits; their notes tell which files were left out, and of the draw.

    Raises:
      ConfigError: a test split is to be drawn and the fraction is not between 0 and 1, or folders
        are named of a CSV file or columns of a folder.
      DataError: the folder or the file is not of these layouts, or cannot be read.
    """
    root = os.path.expanduser(data_dir)
    folders = {"train": train_folder, "test": test_folder, "validation": validation_folder}
    named = {role: folder for role, folder in folders.items() if folder}
    if os.path.isfile(root):
        if named:
            raise ConfigError(
                f"{split_folders.folder_key(min(named))} names a folder, but config.data.dir is "
                f"the file {shown(root)}; leave it empty, or name a folder by "
                "--config.data.dir=DIR"
            )
        parts, notes = table.load(root, columns)
    elif os.path.isdir(root):
        if columns != table.BY_NAME:
            raise ConfigError(
                f"{columns.keys()[0]} names a column, but config.data.dir is the folder "
                f"{shown(root)}; name the CSV file by --config.data.dir=FILE.csv"
            )
        parts, notes = _from_folder(root, named)
    else:
        raise _missing(root)
    if "test" not in parts:
        if not 0 < test_fraction < 1:
            raise ConfigError(
                f"config.data.test_fraction is {test_fraction} but {shown(root)} has no "
                "test split; write a fraction above 0 and below 1, or add a test split"
            )
        everything = parts["train"]
        remaining, drawn = draw_test_split(everything.labels, test_fraction, seed)
        if not len(drawn):
            raise DataError(
                f"{shown(root)} has no class of two images, so that one could be tested "
                "on; add images or a test split"
            )
        parts |= {"train": everything.take(remaining), "test": everything.take(drawn)}
        notes += (
            f"{len(drawn)} of {len(everything)} images, a share of {test_fraction:g} of each "
            "class, were drawn as the test split",
        )
    return Splits(parts["train"], parts["test"], parts.get("validation"), notes)


def load_test(
    data_dir: str,
    class_names: tuple[str, ...],
    *,
    train_folder: str = "",
    test_folder: str = "",
    columns: Columns = table.BY_NAME,
) -> Split | None:
    """Reads the test split alone, of a run that knows the names of its classes; see `load`.

    Args:
      data_dir: a folder or a CSV file.
      class_names: of the run, in their order.
      train_folder: see `load`.
      test_folder: see `load`.
      columns: see `load`.

    Returns:
      The split; None where no folder or line is of the test split, which then is drawn from the
      training split.

    Raises:
      DataError: the folder or the file cannot be read, or has a class that the run has not.
    """
    root = os.path.expanduser(data_dir)
    if os.path.isfile(root):
        return table.load_test(root, class_names, columns)
    if not os.path.isdir(root):
        raise _missing(root)
    named = split_folders.below(root, {"test": test_folder} if test_folder else {})
    tree = Tree(root, apart=named.values())
    folder = named.get("test") or split_folders.test_by_name(tree, train_folder)
    if folder is None:
        return None
    classes = _classes(tree, folder)
    if unknown := [name for name in class_order(classes) if name not in class_names]:
        raise DataError(
            f"{shown(tree.path(folder))} has classes that the run was not trained on, "
            f"{some(unknown)}; take them out or name the data of the run by "
            "--config.data.dir=DIR"
        )
    return _split_of(tree, classes, class_names)


def _missing(root: str) -> DataError:
    what = "neither a folder nor a CSV file" if os.path.lexists(root) else "not there"
    return DataError(
        f"config.data.dir is {shown(root)}, which is {what}; name the folder that holds a folder "
        "of each class, or a CSV file, by --config.data.dir=DIR"
    )


def _from_folder(root: str, named: dict[str, str]) -> tuple[dict[str, Split], tuple[str, ...]]:
    named = split_folders.below(root, named)
    tree = Tree(root, apart=named.values())
    if named:
        folder_of, notes = split_folders.by_config(tree, named)
    else:
        folder_of, notes = split_folders.by_names(tree) or {"train": ""}, ()
    if "train" in named:
        mistaken.refuse_splits(tree, folder_of["train"])
    else:
        mistaken.refuse(tree, folder_of["train"])
    parts = {"train": _training_classes(tree, folder_of["train"])}
    for role in ("test", "validation"):
        if role in folder_of:
            parts[role] = _tested_classes(tree, folder_of, role, parts["train"])
    names = class_order(parts["train"])
    splits = {role: _split_of(tree, classes, names) for role, classes in parts.items()}
    return splits, tree.notes() + notes


def _split_of(tree: Tree, classes: dict[str, list[str]], names: tuple[str, ...]) -> Split:
    paths = [path for name in names for path in classes.get(name, [])]
    counts = [len(classes.get(name, [])) for name in names]
    labels = np.repeat(np.arange(len(names), dtype=np.int32), counts)
    return Split(FileImages(tree.root, paths), labels, names)


def _training_classes(tree: Tree, folder: str) -> dict[str, list[str]]:
    classes = _classes(tree, folder)
    if len(classes) == 1:
        inner = split_folders.innermost(tree, folder)
        deeper = inner if folder else tree.path(inner)
        perhaps = f", perhaps {shown(deeper)}" if tree.folders(inner) else ""
        key = split_folders.folder_key("train") if folder else "--config.data.dir=DIR"
        table_there = tree.table(folder, "")
        listed = f", or the CSV file of the images, perhaps {shown(table_there)}"
        raise DataError(
            f"{shown(tree.path(folder))} has one class alone, "
            f"{shown(*classes)}; name the folder that holds a folder of each class by "
            f"{key}{perhaps}" + (f"{listed}, by --config.data.dir=FILE.csv" if table_there else "")
        )
    return classes


def _tested_classes(
    tree: Tree, folder_of: dict[str, str], role: str, trained: dict[str, list[str]]
) -> dict[str, list[str]]:
    folder = folder_of[role]
    classes = _classes(tree, folder)
    unknown = [name for name in class_order(classes) if name not in trained]
    if unknown:
        inner = split_folders.innermost(tree, folder)
        deeper = "" if inner == folder else f", or write {shown(inner)} as "
        deeper = deeper and deeper + split_folders.folder_key(role)
        raise DataError(
            f"{shown(tree.path(folder))} has classes that "
            f"{folder_of['train'] or 'the training split'} lacks, {some(unknown)}; name "
            f"them as there, or take them out{deeper}"
        )
    return classes


def _classes(tree: Tree, folder: str) -> dict[str, list[str]]:
    """Class name -> paths of its images, of a folder that holds a folder of each class."""
    names, path = tree.folders(folder), shown(tree.path(folder))
    stray = tree.leave_images_out(folder)
    if not names:
        found = f"holds {stray} images but" if stray else "holds"
        raise DataError(
            f"{path} {found} no folder of a class; put the images of each class into a folder "
            "of its name, or name a CSV file of them by --config.data.dir=FILE.csv"
            f"{mistaken.perhaps(tree, folder)}"
        )
    classes = {}
    for name in names:
        classes[name] = tree.images_below(posixpath.join(folder, name))
        if not classes[name]:
            raise DataError(
                f"{shown(tree.path(posixpath.join(folder, name)))} has no image of class "
                f"{shown(name)}, which must end in {', '.join(SUFFIXES)}; put some in or "
                "take the folder away"
            )
    return classes
