"""Disks that are full, have no more files, or fail."""

import contextlib
import errno
import subprocess
from collections.abc import Iterator

from faults.kinds.kind import Kind
from faults.trial import Trial

_ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EROFS", "EMFILE", "ENOENT", "EINTR", "ESTALE")


def full(trial: Trial) -> None:
    """The run lies on a file system of a size that is too small for it, and then has room."""
    # A checkpoint takes some 20 to 60 kB, and a run keeps up to three.
    size = f"{trial.rng.randint(16, 600)}k"
    _on_small_disk(trial, {"size": size}, {"size": "64m"})


def without_files(trial: Trial) -> None:
    """The same of the number of files."""
    _on_small_disk(trial, {"nr_inodes": trial.rng.randint(3, 120)}, {"nr_inodes": 100_000})


def failing(trial: Trial) -> None:
    """An operation on a file fails, once or all of them from then on."""
    for _ in range(trial.rng.randint(1, 2)):
        before = trial.whole()
        at = trial.rng.randint(1, trial.reference.operations)
        name, lasting = trial.rng.choice(_ERRORS), trial.rng.random() < 0.5
        trial.note(f"{name} in operation {at} on files{' and all later ones' * lasting}")
        given = {"below": str(trial.workdir), "at": at, "action": "fail", "lasting": lasting}
        given["number"] = getattr(errno, name)
        trial.train(before=[("faults.injection", "file_layer", given)])
        trial.nothing_lost(before)
    trial.resume()


def small_files(trial: Trial) -> None:
    """No file may grow beyond a limit."""
    size = int(10 ** trial.rng.uniform(2, 5))
    trial.note(f"no file above {size} bytes")
    before = trial.whole()
    trial.train(before=[("faults.injection", "limited", {"name": "FSIZE", "size": size})])
    trial.nothing_lost(before)
    trial.resume()


def _on_small_disk(trial, small, large):
    trial.workdir.mkdir()
    with _mounted(trial.workdir, small):
        for _ in range(trial.rng.randint(1, 2)):
            before = trial.whole()
            trial.note(f"on a disk of {small}")
            trial.train()
            trial.nothing_lost(before)
        _mount(trial.workdir, {"remount": None} | large)
        trial.resume()


@contextlib.contextmanager
def _mounted(path, options) -> Iterator[None]:
    _mount(path, options)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def _mount(path, options):
    text = ",".join(key if value is None else f"{key}={value}" for key, value in options.items())
    subprocess.run(["mount", "-t", "tmpfs", "-o", text, "tmpfs", path], check=True)


KINDS = (
    Kind("disk_full", "a file system too small, which is then made larger", full, needs_root=True),
    Kind("no_files", "a file system with too few files", without_files, needs_root=True),
    Kind("file_error", "an operation on a file fails, once or from then on", failing, share=3),
    Kind("file_size", "no file may grow beyond 100 bytes to 100 kB", small_files),
)
