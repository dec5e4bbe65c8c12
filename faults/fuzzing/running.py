"""A kind's inputs in a process of their own, whose death, hang and memory are outcomes too."""

import dataclasses
import json
import mmap
import os
import pathlib
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable

from faults.fuzzing import looping
from faults.fuzzing.surface import Kind

# Of the clock, for what waits and takes nothing of the processor.
PATIENCE = 120.0
# Of address space, beyond what the process has once its surface stands.
_MEMORY = 4 * 2**30
# Inputs that are kept of each fault.
_KEPT = 3
_STATE = struct.Struct("qqqqq")


@dataclasses.dataclass
class Counts:
    """What became of the inputs of a kind.

    Attributes:
      kind: its name.
      read: inputs that were read.
      refused: inputs that were refused in one sentence.
      seconds: of the clock.
      megabytes: the most memory that the process had.
      fails: of each fault how often it came, by what it is.
    """

    kind: str
    read: int = 0
    refused: int = 0
    seconds: float = 0.0
    megabytes: int = 0
    fails: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Inputs that were neither read nor refused as they have to be."""
        return sum(self.fails.values())

    @property
    def inputs(self) -> int:
        """All of them."""
        return self.read + self.refused + self.failed


class Runner:
    """Runs kinds, tells of failures, and keeps their inputs.

    Args:
      seed: of all inputs.
      kept: the folder for inputs that fail.
      patience: seconds after which a process that does nothing is ended.
    """

    def __init__(self, seed: int, kept: pathlib.Path, patience: float = PATIENCE):
        self._seed, self._kept, self._patience = seed, kept, patience

    def run(self, kind: Kind, numbers: range, seconds: float | None = None) -> Counts:
        """Has the inputs of some numbers read.

        Args:
          kind: of them.
          numbers: of the inputs.
          seconds: after which no more are begun; None for all of them.
        """
        counts, started = Counts(kind.name), time.monotonic()
        end = None if seconds is None else started + seconds
        shared = mmap.mmap(-1, _STATE.size)
        while numbers and (end is None or time.monotonic() < end):
            with tempfile.TemporaryDirectory(prefix="fuzzing_", dir=_memory_disk()) as folder:
                shared[:] = _STATE.pack(numbers.start - 1, 0, 0, 0, 0)
                log = pathlib.Path(folder) / "log"
                child = os.fork()
                if child == 0:
                    _be(kind, self._seed, numbers, end, pathlib.Path(folder), shared)
                how = self._wait(child, shared)
                number, read, refused, done, megabytes = _STATE.unpack(shared[:])
                counts.read += read
                counts.refused += refused
                counts.megabytes = max(counts.megabytes, megabytes)
                for line in log.read_text().splitlines() if log.exists() else ():
                    self._tell(counts, kind, **json.loads(line))
                if how is None:
                    break
                # The one under way is what the process died of; the next one goes on after it.
                entry = (pathlib.Path(folder) / "entry").read_bytes()
                self._tell(counts, kind, number + 1, how, "", "entry", entry.hex())
                if not done:
                    break
                numbers = range(number + 2, numbers.stop)
        counts.seconds = time.monotonic() - started
        return counts

    def _wait(self, child: int, shared: mmap.mmap) -> str | None:
        """How a process ended, None if well."""
        seen, since = None, time.monotonic()
        while True:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return None if code == 0 else f"the process ended with {_named(code)}"
            if seen != (now := shared[:8]):
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > self._patience:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "waits without end"
            time.sleep(0.02)

    def _tell(self, counts, kind, number, why, told, target, content):
        often = counts.fails[why] = counts.fails.get(why, 0) + 1
        if often > _KEPT:
            return
        self._kept.mkdir(parents=True, exist_ok=True)
        path = self._kept / f"{kind.name}-{self._seed}-{number}"
        path.write_bytes(bytes.fromhex(content))
        if told:
            path.with_name(f"{path.name}.txt").write_text(told, errors="backslashreplace")
        print(
            f"FAIL {kind.name}: {why}; in the place of {target!r}: {path}\n"
            f"  python -m faults.fuzzing --kind={kind.name} --seed={self._seed} --only={number}",
            file=sys.stderr,
            flush=True,
        )


def _be(kind: Kind, seed: int, numbers: range, end: float | None, folder, shared) -> None:
    """What the process does, which ends in it."""
    code = 1
    try:
        with (folder / "log").open("w") as log:
            _silence()
            root = folder / "root"
            root.mkdir()
            os.environ.update(HOME=str(root / "home"), XDG_CACHE_HOME=str(root / "cache"))
            os.chdir(root)
            surface = kind.prepare(root)
            for trial in looping.well_formed(surface):
                if trial.outcome.what == "fail":
                    _note(log, trial)
            _limit_memory()
            _read_all(surface, kind.name, seed, numbers, end, folder, shared, log)
        code = 0
    except BaseException:
        (folder / "entry").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def _read_all(surface, name, seed, numbers: Iterable[int], end, folder, shared, log) -> None:
    read = refused = 0
    entry_file = (folder / "entry").open("wb", buffering=0)
    for number in numbers:
        if end is not None and time.monotonic() > end:
            return
        # Known to the parent whatever becomes of the process.
        entry = looping.entry_of(surface, name, seed, number)
        entry_file.seek(0)
        entry_file.write(entry.content)
        entry_file.truncate()
        (trial,) = looping.trials(surface, name, seed, [number])
        read += trial.outcome.what == "read"
        refused += trial.outcome.what == "refused"
        if trial.outcome.what == "fail":
            _note(log, trial)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        shared[:] = _STATE.pack(number, read, refused, 1, peak)


def _note(log, trial: looping.Trial) -> None:
    told = {
        "number": trial.number,
        "why": trial.outcome.why,
        "told": trial.outcome.told,
        "target": trial.entry.target,
        "content": trial.entry.content.hex(),
    }
    log.write(f"{json.dumps(told)}\n")
    log.flush()


def _silence() -> None:
    """Remarks of readers are of no interest here, but warnings of NumPy are faults."""
    warnings.simplefilter("error", RuntimeWarning)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)


def _limit_memory() -> None:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def _memory_disk() -> str | None:
    """Where files cost least."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _named(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
