"""Small files, each there in whole or not at all, and damage to them noticed when they are read.

The list of their digests lies beside them (`digests.LIST`, as sha256sum has it). While a file is
being replaced the list has a digest of what was there and one of what comes, so that whoever is
killed between the two leaves nothing that seems damaged. A file that is not listed, of a time
before there was a list, is read as it is.
"""

import hashlib
import pathlib
import time

from bccl_jax.system import digests
from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import at_once, read_regular

# A reader that meets a writer looks once more, so often, after so many seconds.
_LOOKS = 4
_WAIT = 0.05


class DamagedFileError(ValueError):
    """A file that is not what was written; the message names it, and the list."""


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes a file in a directory in which nobody else writes such ones.

    Raises:
      OSError: it cannot be written.
      DamagedFileError: the list is damaged.
    """
    found = _listed(path.parent)
    before, digest = found.get(path.name, ()), hashlib.sha256(content).hexdigest()
    if digest not in before:
        found[path.name] = (*before, digest)
        _write_list(path.parent, found)
    _replace(path, content)
    if found[path.name] != (digest,):
        found[path.name] = (digest,)
        _write_list(path.parent, found)


def read(path: pathlib.Path) -> bytes:
    """Reads a file.

    Raises:
      OSError: it cannot be read.
      DamagedFileError: it is not what was written, or the list is damaged.
    """
    for look in range(_LOOKS):
        if look:
            time.sleep(_WAIT)
        known = _listed(path.parent).get(path.name)
        content = read_regular(path)
        if known is None or hashlib.sha256(content).hexdigest() in known:
            return content
    raise DamagedFileError(
        f"{shown(path)} is not what was written, as {digests.LIST} beside it says; restore it from "
        f"a copy, or delete its line in {digests.LIST} if the change is your own"
    )


def _listed(folder: pathlib.Path) -> dict[str, tuple[str, ...]]:
    try:
        return digests.all_listed(folder) or {}
    except ValueError as error:
        raise DamagedFileError(
            f"{shown(folder / digests.LIST)} is damaged ({error}); restore it from a copy, or "
            "delete it, and the files that it is of are read as they are"
        ) from error


def _write_list(folder: pathlib.Path, found: dict[str, tuple[str, ...]]) -> None:
    text = "".join(f"{digest}  {name}\n" for name in sorted(found) for digest in found[name])
    _replace(folder / digests.LIST, text.encode())


def _replace(path: pathlib.Path, content: bytes) -> None:
    unfinished = path.with_suffix(".tmp")
    with open(unfinished, "wb", opener=at_once) as file:
        file.write(content)
    unfinished.replace(path)
