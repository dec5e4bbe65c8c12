import os
import pickle
import struct

import numpy as np
import pytest

from bccl_jax.data.formats import integer_pickle


def python2_string(value):
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + struct.pack("<i", len(value)) + value


def python2_array(dtype, shape, raw):
    """The opcodes by which Python 2 and its NumPy pickle an array of two dimensions."""
    sizes = b"".join(b"M" + struct.pack("<H", n) for n in shape)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        + python2_string(b"b")
        + b"\x87R(K\x01"
        + sizes
        + b"\x86cnumpy\ndtype\n"
        + python2_string(dtype)
        + b"K\x00K\x01\x87R(K\x03"
        + python2_string(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + python2_string(raw)
        + b"tb"
    )


def read(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    return integer_pickle.load(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_arrays_lists_and_names_of_every_protocol_and_numpy(tmp_path, rng, protocol, module):
    written = {
        b"rows": rng.integers(0, 256, (5, 7), dtype=np.uint8),
        b"columns": np.asfortranarray(rng.integers(0, 256, (5, 7), dtype=np.uint8)),
        b"wide": np.array([-3, 1 << 40]),
        b"big-endian": np.array([1, 2, 3], ">i4"),
        b"labels": [3, 0, 255, 70_000],
        b"names": [b"apple", b"aquarium_fish"],
    }
    found = read(tmp_path, pickle.dumps(written, protocol=protocol))
    if protocol < 4:  # names are followed by a newline there, so they may change their length
        content = pickle.dumps(written, protocol=protocol).replace(b"numpy._core", module.encode())
        found = read(tmp_path, content)
    assert found.keys() == written.keys()
    for key, value in written.items():
        np.testing.assert_array_equal(found[key], value)


def test_a_file_of_python_2_is_read(tmp_path):
    raw = bytes(range(256)) * 2
    array = python2_array(b"u1", (2, 256), raw)
    found = read(tmp_path, b"\x80\x02}(" + python2_string(b"data") + array + b"u.")
    np.testing.assert_array_equal(found[b"data"], np.frombuffer(raw, np.uint8).reshape(2, 256))


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "malicious",
    [
        Calls(os.mkdir, "executed"),
        Calls(eval, "__import__('os').mkdir('executed')"),
        Calls(np.load, "file"),
        Calls(getattr, np.ndarray, "tofile"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_whatever_else_a_file_names_is_refused_and_not_run(
    tmp_path, monkeypatch, malicious, protocol
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="it asks for"):
        read(tmp_path, pickle.dumps({b"data": [malicious]}, protocol=protocol))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("dtype", [b"O8", b"O", b"V8", b"f4", b"M8"])
def test_bytes_never_become_object_pointers(tmp_path, dtype):
    # numpy.dtype's own state can hide that "O8" holds pointers; NumPy then follows the raw bytes.
    array = python2_array(dtype, (1, 2), b"\x41" * 16)
    with pytest.raises(pickle.UnpicklingError, match="it holds an array of"):
        read(tmp_path, b"\x80\x02}(" + python2_string(b"labels") + array + b"u.")


def test_another_codec_is_refused(tmp_path):
    call = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    with pytest.raises(pickle.UnpicklingError, match="it encodes as rot13"):
        read(tmp_path, call)
    itself = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00ac_codecs\nencode\n\x86R."
    with pytest.raises(pickle.UnpicklingError, match="it encodes as what is no codec"):
        read(tmp_path, itself)
