"""What a process, those below it and its folders hold at a moment, from Linux's /proc and JAX.

Samples go to a file line by line: kept in memory they would be what grows.
"""

import atexit
import functools
import gc
import json
import os
import pathlib
import time

import jax

_COMPILED = "/jax/core/compile/backend_compile_duration"
_SHARED = "/dev/shm/"
# They grow by design: a line an epoch, and a copy of all of them in each checkpoint.
RECORDS, COPY = "metrics.jsonl", "records.jsonl"


class Sampler:
    """Takes samples of this process.

    Args:
      path: of the file that they are appended to, a JSON object a line.
      workdir: of a run; its records are told apart.
      every: of so many calls of `at` one takes a sample.
    """

    def __init__(self, path: pathlib.Path, workdir: pathlib.Path, every: int = 1):
        self._path, self._workdir, self._every = path, workdir, every
        compilations()

    def at(self, step: int) -> None:
        """Takes a sample of a step, if it is one of those that are sampled."""
        if step % self._every == 0:
            self.take(step)

    def take(self, step: int) -> None:
        """Takes a sample of a step."""
        # What waits for the collector is no leak.
        gc.collect()
        append(self._path, {"step": step, **of_process(), **of_folder(self._workdir)})


def take_at_exit(path: str, workdir: str) -> None:
    """Has this process sample itself as it ends, into a file of its own."""
    sampler = Sampler(pathlib.Path(path), pathlib.Path(workdir))
    atexit.register(sampler.take, 0)


def append(path: pathlib.Path, sample: dict[str, float]) -> None:
    """Adds a sample to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(sample) + "\n")


def read(path: pathlib.Path) -> list[dict[str, float]]:
    """The samples of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def of_process() -> dict[str, float]:
    """What this process and those below it hold.

    Returns:
      Bytes of memory of this process, resident and its own alone, and of its own of all processes
      below it; numbers of them, of file handles and threads, of objects that Python's collector
      knows, and of files of its folder of temporary ones; bytes of shared memory that any of them
      has mapped; number and bytes of JAX's live arrays; programs compiled so far.
    """
    own, below = os.getpid(), processes_below(os.getpid())
    resident, private = memory(own)
    arrays = jax.live_arrays()
    return {
        "time": round(time.time(), 3),
        "rss": resident,
        "uss": private,
        "below uss": sum(memory(pid)[1] for pid in below),
        "processes": len(below),
        "handles": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "objects": len(gc.get_objects()),
        "temporary": len(os.listdir(os.environ.get("TMPDIR", "/tmp"))),
        "shared": sum(shared_memory([own, *below]).values()),
        "arrays": len(arrays),
        "array bytes": sum(array.nbytes for array in arrays),
        "compilations": compilations()[0],
    }


def of_folder(workdir: pathlib.Path) -> dict[str, float]:
    """Files and bytes of a run's directory, and bytes of its records, which are in neither."""
    sizes, records = {}, 0
    for folder, _, names in os.walk(workdir):
        for name in names:
            path = os.path.join(folder, name)
            try:
                size = os.lstat(path).st_size
            except FileNotFoundError:  # a checkpoint that is on its way
                continue
            if name in (RECORDS, COPY):
                records += size
            else:
                sizes[path] = size
    return {"files": len(sizes), "file bytes": sum(sizes.values()), "records": records}


def memory(pid: int) -> tuple[int, int]:
    """Bytes of a process in memory, and of those what no other process has; 0, 0 of an ended one.

    Its USS is what would be free if it ended.
    """
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0, 0
    kilobytes = dict(line.split()[:2] for line in text.splitlines()[1:])
    private = [int(n) for name, n in kilobytes.items() if name.startswith("Private_")]
    return 1024 * int(kilobytes["Rss:"]), 1024 * sum(private)


def processes_below(pid: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = pathlib.Path(f"/proc/{name}/stat").read_text()
        except OSError:  # it has ended
            continue
        # Its name, in parentheses, may hold anything.
        parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def shared_memory(pids: list[int]) -> dict[tuple[str, str], int]:
    """Bytes of the shared memory that processes have mapped, each once, by inode and path."""
    found = {}
    for pid in pids:
        try:
            lines = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if _SHARED in line:
                span, _, _, _, inode, path = line.split(maxsplit=5)
                start, end = (int(part, 16) for part in span.split("-"))
                found[inode, path] = max(found.get((inode, path), 0), end - start)
    return found


@functools.cache
def compilations() -> list[int]:
    """A list of one number, of the programs that this process compiles from the first call on."""
    count = [0]

    def listen(event: str, seconds: float, **_) -> None:
        count[0] += event == _COMPILED

    jax.monitoring.register_event_duration_secs_listener(listen)
    return count
