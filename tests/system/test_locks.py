"""A lock that another process has, and a file system that gives none, are two things."""

import errno
import fcntl
import os

import numpy as np
import pytest

from bccl_jax.config import get_config
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.formats import packed
from bccl_jax.data.packing import packing
from bccl_jax.data.split import Dataset, Split, Splits
from bccl_jax.errors import DataError, WorkdirError
from bccl_jax.system.locks import is_held, lock
from bccl_jax.workdir.directory import Workdir
from experiments.records import results
from tests.experiments.made_up import LEAST

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EIO)


def answering(monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def train_in(directory):
    config = get_config("cross_entropy")
    images = np.zeros((2, 4, 4, 3), np.uint8)
    split = Split(images, np.arange(2, dtype=np.int32), ("a", "b"))
    with Workdir(directory).claimed(config, config, Dataset("mini", split, split)):
        assert (directory / "config.json").exists()


def pack_into(directory):
    source = directory.parent / "source"
    source.mkdir(exist_ok=True)
    (source / "1.jpg").write_bytes(b"picture")
    split = Split(FileImages(source, ["1.jpg"]), np.zeros(1, np.int32), ("a",))
    packing.pack("mini", Splits(split, split), directory)
    assert packed.load(directory).train.images[0] == b"picture"


def append_to(directory):
    record = LEAST | {"code_hash": "a", "config_hash": "b", "seed": 0}
    results.append(directory / "results.jsonl", record)
    assert results.load(directory / "results.jsonl") == [record]


@pytest.mark.parametrize("use", [train_in, pack_into, append_to])
@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_file_system_without_locks_is_told_in_one_line(
    tmp_path, monkeypatch, capsys, number, use
):
    answering(monkeypatch, number)
    use(tmp_path / "there")
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith("warning: the file system of ")
    assert f"gives no lock ({os.strerror(number)})" in warning
    assert "another process" not in warning


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [(train_in, WorkdirError, "is training in"), (pack_into, DataError, "is packing into")],
)
def test_a_lock_that_is_taken_is_told_as_another_process(
    tmp_path, monkeypatch, use, error, message
):
    answering(monkeypatch, errno.EWOULDBLOCK)
    with pytest.raises(error, match=f"another process {message}"):
        use(tmp_path / "there")


def test_a_lock_is_free_again_after_its_process(tmp_path, capsys):
    train_in(tmp_path)
    handle = os.open(tmp_path / ".lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(WorkdirError, match="another process"):
        train_in(tmp_path)
    os.close(handle)
    train_in(tmp_path)
    assert not capsys.readouterr().err


def test_whether_a_lock_is_held_is_found_out_without_taking_it(tmp_path):
    path = tmp_path / ".lock"
    assert not is_held(path)
    with path.open("w") as file:
        assert not is_held(path)
        assert lock(file.fileno(), path)
        assert is_held(path)
    assert not is_held(path)
