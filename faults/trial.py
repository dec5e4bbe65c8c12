"""One trial: a run, what is done to it, and whether it came to the same bits or lost nothing."""

import dataclasses
import json
import pathlib
import random
import re
import shutil
import signal
import time
from typing import Any

from faults import forks
from faults.outcome import differing, outcome, whole_checkpoints
from faults.subjects import Subject

# Seconds in which a command ends whatever was done to it.
PATIENCE = 150.0
_LONGEST_SENTENCE = 1500
_LONGEST_TOLD = 6000
# By which a command may end that was asked to stop, or lost another process of its run.
_ASKED = {128 + number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)} | {
    128 + number for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGPIPE)
}
# Older versions of XLA say so at length whenever they load what is in a cache of compiled programs,
# which commands on a CPU have in trials alone.
_LOADED = re.compile(r"^E\d{4} .*cpu_aot_loader.*\n", re.MULTILINE)
# What a run says that goes on without its best checkpoint.
_ANOTHER_BEST = "the best of those that are left is taken for the best"
# By which the C library ends a process whose new thread finds no memory for its data.
_NO_MEMORY_OF_A_THREAD = 127
_LOST = 128 + signal.SIGABRT


class FailedTrial(AssertionError):
    """What was promised did not hold; the message says what."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """A run of a subject that nothing disturbed.

    Attributes:
      outcome: see `outcome.outcome`.
      seconds: that it took.
      operations: on files, as the file layer counts them.
      evaluated: `figures` of `--mode=eval` in the directories below, by their names.
      begun: a directory of one that was killed with two records of an epoch left.
      complete: its directory.
    """

    outcome: dict[str, Any]
    seconds: float
    operations: int
    evaluated: dict[str, list[str]]
    begun: pathlib.Path
    complete: pathlib.Path


@dataclasses.dataclass
class Ended:
    """How a command ended: its exit code and what it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def refused(self) -> str | None:
        """The sentence that it ended on, if it did."""
        found = re.findall(r"^error: (.+)$", self.stderr, re.MULTILINE)
        return found[-1] if found and self.code == 1 else None


