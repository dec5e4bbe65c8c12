"""Readers need shared memory: too little of it is found before training, or named."""

import errno
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from bccl_jax.data.feeding.pipeline import read_batches, shared_bytes
from bccl_jax.data.feeding.stream import EvaluationStream, TrainingStream
from bccl_jax.data.order import Order
from bccl_jax.data.photographs.crops import Crop
from bccl_jax.errors import DataError
from bccl_jax.system import shared_memory
from bccl_jax.system.shared_memory import check_locks, check_room, needed, why_it_ended
from tests.data.feeding.test_feeding import Memory

DOCKER = SimpleNamespace(f_bavail=16384, f_frsize=4096)  # 64 MB, as docker gives


@pytest.fixture
def docker(monkeypatch):
    monkeypatch.setattr(shared_memory.os, "statvfs", lambda path: DOCKER)


def test_a_small_place_is_named_with_its_mends(docker):
    check_room(64 * 2**20, workers=1)
    with pytest.raises(DataError) as error:
        check_room(2 * 10**9, workers=8)
    told = str(error.value)
    for part in ("/dev/shm has 68 MB", "(8)", "2,000 MB", "--shm-size", "config.data.workers"):
        assert part in told
    assert "\n" not in told


def test_it_is_found_before_a_reader_starts(docker):
    images, labels = Memory([b""] * 512), np.zeros(512, np.int32)
    stream = TrainingStream(images, Order(labels, 128, 0), 1, range(128), 0, [Crop()] * 3, 224)
    with pytest.raises(DataError, match="/dev/shm has 68 MB"):
        read_batches(stream, 128, 4, 1)
    evaluation = EvaluationStream(images, 128, range(128), 256, 224)
    # What an evaluation will take counts from the start.
    small = TrainingStream(images, Order(labels, 8, 0), 1, range(8), 0, [Crop()] * 3, 64)
    others = shared_bytes(evaluation, 128, 4)
    assert others == needed(1, 128 * 224 * 224 * 3)
    with pytest.raises(DataError, match="/dev/shm"):
        read_batches(small, 8, 1, 1, others)


def test_threads_need_none(docker):
    images, labels = Memory([b""] * 512), np.zeros(512, np.int32)
    stream = TrainingStream(images, Order(labels, 128, 0), 1, range(128), 0, [Crop()] * 3, 224)
    assert shared_bytes(stream, 128, 0) == 0
    read_batches(stream, 128, 0, 1).close()


def test_a_full_place_is_told_before_anything_begins(monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shared_memory.multiprocessing, "Lock", full)
    with pytest.raises(DataError, match=r"/dev/shm takes no lock \(No space left"):
        check_locks()


def test_where_there_is_no_such_place_nothing_is_asked(monkeypatch):
    def absent(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(shared_memory.os, "statvfs", absent)
    check_room(10**15, workers=1)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-signal.SIGBUS, "/dev/shm full"),
        (-signal.SIGKILL, "want of memory"),
        (-signal.SIGSEGV, "by SIGSEGV"),
        (1, "with exit code 1"),
    ],
)
def test_the_reason_of_a_readers_end_is_the_true_one(code, reason):
    told = why_it_ended(f"Worker process was terminated unexpectedly with exit code {code}. Search")
    assert reason in told
    assert "config.data.workers" in told
    assert "\n" not in told
