"""Labelled photographs that no run was trained with: another folder or list to evaluate a run on.

Classes are those of the run and are found by their names.
"""

import os
import posixpath
from collections.abc import Collection, Sequence

import numpy as np

from bccl_jax.data import checks
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.formats import split_folders, table
from bccl_jax.data.formats.table import BY_NAME, Columns, class_order
from bccl_jax.data.formats.tree import SUFFIXES, Tree
from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import DataError
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import shown, some


def load(
    path: str, class_names: Sequence[str], known_only: bool = False, columns: Columns = BY_NAME
) -> Dataset:
    """Reads a folder or a list; no image is opened.

    Args:
      path: of a folder that holds a folder of each class, or a folder called test that does; or of
        a CSV file as `table.load` reads it, of which the lines of the test split count, or all
        where it has no splits.
      class_names: of the run, K names in their order; each may be without images.
      known_only: whether images of classes that the run does not know are left out, which notes
        then tell; else there must be none.
      columns: of a CSV file, if they have other names.

    Returns:
      The data set without a training split.

    Raises:
      DataError: there is no such folder or file, it is broken or of another layout, an image is
        missing, a class is unknown, or no image is left.
    """
    root, named = os.fspath(expanded(path)), f"--test={shown(path)}"
    if os.path.isfile(root):
        if not root.lower().endswith(".csv"):
            raise DataError(
                f"{named} does not end in .csv; name a CSV file with the header path,label, or a "
                "folder that holds a folder of each class"
            )
        split, notes = _listed(root, named, class_names, known_only, columns)
    elif os.path.isdir(root):
        split, notes = _in_folder(root, named, class_names, known_only)
    else:
        what = "neither a folder nor a CSV file" if os.path.lexists(root) else "not there"
        raise DataError(
            f"{named} is {what}; name the folder that holds a folder of each class, or a CSV file"
        )
    if not len(split):
        raise DataError(f"{named} has no image of a class of the run; name other images")
    return Dataset(shown(path), None, split, notes=notes)


def _in_folder(
    root: str, named: str, class_names: Sequence[str], known_only: bool
) -> tuple[Split, tuple[str, ...]]:
    tree, known = Tree(root), set(class_names)
    folder = ""
    if not known.intersection(tree.folders("")):
        # A whole data set, of which the test split is meant.
        folder = split_folders.test_by_name(tree, "") or ""
    names, stray = tree.folders(folder), tree.leave_images_out(folder)
    if not names:
        found = f"holds {stray} images but" if stray else "holds"
        raise DataError(
            f"{named} {found} no folder of a class; put the images of each class into a folder of "
            "its name (python -m bccl_jax.predict takes images whose classes are not known)"
        )
    inner = split_folders.innermost(tree, folder)
    deeper = ""
    if inner != folder and known.intersection(tree.folders(inner)):
        deeper = f"--test={shown(tree.path(inner))}"
    images = {name: tree.images_below(posixpath.join(folder, name)) for name in names}
    unknown = {name: len(paths) for name, paths in images.items() if name not in known}
    notes = _left_out(named, unknown, known_only, deeper)
    if empty := [name for name in names if name in known and not images[name]]:
        raise DataError(
            f"{shown(tree.path(posixpath.join(folder, empty[0])))} has no image, which must end in "
            f"{', '.join(SUFFIXES)}; put some in or take the folder away"
        )
    paths = [path for name in class_names for path in images.get(name, [])]
    counts = [len(images.get(name, [])) for name in class_names]
    labels = np.repeat(np.arange(len(class_names), dtype=np.int32), counts)
    return Split(FileImages(root, paths), labels, tuple(class_names)), tree.notes() + notes


def _listed(
    root: str, named: str, class_names: Sequence[str], known_only: bool, columns: Columns
) -> tuple[Split, tuple[str, ...]]:
    rows = table.read(root, columns)
    if set(rows.roles) != {"train"}:
        rows = rows.of("test")
    known, unknown = set(class_names), {}
    for label in rows.labels:
        if label not in known:
            unknown[label] = unknown.get(label, 0) + 1
    notes = rows.notes + _left_out(named, unknown, known_only)
    rows = rows.take(n for n, label in enumerate(rows.labels) if label in known)
    folder = os.path.dirname(root) or "."
    checks.check_present(folder, rows.paths, rows.lines, root, "the folder of the CSV file")
    return rows.split(folder, tuple(class_names)), notes


def _left_out(
    named: str, unknown: dict[str, int], known_only: bool, deeper: str = ""
) -> tuple[str, ...]:
    """A note on images of classes that the run does not know, if there are any.

    Raises:
      DataError: there must be none.
    """
    if not unknown:
        return ()
    told = some(class_order(unknown))
    if not known_only:
        mend = (
            f"name {deeper}" if deeper else "correct the names, or leave these out by --known_only"
        )
        raise DataError(
            f"{named} has {_classes(unknown)} that the run does not know, {told}; {mend}"
        )
    images = sum(unknown.values())
    which = f"{_classes(unknown)} that the run does not know, {told}"
    return (f"left out: {images:,} image{'s' * (images > 1)} of {which}",)


def _classes(names: Collection[str]) -> str:
    return "a class" if len(names) == 1 else f"{len(names):,} classes"
