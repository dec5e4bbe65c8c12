"""Folders that would become classes and are none: splits, or versions of one data set."""

import collections
import posixpath
import re
from collections.abc import Iterable, Mapping

from bccl_jax.data.formats.split_folders import SPLIT_NAMES, folder_key, innermost
from bccl_jax.data.formats.tree import SUFFIXES, Tree
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown, some

_AFTER = r"(s|sets?|data|images?|imgs?|jpe?gs?|pngs?|pics|photos|split)?"
_TRAIN = re.compile(r"(train|training|trainval|trn)" + _AFTER)
_HELD_OUT = re.compile(
    r"(test|testing|tst|val|valid|validation|eval|evaluation|dev|holdout|heldout|unlabell?ed|"
    r"unseen|pred|predictions?)" + _AFTER
)
# What classes may hold as well as splits, each of them.
_ANY_IMAGES = {"images", "image", "imgs", "img", "photos", "pictures", "jpg", "jpeg", "png"}


def refuse_splits(tree: Tree, folder: str) -> None:
    """Refuses a folder that holds train and other splits, and nothing else.

    Args:
      tree: the folder of the data set.
      folder: the one that the config names as the training split.

    Raises:
      DataError: it does; the message names the keys that mend it.
    """
    roles = _roles(tree, folder)
    splits = "train" in roles.values() and len(set(roles.values())) > 1
    if splits and len(roles) == len(tree.folders(folder)):
        _refuse_splits_in(tree, folder)


def refuse(tree: Tree, folder: str) -> None:
    """Refuses splits, or versions of one data set, that would become classes.

    They are known by one of these: hardly an image lies in them, and the same folders do; one
    holds folders that are called train and test; one is called some kind of train and holds
    folders, or another is called some kind of test; no image is in any but one.

    Args:
      tree: the folder of the data set.
      folder: the one that should hold a folder of each class.

    Raises:
      DataError: it does not; the message names the keys that mend it.
    """
    path_of = {name: posixpath.join(folder, name) for name in tree.folders(folder)}
    seen = [name for name, path in path_of.items() if tree.has_images(path)]
    if len(path_of) < 2 or not seen:
        return
    inner = {name: innermost(tree, path_of[name]) for name in seen}
    within = {name: _class_folders(tree, path) for name, path in inner.items()}
    alike = _alike(within)
    if not alike and (alike := _contained(path_of, inner, within)):
        inner |= {n: posixpath.dirname(inner[n]) for n in alike if not within[n]}
    classes = [n for n in inner if n not in alike and tree.number_of_images(inner[n])]
    if len(alike) > len(classes):
        found = list(alike)
        common = alike[found[0]]
        if any(name.lower() in SPLIT_NAMES for name in common):
            _refuse_tests_within(f"{some(found)} in {_where(tree, folder)} hold", common)
        what = f"which hold the same folders, {some(common)},"
        _refuse_folders(tree, folder, inner, found, what)
    for name in seen:
        for below in tree.folders_below(path_of[name]):
            roles = _roles(tree, below)
            if "train" in roles.values() and len(set(roles.values())) > 1:
                _refuse_splits_in(tree, below)
    if len(seen) == 1:
        _refuse_one(tree, folder, inner[seen[0]], [name for name in path_of if name not in seen])
    found = [n for n in within if "train" in n.lower() and len(within[n]) > 1]
    if found:
        what = f"which holds folders, {some(within[found[0]])}, and hardly an image,"
        _refuse_folders(tree, folder, inner, found, what)
    if found := called_splits(seen):
        raise DataError(
            f"{_where(tree, folder)} holds {some(found)}, which are called as splits are "
            "and would become classes; put the images of each class into a folder of its name in "
            "train and in test, or name a CSV file of path,label,split by "
            f"--config.data.dir=FILE.csv{perhaps(tree, folder)}; {_all_the_same(folder)}"
        )


def perhaps(tree: Tree, folder: str) -> str:
    """Ends a sentence with the CSV file that may be meant, in a folder or the root; or ""."""
    table = tree.table(folder, "")
    return f", perhaps {shown(table)}" if table else ""


