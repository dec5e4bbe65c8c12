"""Files of arrays and a document, whole, damaged and malicious."""

import json
import re

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bccl_jax.errors import DataError
from bccl_jax.system.tensor_files import TensorFile, is_tensor_file, write

DOCUMENT = {"a": [1, None, 0.5], "name": "r\udcf6t \n \N{SNOWMAN}", "inner": {"b": True}}
ARRAYS = {
    "weights/kernel": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
    "step": np.int32(7),
    "mask": np.array([[True, False]]),
    "empty": np.zeros((0, 5), np.float64),
    "numbers": np.arange(5, dtype=np.uint64) + 2**63,
    "half": np.array([1.5], np.float16),
    "transposed": np.arange(6, dtype=np.int64).reshape(2, 3).T,
}


def arrays():
    return {name: np.asarray(array) for name, array in ARRAYS.items()}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "run.safetensors"
    write(path, arrays(), DOCUMENT)
    return path


def check_content(file):
    assert file.document == DOCUMENT
    assert file.shapes.keys() == ARRAYS.keys()
    for name, array in arrays().items():
        found = file.array(name)
        assert file.shapes[name] == (found.dtype, found.shape)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_what_was_written_is_read_back(path):
    check_content(TensorFile(path))
    assert is_tensor_file(path)


def test_another_spelling_of_the_same_is_no_damage(path, tmp_path):
    content = path.read_bytes()
    assert b"\\udcf6" in content
    (tmp_path / "file").write_bytes(content.replace(b"\\udcf6", b"\\udcF6"))
    check_content(TensorFile(tmp_path / "file"))


def test_it_is_a_safetensors_file_to_others(path):
    found = safetensors.numpy.load_file(path)
    assert found.keys() == ARRAYS.keys()
    np.testing.assert_array_equal(found["weights/kernel"], ARRAYS["weights/kernel"])


def test_equal_content_makes_equal_files(path, tmp_path):
    again = dict(reversed(arrays().items()))
    write(tmp_path / "again", again, dict(reversed(DOCUMENT.items())))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_what_it_cannot_hold_is_told_and_nothing_is_left(tmp_path):
    for array in (np.array(["text"]), np.array([None]), np.zeros(2, ">f4")):
        with pytest.raises(DataError, match="the array a is of .*, which no file can hold"):
            write(tmp_path / "run", {"a": array}, {})
    with pytest.raises(DataError, match="which is too long"):
        write(tmp_path / "run", {}, {"a": "x" * 2**25})
    assert not list(tmp_path.iterdir())


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_each_flipped_bit_and_each_missing_end_is_noticed(path, tmp_path, data):
    content = bytearray(path.read_bytes())
    damaged = tmp_path / "damaged"
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        damaged.write_bytes(content)
    else:
        damaged.write_bytes(content[:place])
    found = told = None
    try:
        found = TensorFile(damaged)
    except DataError as error:
        told = str(error)
    if found is None:
        assert re.search("is damaged|no shared run|holds arrays but no run", told)
        # What to do about it.
        assert re.search("name a file|again", told.partition(";")[2])
    else:
        # JSON has several spellings of the same, such as small and capital letters of an escape.
        check_content(found)


@pytest.mark.parametrize("length", [0, 7, 8, 30])
def test_what_to_do_about_a_file_that_is_cut_off_is_told(path, tmp_path, length):
    (tmp_path / "cut").write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match="a part of it is missing; name a file .* or copy it again"):
        TensorFile(tmp_path / "cut")


def made(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04K\x01.",
        b"PK\x03\x04" + bytes(200),
        made({}, length=2**63),
        made({}, length=2**25 + 1),
        made(b"[" * 100_000),
        made(b'{"__metadata__": {"bccl_jax": 3}}'),
        made({"__metadata__": {"bccl_jax": "[" * 100_000}}),
        made({"__metadata__": {"bccl_jax": '{"document": {}, "sha256": ""}'}}),
        made({"__metadata__": {"bccl_jax": '{"document": [], "sha256": null}'}}),
        made({"__metadata__": {"bccl_jax": '{"document": {}}'}}),
        made({"__metadata__": {"bccl_jax": "1" * 10_000}}),
        made({"a": {**ENTRY, "shape": [2**40], "data_offsets": [0, 2**42]}}),
        made({"a": {**ENTRY, "shape": [2**62, 2**62, 16]}}, bytes(4)),
        made({"a": {**ENTRY, "data_offsets": [4, 0]}}, bytes(4)),
        made({"a": ENTRY, "b": ENTRY}, bytes(4)),
        made({"a": {**ENTRY, "dtype": "OBJECT"}}, bytes(4)),
        made({"a": {**ENTRY, "dtype": "BF16", "shape": [2]}}, bytes(4)),
        made({"a": ENTRY}, bytes(4)),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match="file (is|holds|cannot)"):
        TensorFile(tmp_path / "file")


def test_what_is_not_there_is_none(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", "a\0b", __file__):
        assert not is_tensor_file(path)
    with pytest.raises(DataError, match="cannot be read"):
        TensorFile(tmp_path / "nowhere")
