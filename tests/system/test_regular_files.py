"""Nothing waits for the other end of a pipe."""

import os

import pytest

from bccl_jax.system.regular_files import at_once, open_regular, read_regular, write_text


def test_a_file_is_read_and_written_as_it_is(tmp_path):
    path = tmp_path / "file"
    write_text(path, "ä\nb\r\n")
    assert read_regular(path) == path.read_bytes() == "ä\nb\r\n".encode()
    (tmp_path / "link").symlink_to(path)
    assert read_regular(tmp_path / "link") == path.read_bytes()
    assert read_regular(str(path)) == path.read_bytes()
    with open(path, "a", opener=at_once) as file:
        file.write("c")
    assert path.read_bytes().endswith(b"\nc")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_an_error_at_once(tmp_path, make):
    make(tmp_path / "other")
    handles = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="other"):
        read_regular(tmp_path / "other")
    with pytest.raises(OSError, match="other"):
        write_text(tmp_path / "other", "text")
    assert set(os.listdir("/proc/self/fd")) == handles


def test_an_endless_device_is_no_file():
    with pytest.raises(OSError, match="no regular file"):
        open_regular("/dev/zero")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_regular(tmp_path / "nothing")
