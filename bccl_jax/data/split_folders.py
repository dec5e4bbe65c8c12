"""Which folders of a folder are the splits of a data set, by their names or by the config."""

import collections
import os
import posixpath
from collections.abc import Iterable, Mapping

from bccl_jax.data import checks
from bccl_jax.data.tree import Tree
from bccl_jax.errors import DataError

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
            there = checks.some(Tree(root).folders("")) or "none"
            raise DataError(
                f"{key} is {checks.shown(folder)}, which is no folder below {checks.shown(root)}; "
                f"name one, as a path from there, where the folders are {there}"
            )
        for other, taken in found.items():
            if os.path.samefile(where, os.path.join(root, taken)):
                raise DataError(
                    f"{key} is {checks.shown(folder)}, the folder of {folder_key(other)} too; "
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
        raise DataError(
            f"{checks.shown(tree.root)} has no train beside {checks.some(list(named.values()))}; "
            f"name the folder of the training split by {folder_key('train')}"
        )
    tree.leave_images_out("")
    if not rest:
        return folder_of, ()
    told = f"{len(rest)} folders of {checks.shown(tree.root)} are no split and were left out: "
    return folder_of, (told + checks.some(rest),)


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
    root, folders = checks.shown(tree.root), tree.folders("")
    roles = {name: SPLIT_NAMES[name.lower()] for name in folders if name.lower() in SPLIT_NAMES}
    # A train is also something to classify, and its folder then holds images itself.
    if list(roles.values()) == ["train"] and len(folders) > 1 and tree.number_of_images(*roles):
        roles = {}
    if not roles:
        return {}
    others = [name for name in folders if name not in roles]
    if others:
        raise DataError(
            f"{root} holds {checks.some(list(roles))} and also {checks.some(others)}; let it hold "
            "a folder of each class, or train, test and val alone, or name the splits by "
            f"{_TWO_KEYS}"
        )
    folder_of = {role: name for name, role in roles.items()}
    if len(folder_of) < len(roles):
        raise DataError(
            f"{root} holds {checks.some(list(roles))}, two of which are one split; keep one of "
            f"them, or name the splits by {_TWO_KEYS}"
        )
    if "train" not in folder_of:
        raise DataError(
            f"{root} holds {checks.some(list(roles))} but no train; put the training images into "
            f"train, or name their folder by {folder_key('train')}"
        )
    tree.leave_images_out("")
    return folder_of


def refuse_mistaken(tree: Tree, folder: str) -> None:
    """Refuses a folder of splits, or of versions of one data set, that would become classes.

    They are known by this: they hold hardly an image themselves, and the same folders each; or one
    is called some kind of train and holds folders.

    Args:
      tree: the folder of the data set.
      folder: the one that should hold a folder of each class.

    Raises:
      DataError: it does not; the message names the keys that mend it.
    """
    inner = {name: innermost(tree, posixpath.join(folder, name)) for name in tree.folders(folder)}
    if len(inner) < 2:
        return
    within = {name: _class_folders(tree, path) for name, path in inner.items()}
    alike = _alike(within)
    classes = [n for n in inner if n not in alike and tree.number_of_images(inner[n])]
    if len(alike) > len(classes):
        found = list(alike)
        common = alike[found[0]]
        what = f"which hold the same folders, {checks.some(common)},"
    else:
        found = [n for n in within if "train" in n.lower() and len(within[n]) > 1]
        if not found:
            return
        common = within[found[0]]
        what = f"which holds folders, {checks.some(common)}, and hardly an image,"
    where = checks.shown(tree.path(folder))
    if any(name.lower() in SPLIT_NAMES for name in common):
        raise DataError(
            f"{checks.some(found)} in {where} hold {checks.some(common)} each, so that test images "
            "would be trained on; put the folders of the classes into train and test, or name a "
            "CSV file of path,label,split by config.data.dir"
        )
    train = _like("train", inner) or inner[found[0]]
    test = _like("test", inner) or _like("val", inner)
    offered = f"{folder_key('train')}={checks.shown(train)}"
    if test:
        offered += f" and {folder_key('test')}={checks.shown(test)}"
    else:
        offered += f", for example, and one to test on, if there is one, by {folder_key('test')}"
    raise DataError(
        f"{where} holds {checks.some(found)}, {what} and they would become the classes; name the "
        f"one to train on by {offered}; if they are the classes, write "
        f"{folder_key('train')}={checks.shown(folder or '.')}"
    )


def innermost(tree: Tree, folder: str) -> str:
    """The folder itself, or the one at the end of folders that hold a single folder each."""
    while not tree.number_of_images(folder) and len(tree.folders(folder)) == 1:
        folder = posixpath.join(folder, *tree.folders(folder))
    return folder


def _class_folders(tree: Tree, folder: str) -> list[str]:
    """Folders of a folder that has fewer images itself, else none."""
    folders = tree.folders(folder)
    return folders if tree.number_of_images(folder) < len(folders) else []


def _alike(within: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Which of some folders hold the same folders as another one: name -> those they share.

    The same are two at least, and half of those of either folder, for a test split may lack rare
    classes.
    """
    holders = collections.Counter(
        inner for folders in within.values() for inner in {name.casefold() for name in folders}
    )
    repeated = {
        name: {inner: inner.casefold() for inner in folders if holders[inner.casefold()] > 1}
        for name, folders in within.items()
    }
    found = {}
    for name, mine in repeated.items():
        for other, theirs in repeated.items():
            if len(mine) < 2 or name == other or len(theirs) < 2:
                continue
            shared = [inner for inner, folded in mine.items() if folded in theirs.values()]
            if len(shared) > 1 and 2 * len(shared) >= min(len(within[name]), len(within[other])):
                found[name] = shared
                break
    return found


def _like(word: str, inner: Mapping[str, str]) -> str:
    """Where the first folder of such a name leads, "" if there is none."""
    return next((path for name, path in inner.items() if word in name.lower()), "")
