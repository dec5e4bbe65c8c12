"""A file over HTTP: what a lost connection left is gone on from, and only the whole gets its name.

urllib alone, for what libraries would add is not this: pooch and torchvision begin anew after a
lost connection.
"""

import contextlib
import http.client
import os
import pathlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from bccl_jax.data.downloading.archives import Archive, digest
from bccl_jax.errors import DataError
from bccl_jax.system.locks import lock
from bccl_jax.system.names import shown
from bccl_jax.system.progress import Task, under_way

# Seconds without a byte.
PATIENCE = 60.0
_BLOCK = 1 << 16
_MEGABYTE = 10**6


class _Unanswered(Exception):
    """An address does not give the archive; the text says why."""


def part_of(target: pathlib.Path) -> pathlib.Path:
    """Where what has come so far of a file lies."""
    return target.with_name(f"{target.name}.part")


def download(archive: Archive, target: pathlib.Path, addresses: Sequence[str]) -> None:
    """Downloads an archive, and goes on where an earlier call was interrupted.

    Args:
      archive: which.
      target: its path, where nothing is yet; its folder is there. Until it is whole it has the name
        of `part_of`.
      addresses: one after the other is asked, until one gives it.

    Raises:
      DataError: no address gives it, what they give is something else, or it cannot be written.
    """
    part = part_of(target)
    with _opened(part) as file:
        if not lock(file.fileno(), part):
            raise DataError(
                f"another process downloads {archive.name} into {shown(part)}; wait until it ends"
            )
        if os.path.lexists(target):
            # Another process has ended since it was looked for.
            part.unlink(missing_ok=True)
            return
        begun = _length(file) > 0
        _fill(file, archive, part, addresses)
        whole = _is_whole(file, archive)
        if begun and not whole:
            # The beginning may be of something else.
            file.truncate(0)
            _fill(file, archive, part, addresses)
            whole = _is_whole(file, archive)
        if not whole:
            part.unlink()
            raise DataError(
                f"what was downloaded as {archive.file} is not the published file (its SHA-256 is "
                f"another one) and was deleted; try another address by --url=URL"
            )
        part.rename(target)


def check(path: pathlib.Path, archive: Archive) -> None:
    """Checks that a file is the archive that was published.

    Raises:
      DataError: it is not, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            length = _length(file)
            if length < archive.size:
                raise DataError(
                    f"{shown(path)} has {length:,} bytes, and {archive.file} {archive.size:,}; if "
                    f"its download was interrupted, call it {shown(part_of(path).name)} and give "
                    "the command again, which goes on with it; otherwise move it away"
                )
            if not _is_whole(file, archive):
                raise DataError(
                    f"{shown(path)} is not the published file (its SHA-256 is another one); move "
                    "it away and give the command again"
                )
    except OSError as error:
        raise DataError(
            f"{shown(path)} cannot be read ({error.strerror or error}); mend that or move it away"
        ) from error


@contextlib.contextmanager
def _opened(part: pathlib.Path) -> Iterator[BinaryIO]:
    """A file to append to, of which every byte is kept that has come."""
    try:
        file = part.open("a+b", buffering=0)
    except OSError as error:
        raise DataError(
            f"{shown(part)} cannot be written ({error.strerror or error}); name another folder by "
            "--dir"
        ) from error
    with file:
        try:
            yield file
        finally:
            if not _length(file):
                part.unlink(missing_ok=True)


def _is_whole(file: BinaryIO, archive: Archive) -> bool:
    if _length(file) != archive.size:
        return False
    file.seek(0)
    return digest(file, "sha256") == archive.sha256


def _length(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _fill(file: BinaryIO, archive: Archive, part: pathlib.Path, addresses: Sequence[str]) -> None:
    """Brings a file to the archive's size."""
    reasons = []
    total, done = archive.size // _MEGABYTE, min(_length(file), archive.size) // _MEGABYTE
    with under_way(archive.name, total, done=done, unit="megabyte") as task:
        for address in addresses:
            try:
                return _fill_from(address, file, archive, part, task)
            except _Unanswered as error:
                reasons.append(f"{address}: {error}")
    length = _length(file)
    there = f", which goes on from the {length:,} of {archive.size:,} bytes that came"
    raise DataError(
        f"{archive.name} cannot be downloaded ({'; '.join(reasons)}); give the command again later"
        f"{there if length else ''}, name another address by --url=URL, or put {archive.file} from "
        f"elsewhere into {shown(part.parent)}"
    )


def _fill_from(
    address: str, file: BinaryIO, archive: Archive, part: pathlib.Path, task: Task
) -> None:
    """The same from one address, over as many connections as it takes."""
    if _length(file) > archive.size:
        file.truncate(0)
    while (before := _length(file)) < archive.size:
        why = "it ended too early"
        try:
            _append(address, file, archive, part, task)
        except (OSError, http.client.HTTPException) as error:
            why = _reason(error)
        # Where each connection brings some, all of it will come.
        if _length(file) <= before:
            raise _Unanswered(why)


def _append(address: str, file: BinaryIO, archive: Archive, part: pathlib.Path, task: Task) -> None:
    """Appends what one connection gives of what is missing."""
    start = _length(file)
    request = urllib.request.Request(address, headers={"User-Agent": "bccl_jax"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        if start and answer.status != http.client.PARTIAL_CONTENT:
            # Not every server gives parts.
            _check_size(answer.headers.get("Content-Length"), archive)
            file.truncate(0)
            start = 0
        elif start:
            found = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", answer.headers.get("Content-Range", ""))
            if not found or int(found[1]) != start:
                raise _Unanswered("it gives another part than it was asked for")
            _check_size(found[2], archive)
        else:
            _check_size(answer.headers.get("Content-Length"), archive)
        while block := answer.read(_BLOCK):
            if start + len(block) > archive.size:
                raise _Unanswered("it gives more than the archive has")
            _write(block, file, part, archive.size - start)
            task.advance((start + len(block)) // _MEGABYTE - start // _MEGABYTE)
            start += len(block)


def _check_size(told: str | None, archive: Archive) -> None:
    # A page that says that the file has moved is none of it.
    if told and told.isdecimal() and int(told) != archive.size:
        raise _Unanswered(f"it gives {int(told):,} bytes, and the archive has {archive.size:,}")


def _write(block: bytes, file: BinaryIO, part: pathlib.Path, needed: int) -> None:
    left = memoryview(block)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise DataError(
            f"{shown(part)} cannot be written ({error.strerror or error}); it needs {needed:,} "
            "bytes more and goes on with the same command"
        ) from error


def _reason(error: Exception) -> str:
    """Why an address gives nothing, in words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        return _reason(error.reason)
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE:.0f} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
