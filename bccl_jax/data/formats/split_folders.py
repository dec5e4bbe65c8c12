"""Which folders of a folder are the splits of a data set, by their names or by the config."""

import os
import posixpath
from collections.abc import Iterable, Mapping

from bccl_jax.data.formats.tree import Tree
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown, some

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
_TWO_KEYS = "config.data.train_folder and config.data.test_folder"


def folder_key(role: str) -> str:
    """The key that names the folder of a split."""
    return f"config.data.{role}_folder"


def below(root: str, named: Mapping[str, str]) -> dict[str, str]:
    """Checks the folders that the config names.

    Args:
      root: the folder of the data set.
      named: role -> folder as the config has it, relative to the root.

    Returns:
      The same, normalised; "" is the root itself.

    Raises:
      DataError: one is no folder, or two are the same.
    """
    found: dict[str, str] = {}
    for role, folder in named.items():
        path = posixpath.normpath(os.path.expanduser(folder))
        path = "" if path == "." else path
        key, where = folder_key(role), os.path.join(root, path)
        if not os.path.isdir(where):
            there = some(Tree(root).folders("")) or "none"
            raise DataError(
                f"{key} is {shown(folder)}, which is no folder below {shown(root)}; "
                f"name one, as a path from there, where the folders are {there}"
            )
        for other, taken in found.items():
            if os.path.samefile(where, os.path.join(root, taken)):
                raise DataError(
                    f"{key} is {shown(folder)}, the folder of {folder_key(other)} too; "
                    "name another one"
                )
        found[role] = path
    return found


def by_config(tree: Tree, named: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The folders of the splits where the config names some of them.

    What it does not name is known by its name, unless the training split is the root itself.

    Args:
      tree: the folder of the data set, `named` apart.
      named: role -> folder, from `below`.

    Returns:
      role -> folder, and notes of what else lies there.

    Raises:
      DataError: there is no training split.
    """
    folder_of = dict(named)
    if folder_of.get("train") == "":
        return folder_of, ()
    rest = [name for name in tree.folders("") if not _on_the_way(name, named.values())]
    for name in list(rest):
        role = SPLIT_NAMES.get(name.lower())
        if role is not None and role not in folder_of:
            folder_of[role] = name
            rest.remove(name)
    if "train" not in folder_of:
        beside = some([folder for folder in named.values() if folder])
        raise DataError(
            f"{shown(tree.root)} has no train{beside and f' beside {beside}'}; "
            f"name the folder of the training split by {folder_key('train')}"
        )
    tree.leave_images_out("")
    if not rest:
        return folder_of, ()
    told = f"{len(rest)} folders of {shown(tree.root)} are no split and were left out: "
    return folder_of, (told + some(rest),)


def _on_the_way(name: str, paths: Iterable[str]) -> bool:
    return any(path.split("/")[0] == name for path in paths)


def by_names(tree: Tree) -> dict[str, str]:
    """The folders of the splits by their names; none where a folder holds classes.

    Args:
      tree: the folder of the data set.

    Returns:
      role -> folder.

    Raises:
      DataError: splits lie beside something else, or beside themselves, or there is no train.
    """
    root, folders = shown(tree.root), tree.folders("")
    roles = {name: SPLIT_NAMES[name.lower()] for name in folders if name.lower() in SPLIT_NAMES}
    # A train is also something to classify, and its folder then holds images itself.
    if list(roles.values()) == ["train"] and len(folders) > 1 and tree.number_of_images(*roles):
        roles = {}
    if not roles:
        return {}
    others = [name for name in folders if name not in roles]
    if others:
        raise DataError(
            f"{root} holds {some(list(roles))} and also {some(others)}; let it hold "
            "a folder of each class, or train, test and val alone, or name the splits by "
            f"{_TWO_KEYS}"
        )
    folder_of = {role: name for name, role in roles.items()}
    if len(folder_of) < len(roles):
        raise DataError(
            f"{root} holds {some(list(roles))}, two of which are one split; keep one of "
            f"them, or name the splits by {_TWO_KEYS}"
        )
    if "train" not in folder_of:
        raise DataError(
            f"{root} holds {some(list(roles))} but no train; put the training images into "
            f"train, or name their folder by {folder_key('train')}"
        )
    tree.leave_images_out("")
    return folder_of


def test_by_name(tree: Tree, train_folder: str) -> str | None:
    """The folder of the test split by its name, of a data set that a run was trained on.

    Args:
      tree: the folder of the data set.
      train_folder: the training split's as the config names it; where that is the root itself, a
        folder called test would be a class.

    Returns:
      The folder, None if there is none.
    """
    if train_folder and posixpath.normpath(train_folder) == ".":
        return None
    found = [name for name in tree.folders("") if SPLIT_NAMES.get(name.lower()) == "test"]
    return found[0] if len(found) == 1 else None


def innermost(tree: Tree, folder: str) -> str:
    """The folder itself, or the one at the end of folders that hold a single folder each."""
    while not tree.number_of_images(folder) and len(tree.folders(folder)) == 1:
        folder = posixpath.join(folder, *tree.folders(folder))
    return folder
