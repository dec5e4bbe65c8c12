"""How the cores of a machine are shared by runs side by side."""

import contextlib
import os
import shutil
from collections.abc import Iterator

# Memory that a run on a CPU is thought to take, bytes.
_MEMORY = 2 * 2**30


def default_parallel() -> int:
    """Runs at a time: one on a GPU, else one for each core that has the memory for it."""
    if os.environ.get("JAX_PLATFORMS") != "cpu" and shutil.which("nvidia-smi") is not None:
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(_cores()), memory // _MEMORY))


def _cores() -> list[int]:
    # Not every system can say which cores a process may take.
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def shared_out(parallel: int) -> list[list[int]]:
    """The cores of each worker: an equal part, or [] for all where there is nothing to share."""
    cores = _cores()
    share = len(cores) // parallel
    if parallel == 1 or not share or not hasattr(os, "sched_setaffinity"):
        return [[] for _ in range(parallel)]
    return [cores[i * share : (i + 1) * share] for i in range(parallel)]


@contextlib.contextmanager
def on_cores(cores: list[int]) -> Iterator[None]:
    """What is started within it stays on some cores, with all its threads."""
    if not cores:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)
