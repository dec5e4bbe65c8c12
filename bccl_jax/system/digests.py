"""Digests of the files of a folder, written with them, by which damage to them is noticed.

The list is one of sha256sum's: `sha256sum --check SHA256SUMS`, given in the folder, finds the same.
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import open_regular, read_regular

LIST = "SHA256SUMS"
# Hashing leaves Python's lock alone; one disk gives no more than these take.
_THREADS = min(8, os.cpu_count() or 1)
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write(folder: pathlib.Path, but: Iterable[str] = ()) -> None:
    """Writes the list of a folder: the SHA-256 of each file in it and below.

    Args:
      folder: complete, but for what is named next.
      but: files that are left out, by their paths in the folder.

    Raises:
      OSError: a file cannot be read, or the list not be written.
    """
    left_out = {LIST, *but}
    names = [name for name in files(folder) if name not in left_out]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda name: _digest(folder / name), names)
        text = "".join(f"{digest}  {name}\n" for digest, name in zip(found, names, strict=True))
    (folder / LIST).write_text(text)


def files(folder: pathlib.Path) -> list[str]:
    """The paths of all files in a folder and below, from there."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def listed(folder: pathlib.Path) -> dict[str, str] | None:
    """The digests of a folder's files, by their paths in it; None where it has no list.

    Raises:
      ValueError: the list is damaged.
    """
    found = all_listed(folder)
    return None if found is None else {name: each[-1] for name, each in found.items()}


def all_listed(folder: pathlib.Path) -> dict[str, tuple[str, ...]] | None:
    """The same, with all digests of a file that has several lines.

    Raises:
      ValueError: the list is damaged.
    """
    try:
        text = read_regular(folder / LIST).decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{LIST} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{LIST} is no list of digests") from error
    lines = [_LINE.fullmatch(line) for line in text.split("\n")[:-1]]
    if not lines or not all(lines) or not text.endswith("\n"):
        raise ValueError(f"{LIST} is no list of digests")
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        found[line[2]] = (*found.get(line[2], ()), line[1])
    for name in found:
        # A list from elsewhere may name whatever lies on this machine.
        parts = name.split("/")
        if "\0" in name or not set(parts).isdisjoint(("", ".", "..")):
            raise ValueError(f"{LIST} names {shown(name)}, which is no file of the folder")
    return found


def damage(
    folder: pathlib.Path,
    digests: dict[str, str],
    mine: Callable[[int], bool] = lambda position: True,
) -> list[str]:
    """What is wrong with the files of a folder, a clause for each that is damaged.

    Args:
      folder: as its list is of.
      digests: of it, or of some of its files.
      mine: whether to look at the file of a position, the largest first; several processes share
        them by it.
    """
    sizes = {name: _size(folder / name) for name in digests}
    largest = sorted(digests, key=lambda name: (-sizes[name], name))
    names = [name for position, name in enumerate(largest) if mine(position)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda name: _wrong(folder / name, digests[name]), names)
        return [f"{name} {wrong}" for name, wrong in zip(names, found, strict=True) if wrong]


def _wrong(path: pathlib.Path, digest: str) -> str:
    try:
        return "" if _digest(path) == digest else "is not what was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _digest(path: pathlib.Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