def called_splits(names: Iterable[str]) -> list[str]:
    """Those of some names that are called as a training split, or as one held out from it.

    A train is also something to classify, and so may be a test: there are splits where there are
    both, called alike otherwise (`cat_train` and `cat_test`), or where there is nothing else.
    """
    train: dict[str, str] = {}
    held_out: dict[str, str] = {}
    names = list(names)
    for name in names:
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
        words = re.sub(r"\b(held|hold) out\b", "holdout", " ".join(words).lower()).split()
        for pattern, found in ((_TRAIN, train), (_HELD_OUT, held_out)):
            rest = [word for word in words if not pattern.fullmatch(word)]
            if len(rest) < len(words):
                found[name] = " ".join(rest)
                break
    if train and held_out and len(train) + len(held_out) == len(names):
        return names
    both = set(train.values()) & set(held_out.values())
    return [name for name in names if (train | held_out).get(name) in both]


def _where(tree: Tree, folder: str) -> str:
    return shown(tree.path(folder))


def _all_the_same(folder: str) -> str:
    return f"if they are the classes, write {folder_key('train')}={shown(folder or '.')}"


def _roles(tree: Tree, folder: str) -> dict[str, str]:
    """Name -> role, of the folders in a folder that are called exactly as splits."""
    names = [name for name in tree.folders(folder) if name.lower() in SPLIT_NAMES]
    return {name: SPLIT_NAMES[name.lower()] for name in names}


def _refuse_tests_within(which: str, splits: list[str]) -> None:
    raise DataError(
        f"{which} {some(splits)} each, so that test images would be trained on; put the "
        "folders of the classes into train and test, or name a CSV file of path,label,split by "
        "--config.data.dir=FILE.csv"
    )


def _refuse_splits_in(tree: Tree, folder: str) -> None:
    """Refuses a folder of splits, train among them, as one of the classes or in their place."""
    roles = _roles(tree, folder)
    path_of = {role: posixpath.join(folder, name) for name, role in roles.items()}
    told = (
        f"{_where(tree, folder)} holds the splits {some(list(roles))}, so that test images "
        "would be trained on"
    )
    if not _class_folders(tree, path_of["train"]):
        raise DataError(
            f"{told}; put the folders of the classes into train and test, or name a CSV file of "
            f"path,label,split by --config.data.dir=FILE.csv{perhaps(tree, folder)}"
        )
    offered = [
        f"{folder_key(role)}={shown(path_of[role])}"
        for role in ("train", "test", "validation")
        if role in path_of and tree.has_images(path_of[role])
    ]
    raise DataError(f"{told}; name them by {' and '.join(offered)}")


def _refuse_one(tree: Tree, folder: str, only: str, without: list[str]) -> None:
    """Refuses a folder where images are in one folder alone."""
    told = (
        f"{_where(tree, folder)} has no image in {some(without)} (they end in "
        f"{', '.join(SUFFIXES)})"
    )
    if len(_class_folders(tree, only)) > 1:
        raise DataError(
            f"{told}, which would become classes; name the folder that holds a folder of each "
            f"class by {folder_key('train')}={shown(only)}"
        )
    raise DataError(
        f"{told} and so has one class alone, {shown(only)}; put the images of each class "
        "into a folder of its name, or name a CSV file of path,label by --config.data.dir=FILE.csv"
        f"{perhaps(tree, folder)}"
    )


def _refuse_folders(
    tree: Tree, folder: str, inner: Mapping[str, str], found: list[str], what: str
) -> None:
    """Refuses folders of class folders."""
    train = _like("train", inner) or inner[found[0]]
    test = _like("test", inner) or _like("val", inner)
    offered = f"{folder_key('train')}={shown(train)}"
    if test:
        offered += f" and {folder_key('test')}={shown(test)}"
    else:
        offered += f", for example, and one to test on, if there is one, by {folder_key('test')}"
    raise DataError(
        f"{_where(tree, folder)} holds {some(found)}, {what} and they would become the "
        f"classes; name the one to train on by {offered}; {_all_the_same(folder)}"
    )


def _class_folders(tree: Tree, folder: str) -> list[str]:
    """Folders with images of a folder that has fewer images itself, else none."""
    names = tree.folders(folder)
    folders = [name for name in names if tree.has_images(posixpath.join(folder, name))]
    return folders if tree.number_of_images(folder) < len(folders) else []


def _contained(
    path_of: Mapping[str, str], inner: Mapping[str, str], within: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Of two or three folders those that hold one class, if the largest has it among others."""
    if not 2 <= len(within) <= 3:
        return {}
    largest = max(within, key=lambda name: len(within[name]))
    there = {name.casefold(): name for name in within[largest]}
    found = {}
    for name, path in inner.items():
        alone = posixpath.basename(path).casefold()
        if path != path_of[name] and len(there) > 1 and alone in there.keys() - _ANY_IMAGES:
            found[name] = [there[alone]]
    return {largest: next(iter(found.values()))} | found if found else {}


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
