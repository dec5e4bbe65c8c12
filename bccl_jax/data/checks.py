"""What labelled images must be, whatever they come from, and how a message names what is wrong."""

import errno
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from bccl_jax.errors import DataError
from bccl_jax.system.names import shown, some

# Of the names in archives of western Windows, Macintosh and DOS.
_OLDER_ENCODINGS = ("cp1252", "latin-1", "mac-roman", "cp437")
# What reading a folder reports where there can be none of that name.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def image_path(text: str, where: str) -> str:
    """Checks and normalises the path of an image under a root.

    Args:
      text: as a file has it.
      where: file and line, for the message.

    Returns:
      The path with "/", without "." and "..".

    Raises:
      DataError: the path is absolute, leaves the root, or cannot be one.
    """
    if "\0" in text:
        raise DataError(f"{where}: {shown(text)} has a zero byte; save the file as UTF-8 text")
    if text.startswith(("/", "~/", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", text):
        raise DataError(
            f"{where}: the path {shown(text)} is absolute; write it relative to the image root"
        )
    path = posixpath.normpath(text)
    if path == ".." or path.startswith("../"):
        raise DataError(
            f"{where}: the path {shown(text)} leaves the image root; write one that stays below it"
        )
    if path == ".":
        raise DataError(
            f"{where}: the path {shown(text)} names no file; write the path of an image"
        )
    return path


def files_in(folder: str) -> frozenset[str]:
    """Names of the files of a folder, those that links lead to included; none if there is none.

    Raises:
      DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if _is_file(entry))
    except OSError as error:
        if error.errno in _ABSENT:
            return frozenset()
        raise DataError(
            f"the folder {shown(folder)} cannot be read ({error.strerror}); mend its rights"
        ) from error


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # links that lead back to themselves
        return False


def check_present(
    root: str,
    paths: Sequence[str],
    lines: Sequence[int],
    origin: str,
    start: str,
    scan: Callable[[str], frozenset[str]] = files_in,
) -> None:
    """Checks that files are there, exactly so named, by reading each folder once.

    That is faster than to ask for each file, most of all over a network.

    Args:
      root: the folder that the paths start from.
      paths: normalised.
      lines: of `origin` that name them.
      origin: the file that names them.
      start: what the message calls that folder.
      scan: `files_in`; a cached one reads the folders of several lists once.

    Raises:
      DataError: files are missing; the message names the first of them and a mend that fits.
    """
    missing = []
    for position, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        if name not in scan(f"{root}/{folder}" if folder else root):
            missing.append(position)
    if missing:
        numbers = ", ".join(str(lines[position]) for position in missing[:3])
        raise DataError(
            f"{shown(origin)}, line {numbers}: {len(missing)} of {len(paths)} images are not in "
            f"{shown(root)}, {some([paths[position] for position in missing])}; "
            f"{_mend(root, paths[missing[0]], start)}"
        )


def _mend(root: str, path: str, start: str) -> str:
    """What to do about a missing file, after a look at what lies there in its place."""
    top, full = path.split("/")[0], os.path.join(root, path)
    folder, name = os.path.split(full)
    flat = os.path.join(os.path.dirname(folder), name)
    if os.path.islink(full):
        return "the first is a link that leads to no file, so link it anew"
    if os.path.isdir(full):
        return "the first is a folder, so put an image in its place"
    if os.path.lexists(full):
        return "the first is no ordinary file, so put an image in its place"
    if "\\" in path:
        return "write paths with / in place of \\"
    for start_of, part in ((root, top), (folder, name)):
        lies_as = _in_other_bytes(start_of, part)
        if lies_as:
            return (
                f"{shown(part)} lies as {shown(lies_as)}, whose bytes are not UTF-8, so rename it "
                "and its like (convmv does so for all)"
            )
    if "/" in path and not os.path.lexists(os.path.join(root, top)):
        return f"there is no {shown(top)} at all, and paths start from {start}"
    if "/" in path and os.path.isfile(flat):
        return (
            f"the first lies as {shown(flat)}, so sort the images into the folders that are named, "
            "or name them as they lie"
        )
    entries = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for entry in entries:
        if os.path.isfile(os.path.join(folder, entry, name)):
            return (
                f"the first lies as {shown(os.path.join(folder, entry, name))}, so move the images "
                "out of such folders, or name them as they lie"
            )
    for entry in entries:
        if _folded(entry) == _folded(name):
            return (
                f"the first lies as {shown(entry)}, which capitals or accents tell apart, so write "
                "that"
            )
        if os.path.splitext(entry)[0] == name:
            return f"the first lies as {shown(entry)}, so write the ending too"
    return f"complete the images, whose paths start from {start}"


def _in_other_bytes(folder: str, name: str) -> str:
    """What lies in a folder under that name in the bytes of an older system, "" if nothing does."""
    if name.isascii() or not os.path.isdir(folder):
        return ""
    there = set(os.listdir(folder))
    for encoding in _OLDER_ENCODINGS:
        found = os.fsdecode(name.encode(encoding, errors="ignore"))
        if found in there and found != name:
            return found
    return ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def check_total(found: int, expected: int, origin: str) -> None:
    """Checks a split's size against that of the public list.

    Args:
      found: images.
      expected: images of the public list.
      origin: what holds them.

    Raises:
      DataError: the two differ.
    """
    if found != expected:
        raise DataError(
            f"{shown(origin)} has {found} images and is not the public list, which has {expected}; "
            "get that one, or set config.data.check_totals=False for one of your own"
        )


def check_classes(labels: np.ndarray, class_names: Sequence[str], origin: str) -> None:
    """Checks that every class has an image to train on.

    Args:
      labels: int [N] of the training split.
      class_names: K names.
      origin: what the split comes from.

    Raises:
      DataError: classes have none; the message names the first of them.
    """
    empty = np.flatnonzero(np.bincount(labels, minlength=len(class_names)) == 0)
    if len(empty):
        raise DataError(
            f"{len(empty)} of {len(class_names)} classes of {shown(origin)} have no training "
            f"image, {some([f'{k} ({class_names[k]})' for k in empty])}; complete the training "
            "split or leave such classes out"
        )


def check_disjoint(
    first: Sequence[str], second: Sequence[str], first_name: str, second_name: str
) -> None:
    """Checks that two splits share no image.

    Args:
      first: paths of one split.
      second: paths of the other.
      first_name: what the message calls the one.
      second_name: what the message calls the other.

    Raises:
      DataError: they do; the message names the first shared one and how many there are.
    """
    known = set(first)
    shared = [path for path in second if path in known]
    if shared:
        raise DataError(
            f"{len(shared)} of {len(second)} images of {second_name} are in {first_name} too, "
            f"the first {shown(shared[0])}; take them out of one of the two"
        )
