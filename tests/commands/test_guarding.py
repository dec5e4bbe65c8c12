"""How a command ends that cannot go on: its sentence and its exit code."""

import gc
import logging
import sys
import threading
import traceback
import warnings

import jax
import numpy as np
import pytest

from bccl_jax.commands import guarding
from bccl_jax.errors import DataError, LostProcessError, WorkdirError
from bccl_jax.system.ending import LOST_PROCESS


class Ended(BaseException):
    """In place of the end of this process."""


@pytest.fixture(scope="module", autouse=True)
def _frozen():
    """A command looks through all objects at its end; those of earlier tests are left out."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _hook_and_warnings():
    """A command's process ends; the tests' goes on."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)
        patch.setattr(threading, "excepthook", threading.excepthook)
        yield
        logging.disable(logging.NOTSET)


def of_one(capsys, error=None, by=None):
    def main(argv):
        if by is not None:
            by()
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", sys.stderr)
        code = guarding.guarded(main, ["main"])
    return code, capsys.readouterr().err


@pytest.fixture
def of_several(monkeypatch, capsys):
    """Ends one of two processes by an error; gives the exit code and what is said."""
    monkeypatch.setattr(guarding, "_one_of_several", lambda: True)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(guarding.os, "_exit", end)

    def ended(error):
        with pytest.raises(Ended) as raised:
            of_one(capsys, error)
        return raised.value.args[0], capsys.readouterr().err

    return ended


def caused_by(error, cause):
    error.__cause__ = cause
    return error


def test_a_mistake_is_its_sentence_and_1(capsys):
    assert of_one(capsys, DataError("no such file")) == (1, "error: no such file\n")


def test_nothing_is_said_of_what_is_taken_down_after_the_sentence(capsys):
    class Late:
        def __del__(self):
            raise AttributeError("no socket")

    async def saved():
        pass

    ended = threading.Event()

    def written():
        ended.wait(20)
        logging.getLogger("absl").error("a thread raised an exception")
        raise RuntimeError("cannot schedule new futures after shutdown")

    thread = threading.Thread(target=written)

    def main(argv):
        late = Late()
        thread.start()
        late.itself, late.coroutine = late, saved()
        raise DataError("too many open files")

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
        patch.setattr(threading, "excepthook", threading.__excepthook__)
        patch.setattr(sys, "stderr", sys.stderr)
        assert guarding.guarded(main, ["main"]) == 1
        ended.set()
        thread.join()
        # As what multiprocessing calls at the interpreter's end does of what fails there.
        traceback.print_exception(AssertionError("can only join a started process"))
    assert capsys.readouterr().err == "error: too many open files\n"


def test_what_a_process_has_too_little_of_is_a_sentence(capsys):
    def allocate():
        jax.numpy.zeros((10**7, 10**7))

    def open_many():
        raise OSError(24, "Too many open files", "/psm_1")

    def start():
        raise RuntimeError("can't start new thread")

    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def close_after_it():
        try:
            np.zeros(10**17)
        except MemoryError:
            raise AssertionError("can only join a started process") from None

    for fails, part in (
        (allocate, "a device has too little memory (RESOURCE_EXHAUSTED: "),
        (open_many, "files open, which are too few ([Errno 24] Too many open files: '/psm_1'); "),
        (start, "no further thread or process can be started (can't start new thread): "),
        (fork, "no further thread or process can be started ([Errno 11] Resource "),
        (close_after_it, "there is too little memory (Unable to allocate "),
    ):
        code, told = of_one(capsys, by=fails)
        assert (code, told.count("\n")) == (1, 1)
        assert told.startswith("error: ")
        assert part in told


def test_what_is_no_shortage_is_a_trace(capsys):
    # A terminal that takes no more for now.
    for error in (BlockingIOError(11, "would block", 0), RuntimeError("a bug"), OSError(5, "disk")):
        with pytest.raises(type(error)):
            of_one(capsys, error)


def test_a_lost_process_is_told_alike_however_it_was_met(of_several):
    gone = RuntimeError("UNAVAILABLE: Connection closed by peer")
    unwritten = caused_by(WorkdirError("the checkpoint was not written"), gone)
    for error in (gone, unwritten, LostProcessError("another process of this run was lost")):
        code, told = of_several(error)
        assert code == LOST_PROCESS
        assert "another process of this run was lost" in told
        assert told.count("error: ") == 1


def test_a_class_that_is_called_as_such_errors_are_is_no_lost_process(of_several):
    code, told = of_several(DataError("photos/barrier/heartbeat.jpg cannot be decoded"))
    assert (code, told) == (1, "error: photos/barrier/heartbeat.jpg cannot be decoded\n")
