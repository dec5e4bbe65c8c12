"""How the cores of a machine are shared by runs side by side."""

import contextlib
import json
import os
import pathlib
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


def kept(workdir: pathlib.Path, share: list[int]) -> list[int]:
    """The cores for a run: as many as it was begun with, for its bits depend on their number.

    Args:
      workdir: of the run; a new one takes the share as it is.
      share: cores of the worker, [] for all.
    """
    own = share or _cores()
    try:
        number = json.loads((workdir / "computed_on.json").read_text())[-1]["on"]["cores"]
    except (OSError, ValueError, LookupError, TypeError):
        return share
    if number == len(own) or type(number) is not int or not hasattr(os, "sched_setaffinity"):
        return share
    # Its own first; of more than these those of other workers too.
    cores = [*own, *(core for core in _cores() if core not in own)]
    return cores[:number] if 0 < number <= len(cores) else share


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
