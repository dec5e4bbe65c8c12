"""Many trials, drawn by a seed, and the table of what came of them."""

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import random
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence

from faults import references
from faults.kinds import KINDS
from faults.kinds.kind import Kind
from faults.subjects import SUBJECTS, write_pictures
from faults.trial import FailedTrial, Reference, Trial


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Which trial it is: of the same seed and number it is the same one.

    Attributes:
      seed: of the campaign.
      number: of the trial in it, from 0.
      kind: of the fault.
      subject: name of the run.
    """

    seed: int
    number: int
    kind: Kind
    subject: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of a trial.

    Attributes:
      drawn: which one it was.
      told: sentences that commands ended on.
      log: what was done.
      failure: what did not hold; None where all did.
    """

    drawn: Drawn
    told: tuple[str, ...]
    log: tuple[str, ...]
    failure: str | None


def draw(seed: int, number: int, kinds: Sequence[Kind]) -> Drawn:
    """One trial of a seed."""
    rng = random.Random(f"{seed} {number}")
    [kind] = rng.choices(kinds, [kind.share for kind in kinds])
    return Drawn(seed, number, kind, rng.choice(kind.subjects))


def usable(names: Sequence[str] = ()) -> list[Kind]:
    """The kinds of some names, all of them by default, that this process may do.

    Raises:
      KeyError: there is no such kind.
    """
    kinds = [KINDS[name] for name in names] or list(KINDS.values())
    return [kind for kind in kinds if not kind.needs_root or os.geteuid() == 0]


class Campaign:
    """Trials in a folder, which has the references too.

    Args:
      folder: of it; folders of trials that failed stay there.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._references: dict[str, Reference] = {}
        self._making = threading.Lock()
        # Seconds that were spent on them, which no trial is to be short of.
        self.preparing = 0.0
        self._pictures = folder / "pictures"
        write_pictures(self._pictures)

    def reference(self, name: str) -> Reference:
        """The reference of a subject, made when it is asked for."""
        with self._making:
            if name not in self._references:
                place, started = self.folder / "references" / name, time.monotonic()
                self._references[name] = references.make(SUBJECTS[name], place, self._pictures)
                self.preparing += time.monotonic() - started
            return self._references[name]

    def run(self, drawn: Drawn) -> Verdict:
        """Does one trial."""
        reference = self.reference(drawn.subject)
        folder = self.folder / f"trial_{drawn.seed}_{drawn.number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        rng = random.Random(f"{drawn.seed} {drawn.number} within")
        trial = Trial(SUBJECTS[drawn.subject], reference, folder, self._pictures, rng)
        failure = None
        try:
            drawn.kind.do(trial)
        except FailedTrial as error:
            failure = str(error)
        except Exception:  # the harness is at fault, or met what it does not know
            failure = f"the trial itself failed: {traceback.format_exc()}"
        if failure is None:
            shutil.rmtree(folder, ignore_errors=True)
        return Verdict(drawn, tuple(trial.told), tuple(trial.log), failure)

    def runs(self, drawn: Iterator[Drawn], at_once: int, done: Callable[[Verdict], None]) -> None:
        """Does trials, so many at once, and hands on each verdict as it comes."""
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    one = next(drawn, None)
                if one is None:
                    return
                verdict = self.run(one)
                with lock:
                    done(verdict)

        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            for future in [pool.submit(work) for _ in range(at_once)]:
                future.result()


def drawn_until(
    seed: int,
    kinds: Sequence[Kind],
    first: int,
    trials: int | None,
    minutes: float | None,
    preparing: Callable[[], float] = lambda: 0.0,
) -> Iterator[Drawn]:
    """Trials of a seed from a number on, for so many trials, or minutes without the preparation."""
    end = time.monotonic() + 60 * minutes if minutes else None
    numbers = itertools.count(first) if trials is None else range(first, first + trials)
    for number in numbers:
        if end is not None and time.monotonic() - preparing() > end:
            return
        yield draw(seed, number, kinds)


def table(verdicts: Sequence[Verdict]) -> str:
    """What came of trials, a row for each kind, in Markdown."""
    counts = collections.defaultdict(collections.Counter)
    for verdict in verdicts:
        row = counts[verdict.drawn.kind.name]
        row["trials"] += 1
        row["failed"] += verdict.failure is not None
        row["told"] += verdict.failure is None and bool(verdict.told)
    lines = [
        "| kind | what is done | trials | the same bits at once | after a sentence | FAIL |",
        "|---|---|---|---|---|---|",
    ]
    total = sum(counts.values(), collections.Counter())
    rows = [(f"`{n}`", KINDS[n].about, counts[n]) for n in KINDS if n in counts]
    for name, about, row in [*rows, ("all", "", total)]:
        silent = row["trials"] - row["told"] - row["failed"]
        figures = (row["trials"], silent, row["told"], row["failed"])
        lines.append(f"| {name} | {about} | {' | '.join(map(str, figures))} |")
    return "\n".join(lines)
