"""Files of NumPy, .npy and .npz, read without running anything or taking more than they hold.

`numpy.load` believes a header that names more numbers than any memory has, and unpacks an archive
whatever it unpacks to.
"""

import io
import math
import os
import zipfile

import numpy as np

from bccl_jax.system.regular_files import read_regular

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_array(path: str | os.PathLike) -> np.ndarray:
    """Reads the array of a .npy file, of any kind but objects; it cannot be written to.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no such file, or not all of one.
    """
    return _array(read_regular(path))


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays of a .npz file that `numpy.savez` wrote, by name; see `read_array`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no such file, not all of one, or compressed.
    """
    return arrays_of(read_regular(path))


def arrays_of(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of the bytes of such a file.

    Raises:
      ValueError: as `read_arrays`.
    """
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(content):
                    raise ValueError("it holds more than it is large")
                found[member.filename.removesuffix(".npy")] = _array(archive.read(member))
    except ValueError:
        raise
    except Exception as error:  # a damaged archive raises nearly anything
        raise ValueError(str(error) or type(error).__name__) from error
    return found


def _array(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = _HEADERS[version](file)
    except Exception as error:  # the header is Python, and raises what Python's parser does
        raise ValueError("it has no header of an array") from error
    if dtype.hasobject:
        raise ValueError("it holds objects, which are programs to be run")
    size = len(content) - file.tell()
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"it has {size} bytes of an array of {dtype} {list(shape)}"[:200])
    order = "F" if fortran else "C"
    if not size:
        return np.zeros(shape, dtype, order)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order=order)
