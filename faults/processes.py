"""Processes that a process has started."""

import contextlib
import pathlib


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        # It may end meanwhile.
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def is_tracker(pid: int) -> bool:
    """Whether a process is the one by which Python clears up after others, which reads nothing."""
    try:
        return b"resource_tracker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
