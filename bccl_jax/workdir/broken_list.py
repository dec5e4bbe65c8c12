"""Lists of pictures that a run could not decode, kept so that mended ones are known for such."""

import os
import pathlib
from collections.abc import Iterable

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import from_printable, printable, shown
from bccl_jax.system.regular_files import read_regular


def add(path: pathlib.Path, images: EncodedImages, indices: Iterable[int]) -> int:
    """Adds pictures to a list, a line for each that it does not name yet; returns how many.

    Raises:
      WorkdirError: the list cannot be written, or is a link. Names of pictures may be a stranger's,
        and so may be the directory: a link would have any file of the user's end with such names.
    """
    known = set(listed(path, images))
    new = [printable(images.name(index)) for index in indices if index not in known]
    if not new:
        return 0
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with open(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in new)
    except OSError as error:
        why = "it is a link" if path.is_symlink() else error.strerror
        raise WorkdirError(
            f"{shown(path)}, the list of pictures that cannot be decoded, cannot be written "
            f"({why}); mend that and give the same command again"
        ) from error
    return len(new)


def listed(path: pathlib.Path, images: EncodedImages) -> list[int]:
    """The indices of the pictures that a list names, wherever they lay when it was written.

    Half a last line, of a run that was killed as it wrote, names none.

    Raises:
      WorkdirError: there is a list that cannot be read.
    """
    if not path.exists():
        return []
    try:
        lines = read_regular(path).decode(errors="replace").split("\n")
    except OSError as error:
        raise WorkdirError(
            f"{shown(path)} cannot be read ({error.strerror}); mend that, or remove it"
        ) from error
    names = [printable(images.name(index)) for index in range(len(images))]
    exact = {name: index for index, name in enumerate(names)}
    found = {exact[line] for line in lines if line in exact}
    moved = [line for line in lines if line and line not in exact]
    if moved:
        relative = {name: index for index, name in enumerate(_relative(images))}
        ends = ([end for end in _ends(line) if end in relative] for line in moved)
        found |= {relative[longest[0]] for longest in ends if longest}
    return sorted(found)


def _relative(images: EncodedImages) -> list[str]:
    """Names below the folder that all share, for the data may have moved."""
    names = [images.name(index) for index in range(len(images))]
    try:
        shared = os.path.commonpath({os.path.dirname(name) for name in names})
    except ValueError:  # absolute and relative ones
        shared = ""
    return [os.path.relpath(name, shared) if shared else name for name in names]


def _ends(line: str) -> Iterable[str]:
    """What may be the relative name in a path of an older place, the longest first."""
    parts = from_printable(line).split("/")
    return ("/".join(parts[first:]) for first in range(len(parts)))
