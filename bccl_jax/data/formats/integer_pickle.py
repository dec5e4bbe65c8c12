"""Reads pickles of integers, integer arrays and strings without running anything they name."""

import io
import pathlib
import pickle
import pickletools
from typing import Any

import numpy as np

from bccl_jax.system.regular_files import read_regular

_STOP = ord(".")
_KEEPING = ("PUT", "BINPUT", "LONG_BINPUT")
# Of an argument that is a length, the bytes of that length.
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def _argument_of(opcode: pickletools.OpcodeInfo) -> tuple[int, int, bool, bool]:
    """Its bytes or its lines, whether it is a length, and whether something is kept under it."""
    size = opcode.arg.n if opcode.arg else 0
    keeps = opcode.name in _KEEPING
    if size == pickletools.UP_TO_NEWLINE:
        return 0, 2 if opcode.name in ("GLOBAL", "INST") else 1, False, keeps
    return _LENGTHS.get(size, size), 0, size in _LENGTHS, keeps


_ARGUMENTS = {ord(each.code): _argument_of(each) for each in pickletools.opcodes}


def load(path: pathlib.Path) -> Any:
    """Unpickles a file of lists, dicts, strings, integers and integer arrays.

    Args:
      path: a file of any pickle protocol, written by Python 2 or 3 and any NumPy.

    Returns:
      Its content; what Python 2 wrote as `str` is bytes. Arrays are found as the value of a dict.

    Raises:
      OSError: the file cannot be read.
      Exception: of nearly any type, if the file is broken; `pickle.UnpicklingError` if it asks for
        anything else.
    """
    raw = read_regular(path)
    _check_sizes(raw)
    content = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
    if not isinstance(content, dict):
        return content
    return {k: v.values if isinstance(v, _Array) else v for k, v in content.items()}


def _check_sizes(raw: bytes) -> None:
    """Refuses what asks for more memory than what is there would fill.

    Python's reader makes room before it looks: for a string or an array of bytes of the length that
    is named, and up to the number under which something is kept. A few bytes could ask for all.
    """
    position, count, size = 0, 0, len(raw)
    while position < size:
        code = raw[position]
        kind = _ARGUMENTS.get(code)
        position, count = position + 1, count + 1
        if kind is None:
            raise pickle.UnpicklingError(f"byte {position} is no instruction")
        width, lines, is_length, keeps = kind
        argument = int.from_bytes(raw[position : position + width], "little")
        for _ in range(lines):
            start, position = position, raw.find(b"\n", position) + 1
            if not position:
                raise pickle.UnpicklingError("it is cut short")
            # A longer number is refused as one, not taken for a small one.
            argument = int(raw[start:position][:20]) if keeps else 0
        position += width + (argument if is_length else 0)
        if position > size or (keeps and not 0 <= argument <= count):
            raise pickle.UnpicklingError(f"its instruction {count} asks for more than is there")
        if code == _STOP:
            return


class _DType:
    """In place of `numpy.dtype`, whose state could declare raw bytes to be object pointers."""

    def __init__(self, code: str | bytes):
        self.code, self.order = _text(code), "="

    def __setstate__(self, state):
        self.order = _text(state[1])

    def resolve(self) -> np.dtype:
        dtype = np.dtype(self.code).newbyteorder(self.order)
        if dtype.kind not in "iu":
            raise pickle.UnpicklingError(f"it holds an array of {dtype}")
        return dtype


class _Array:
    """In place of `numpy.ndarray`."""

    values: np.ndarray | None = None

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, raw = state
        self.fill(raw, dtype, shape, "F" if is_fortran else "C")

    def fill(self, raw: bytes, dtype: _DType, shape: tuple[int, ...], order: str):
        self.values = np.frombuffer(raw, dtype.resolve()).reshape(shape, order=order)


class _Unpickler(pickle.Unpickler):
    """Answers the few names that such files ask for by stand-ins of its own."""

    def find_class(self, module, name):
        match module.replace("numpy._core.", "numpy.core."), name:
            case "numpy", "ndarray":
                return None  # nothing but an argument of `_reconstruct`, which does not look at it
            case "numpy", "dtype":
                return self._dtype
            case "numpy.core.multiarray", "_reconstruct":
                return self._reconstruct
            case "numpy.core.numeric", "_frombuffer":
                return self._frombuffer
            case "_codecs", "encode":
                return self._encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    # Bound methods: unlike a function or a class, a file cannot set their attributes.

    def _dtype(self, code, align=False, copy=False):
        return _DType(code)

    def _reconstruct(self, cls, shape, code):
        return _Array()

    def _frombuffer(self, raw, dtype, shape, order, axis_order=None):
        array = _Array()
        array.fill(raw, dtype, shape, order)
        return array

    def _encode(self, text, encoding):
        if encoding != "latin1":
            asked = encoding if isinstance(encoding, str) else "what is no codec"
            raise pickle.UnpicklingError(f"it encodes as {asked}")
        return text.encode(encoding)


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value
