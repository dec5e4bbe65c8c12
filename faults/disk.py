"""Faults of disks and signals: what they do to files and processes, for as long as a block."""

import contextlib
import pathlib
import resource
import signal
import time


def flip(path, position, bit=0):
    """Flips a bit of a file; a position beyond its end counts from the start again."""
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(content)


def largest(folder: pathlib.Path) -> pathlib.Path:
    """The largest file in a folder and below."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


@contextlib.contextmanager
def no_file_above(size):
    """Within it no file grows beyond so many bytes: as a full disk, by another number (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@contextlib.contextmanager
def within(seconds):
    """Fails, and does not wait for ever, where what is within it takes longer.

    The test's own thread is interrupted, so that a hang of it is a failure and no hang.
    """

    def late(*_):
        raise AssertionError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def storm(process, signum, every=0.02, longest=60.0):
    """Sends a signal again and again until a process has ended; returns how often."""
    end, sent = time.monotonic() + longest, 0
    while process.poll() is None:
        assert time.monotonic() < end, f"process {process.pid} has not ended"
        process.send_signal(signum)
        sent += 1
        time.sleep(every)
    return sent