class Trial:
    """A run to which faults are done.

    Args:
      subject: of the run.
      reference: one of it that nothing disturbed.
      folder: its own, and new; the run's directory is `run` in it.
      pictures: the folder of photographs, of which it has a copy where the subject reads them.
      rng: where all that is random in it comes from.

    Attributes:
      state: that it began from, "begun", "complete" or None.
      told: the sentences that commands ended on.
      log: what was done, line by line.
    """

    def __init__(
        self,
        subject: Subject,
        reference: Reference,
        folder: pathlib.Path,
        pictures: pathlib.Path,
        rng: random.Random,
    ):
        self.subject, self.reference, self.folder, self.rng = subject, reference, folder, rng
        self.workdir = folder / "run"
        self.pictures = pictures
        self.state: str | None = None
        self.told: list[str] = []
        self.log: list[str] = []

    def note(self, line: str) -> None:
        """Adds a line to the log, which a failed trial shows."""
        self.log.append(line)

    def given(self, state: str) -> None:
        """Begins from the directory of a run that was killed, "begun", or that is "complete"."""
        shutil.copytree(getattr(self.reference, state), self.workdir)
        self.state = state

    def start(self, *arguments: str, before=(), **how: Any) -> list[forks.Process]:
        """Starts the command that trains: one process or as many as the run has.

        Args:
          *arguments: beside its own.
          before: calls within the processes, see `forks.start`.
          **how: the same.
        """
        shared = {}
        if self.subject.processes > 1:
            shared["JAX_COORDINATOR_ADDRESS"] = f"localhost:{forks.free_port()}"
            shared["JAX_NUM_PROCESSES"] = str(self.subject.processes)
            shared["BCCL_JAX_HEARTBEAT_SECONDS"] = "10"
        return [
            forks.start(
                *self.subject.arguments(self.pictures),
                f"--workdir={self.workdir}",
                *arguments,
                before=[("faults.injection", "without_picture", {}), *before],
                JAX_PLATFORMS="cpu",
                **(shared | {"JAX_PROCESS_ID": str(index)} if shared else {}),
                **how,
            )
            for index in range(self.subject.processes)
        ]

    def ended(
        self, processes: list[forks.Process], killed: bool = False, silent: bool = False
    ) -> list[Ended]:
        """Waits for processes and judges how each of them ended.

        Args:
          processes: as `start` gives them.
          killed: whether SIGKILL may have ended them, or a library by a signal of its own for what
            was taken from it.
          silent: whether nothing that they write to stderr comes here.

        Raises:
          FailedTrial: one hangs, or has said more than a sentence, or ended as none may.
        """
        end = time.monotonic() + PATIENCE
        found = []
        for process in processes:
            while process.poll() is None:
                if time.monotonic() > end:
                    for other in processes:
                        other.send_signal(signal.SIGKILL)
                    raise FailedTrial(f"hangs after {PATIENCE:g} s: {_last(process)}")
                time.sleep(0.01)
        for process in processes:
            stdout, stderr = process.communicate()
            found.append(Ended(process.returncode, stdout, _LOADED.sub("", stderr)))
            self._judge(found[-1], killed, silent)
        return found

    def _judge(self, ended: Ended, killed: bool, silent: bool) -> None:
        self.note(f"ended by {ended.code}: {(ended.stderr.strip().splitlines() or [''])[-1]}")
        if killed and (ended.code < 0 or ended.code == _NO_MEMORY_OF_A_THREAD):
            return
        if "Traceback (most recent call last)" in ended.stderr + ended.stdout:
            raise FailedTrial(f"a traceback: {ended.stderr[-3000:]}")
        allowed = {0, 1, *_ASKED}
        if self.subject.processes > 1:
            # JAX itself aborts a process that finds another one gone.
            allowed |= {_LOST, -signal.SIGABRT}
        if ended.code not in allowed:
            raise FailedTrial(f"exit code {ended.code}: {ended.stderr[-3000:]}")
        sentences = re.findall(r"^error: (.+)$", ended.stderr, re.MULTILINE)
        if ended.code == 1 and len(sentences) != 1 and not silent:
            raise FailedTrial(
                f"{len(sentences)} sentences where one belongs: {ended.stderr[-3000:]}"
            )
        if sentences and len(sentences[-1]) > _LONGEST_SENTENCE:
            raise FailedTrial(f"a sentence of {len(sentences[-1])} letters: {sentences[-1][:500]}")
        if ended.code not in (-signal.SIGABRT,) and len(ended.stderr) > _LONGEST_TOLD:
            raise FailedTrial(f"{len(ended.stderr)} letters on stderr: {ended.stderr[:3000]}")
        self.told += sentences

    def train(
        self, *arguments: str, killed: bool = False, silent: bool = False, **how: Any
    ) -> list[Ended]:
        """`start` and `ended` at once."""
        return self.ended(self.start(*arguments, **how), killed, silent)

    def evaluate(self, *arguments: str) -> Ended:
        """The command that evaluates, to its end."""
        return self.ended([self.evaluating(*arguments)])[0]

    def evaluating(self, *arguments: str) -> forks.Process:
        """Starts it."""
        given = (f"--workdir={self.workdir}", "--mode=eval", *arguments)
        return forks.start(*given, JAX_PLATFORMS="cpu")

    def resume(self, *arguments: str) -> None:
        """Gives the command again, undisturbed, and compares with the run that was not disturbed.

        Raises:
          FailedTrial: it does not end well, or not to the same bits.
        """
        told = ""
        for ended in self.train(*arguments):
            if ended.code:
                raise FailedTrial(
                    f"does not go on, but ends by {ended.code}: {ended.stderr[-3000:]}"
                )
            told += ended.stdout + ended.stderr
        self.compare(another_best=_ANOTHER_BEST in told)

    def compare(self, another_best: bool = False) -> None:
        """Compares the run, which has ended, with the one that was not disturbed.

        Args:
          another_best: whether it has said that the best checkpoint is damaged and another one was
            taken for the best, as the user asked for.

        Raises:
          FailedTrial: it is another one.
        """
        try:
            found = outcome(self.workdir)
        except ValueError as error:
            raise FailedTrial(f"has ended, and {error}") from error
        # As JSON has it, for the reference's.
        undisturbed = json.loads(json.dumps(self.reference.outcome))
        if another_best:
            for name in ("best", "best_epoch"):
                del undisturbed["results"][name], found["results"][name]
        if parts := differing(undisturbed, found):
            raise FailedTrial(f"other bits: {'; '.join(parts)}")

    def whole(self) -> dict[int, str]:
        """The checkpoints that are what was written, where they belong and set aside."""
        aside = self.workdir / "set_aside"
        return whole_checkpoints(aside) | whole_checkpoints(self.workdir / "checkpoints")

    def nothing_lost(self, before: dict[int, str]) -> None:
        """Checks that no whole checkpoint is gone but for two newer ones that took its place.

        Args:
          before: `whole()` of a time before.

        Raises:
          FailedTrial: one is.
        """
        now = self.whole()
        for step in before:
            if step not in now and sum(other > step for other in now) < 2:
                raise FailedTrial(f"the checkpoint of step {step} is gone")


def figures(ended: Ended) -> list[str]:
    """The lines of an evaluation that have figures."""
    return [line for line in ended.stdout.splitlines() if re.search(r"\d\.\d", line)]


def _last(process):
    try:
        lines = process.said().strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
