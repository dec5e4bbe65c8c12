"""Named arrays and one JSON document in a safetensors file, with a checksum.

Whoever wrote such a file can make its reader run nothing and allocate little more than its size: it
is 8 bytes, a JSON header of bounded length, and the bytes of the arrays, one after the other. The
document is text in the header's metadata. The checksum is of the document, of the names, kinds and
shapes of the arrays, and of their bytes: it tells of damage, not of who wrote the file. Equal
arrays and an equal document make equal files.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors

from bccl_jax.errors import DataError
from bccl_jax.system.names import shown

# What the document is called among the metadata.
_KEY = "bccl_jax"
_KINDS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {np.dtype(text): name for name, text in _KINDS.items()}
# Bytes of a header: a document of some ten thousand classes has less than one million.
_LONGEST_HEADER = 2**25
_PIECE = 2**20


def write(
    path: pathlib.Path, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]
) -> None:
    """Writes a file, whole or not at all.

    Args:
      path: of the file.
      arrays: by name, of numbers or truth values in the byte order of most machines.
      document: JSON values.

    Raises:
      DataError: an array is of a kind that such a file cannot hold.
      OSError: the file cannot be written.
    """
    header, place = {}, 0
    # The widest first, so that each lies where its kind wants to.
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        if array.dtype not in _NAMES:
            raise DataError(f"the array {shown(name)} is of {array.dtype}, which no file can hold")
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    digest = _digest({name: (e["dtype"], e["shape"]) for name, e in header.items()}, document)
    for name in header:
        digest.update(_bytes_of(arrays[name]))
    told = {"document": document, "sha256": digest.hexdigest()}
    header["__metadata__"] = {_KEY: json.dumps(told, sort_keys=True)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise DataError(
            f"{shown(path)} would have a header of {len(text)} bytes, which is too long; share a "
            "run of fewer classes"
        )
    unfinished = path.with_name(f"{path.name}.tmp")
    with unfinished.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in header:
            if name in arrays:
                file.write(_bytes_of(arrays[name]))
    unfinished.replace(path)


def _bytes_of(array: np.ndarray) -> memoryview | bytes:
    array = np.ascontiguousarray(array)
    return array.reshape(-1).view(np.uint8).data if array.size else b""


def _digest(arrays: Mapping[str, tuple[str, list[int]]], document: Mapping[str, Any]):
    told = {"arrays": {name: list(each) for name, each in arrays.items()}, "document": document}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode())


def is_tensor_file(path: str | os.PathLike) -> bool:
    """Whether a file is one that `write` made, as far as its header tells."""
    try:
        return os.path.isfile(path) and _KEY in _header(pathlib.Path(path))[0]
    except (DataError, ValueError):  # a zero byte in the path
        return False


class TensorFile:
    """A file that `write` made, checked in all that can be checked without knowing what it is.

    Args:
      path: of the file.

    Attributes:
      document: its JSON values.
      shapes: dtype and shape of each array, by name.

    Raises:
      DataError: it is no such file, or damaged.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        metadata, self.shapes, begin = _header(path)
        try:
            told = json.loads(metadata[_KEY])
            self.document, checksum = told["document"], told["sha256"]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DataError(
                f"{shown(path)} holds arrays but no run; name a file that python -m bccl_jax.share "
                "wrote"
            ) from error
        arrays = {
            name: (_NAMES[dtype], list(shape)) for name, (dtype, shape) in self.shapes.items()
        }
        if not isinstance(self.document, dict) or checksum != _checksum(
            path, begin, arrays, self.document
        ):
            raise DataError(
                f"{shown(path)} is damaged: its checksum is not that of its content; copy or "
                "download it again"
            )

    def array(self, name: str) -> np.ndarray:
        """Reads one array."""
        with safetensors.safe_open(self.path, framework="numpy") as file:
            return file.get_tensor(name)


def _checksum(path: pathlib.Path, begin: int, arrays: Mapping, document: Mapping) -> str:
    digest = _digest(arrays, document)
    with path.open("rb") as file:
        file.seek(begin)
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _header(
    path: pathlib.Path,
) -> tuple[dict[str, str], dict[str, tuple[np.dtype, tuple[int, ...]]], int]:
    """Metadata, dtypes and shapes of a safetensors file, and where its arrays begin."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > min(_LONGEST_HEADER, path.stat().st_size - 8):
            raise _incomplete(path)
        # It checks that the arrays fill the file, without gaps and without lying on each other.
        with safetensors.safe_open(path, framework="numpy") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {
                name: (np.dtype(_KINDS[part.get_dtype()]), tuple(part.get_shape()))
                for name, part in found.items()
            }
            return file.metadata() or {}, shapes, 8 + length
    except OSError as error:
        raise DataError(
            f"{shown(path)} cannot be read ({error.strerror or error}); name another file"
        ) from error
    except (safetensors.SafetensorError, KeyError) as error:
        raise _incomplete(path) from error


def _incomplete(path: pathlib.Path) -> DataError:
    return DataError(
        f"{shown(path)} is no shared run, or a part of it is missing; name a file that python -m "
        "bccl_jax.share wrote, or copy it again"
    )
