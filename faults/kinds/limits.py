"""Too little of what a process may have: memory, open files, shared memory."""

from faults.kinds.kind import Kind
from faults.trial import Trial


def few_open_files(trial: Trial) -> None:
    """A limit of open files that may be too low even to begin."""
    _limited(trial, "NOFILE", trial.rng.randint(8, 160))


def little_memory(trial: Trial) -> None:
    """A limit of the memory beyond what libraries take; a library may abort the process then."""
    name = trial.rng.choice(["AS", "DATA"])
    _limited(trial, name, int(10 ** trial.rng.uniform(6, 9)))


def small_shared_memory(trial: Trial) -> None:
    """/dev/shm has less than what readers hand over by it."""
    size = f"{trial.rng.choice([4, 16, 64, 256, 1024])}k"
    trial.note(f"/dev/shm of {size}")
    trial.train(before=[("faults.injection", "small_shared_memory", {"size": size})])
    trial.resume()


def _limited(trial, name, size):
    trial.note(f"RLIMIT_{name} of {size}")
    before = trial.whole()
    given = {"name": name, "size": size}
    trial.train(before=[("faults.injection", "limited", given)], killed=True)
    trial.nothing_lost(before)
    trial.resume()


KINDS = (
    Kind("open_files", "a limit of 8 to 160 open files", few_open_files),
    Kind("memory", "a limit of 1 MB to 1 GB of memory beyond the libraries'", little_memory),
    Kind(
        "shared_memory",
        "a /dev/shm of 4 kB to 1 MB",
        small_shared_memory,
        ("photographs",),
        needs_root=True,
    ),
)
