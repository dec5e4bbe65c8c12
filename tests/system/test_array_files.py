"""Files of NumPy, read within what they hold."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from bccl_jax.system.array_files import arrays_of, read_array, read_arrays

ARRAYS = {
    "train": np.arange(5, dtype=np.uint64) + 2**63,
    "empty": np.zeros((0, 3), np.int32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_those_that_numpy_wrote(tmp_path, name):
    np.save(tmp_path / "a.npy", ARRAYS[name])
    np.savez(tmp_path / "a.npz", **ARRAYS)
    for found in (read_array(tmp_path / "a.npy"), read_arrays(tmp_path / "a.npz")[name]):
        assert found.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(found, ARRAYS[name])


def header(shape, dtype="<f8"):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no header"),
        (pickle.dumps([1]), "no header"),
        (header((2**40,)) + bytes(8), "8 bytes of an array"),
        (header((1,)) + bytes(7), "7 bytes of an array"),
        (header((1,)) + bytes(9), "9 bytes of an array"),
        (header((1,), "|O") + pickle.dumps([None]), "objects"),
    ],
)
def test_what_is_no_array_or_not_all_of_one_is_refused(tmp_path, content, message):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_array(tmp_path / "a.npy")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=message):
        arrays_of(packed.getvalue())


def test_an_archive_that_unpacks_to_more_than_it_is_is_not_unpacked():
    packed = io.BytesIO()
    np.savez_compressed(packed, a=np.zeros(10**6))
    with pytest.raises(ValueError, match="more than it is large"):
        arrays_of(packed.getvalue())
