"""Reads pickles of integers, integer arrays and strings without running anything they name."""

import io
import pathlib
import pickle
from typing import Any

import numpy as np

from bccl_jax.system.regular_files import read_regular


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
    content = _Unpickler(io.BytesIO(read_regular(path)), encoding="bytes").load()
    if not isinstance(content, dict):
        return content
    return {k: v.values if isinstance(v, _Array) else v for k, v in content.items()}


class _DType:
    """In place of `numpy.dtype`, whose state could declare raw bytes to be object pointers."""

    def __init__(self, code: str | bytes):
        self.code, self.order = _text(code), "="

    def __setstate__(self, state):
        self.order = _text(state[1])

    def resolve(self) -> np.dtype:
        dtype = np.dtype(self.code).newbyteorder(self.order)
        if dtype.kind not in "iu":
            raise pickle.UnpicklingError(f"it holds an array of {self.code}")
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
            raise pickle.UnpicklingError(f"it encodes as {encoding}")
        return text.encode(encoding)


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value
