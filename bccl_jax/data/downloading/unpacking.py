"""The files of a data set out of its archive: those that are known, and nothing else."""

import gzip
import pathlib
import tarfile
import tempfile
import zlib
from collections.abc import Iterator

from bccl_jax.data.downloading.archives import Archive, digest
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown


def unpack(path: pathlib.Path, archive: Archive, directory: pathlib.Path) -> pathlib.Path:
    """Unpacks an archive.

    Members are looked for by their names, and their bytes written to files of these names: no path,
    link or right that an archive may hold is ever followed.

    Args:
      path: of the archive.
      archive: which it is.
      directory: that gets the archive's folder, whole or not at all.

    Returns:
      The folder.

    Raises:
      DataError: the archive lacks a file or is broken, or the folder is there or cannot be written.
    """
    target = directory / archive.folder
    try:
        with tempfile.TemporaryDirectory(prefix=f".{archive.folder}-", dir=directory) as place:
            # With the rights that any new folder has, which that one does not.
            folder = pathlib.Path(place) / archive.folder
            folder.mkdir()
            _unpack_into(folder, path, archive)
            folder.rename(target)
    except OSError as error:
        raise DataError(
            f"{shown(path)} cannot be unpacked to {shown(target)} ({error.strerror or error}); "
            "mend that and give the command again"
        ) from error
    return target


def changed(folder: pathlib.Path, archive: Archive) -> Iterator[str]:
    """A few words on each file of an unpacked folder that is not as it was published.

    Raises:
      DataError: one cannot be read.
    """
    for name, md5 in archive.members.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                if digest(file, "md5") != md5:
                    yield f"{name} is not the published file"
        except FileNotFoundError:
            yield f"{name} is missing"
        except OSError as error:
            raise DataError(f"{shown(path)} cannot be read ({error.strerror or error})") from error


def _unpack_into(folder: pathlib.Path, path: pathlib.Path, archive: Archive) -> None:
    left = dict(archive.members)
    try:
        with tarfile.open(path, "r:gz") as packed:
            for member in packed:
                name = member.name.removeprefix(f"{archive.folder}/")
                if member.name != f"{archive.folder}/{name}" or name not in left:
                    continue
                if not member.isreg():
                    raise DataError(f"{name} in {shown(path)} is no file; move the archive away")
                _copy(packed, member, folder / name)
                with (folder / name).open("rb") as file:
                    if digest(file, "md5") != left.pop(name):
                        raise DataError(
                            f"{name} in {shown(path)} is not the published file; move the archive "
                            "away"
                        )
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{shown(path)} is broken ({error}); move it away") from error
    if left:
        raise DataError(f"{shown(path)} lacks {', '.join(left)}; move it away")


def _copy(packed: tarfile.TarFile, member: tarfile.TarInfo, path: pathlib.Path) -> None:
    with packed.extractfile(member) as source, path.open("xb") as target:
        while block := source.read(1 << 20):
            target.write(block)
