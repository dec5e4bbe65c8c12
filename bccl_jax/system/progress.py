"""How far a long job is: a bar where one can be shown, elsewhere a line a minute.

A thread of its own says the lines, so that they come too while one call takes many minutes: a
compilation, an epoch that is one program, a clustering.

Worker processes import this module: it must not import JAX.
"""

import contextlib
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

from tqdm import tqdm

# Seconds from one line to the next.
INTERVAL = 60.0
# Seconds before a job that is mostly short gets a bar of its own.
PATIENCE = 5.0


def duration(seconds: float) -> str:
    """Seconds as a person says them: "45 s", "12 min", "2 h 13 min", "3 d 4 h"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def rate(speed: float, unit: str) -> str:
    """Units a second: "95 images/s", "0.34 images/s"."""
    return f"{speed:,.0f} {unit}s/s" if speed >= 10 else f"{speed:.2g} {unit}s/s"


class Pace:
    """How fast a job goes, by what this process itself did of it."""

    def __init__(self):
        self._mark: float | None = None
        # Seconds and amount of work, now and at the last question. Pairs, for another thread asks.
        self._worked = self._asked = (0.0, 0)
        self._speed: float | None = None

    def start(self, now: float) -> None:
        """Counts time from here on, and not what passed since the last advance."""
        self._mark = now

    def advance(self, now: float, amount: int) -> None:
        """Counts work and the time that it took; before any start only the time is noted."""
        if self._mark is not None:
            seconds, done = self._worked
            self._worked = (seconds + now - self._mark, done + amount)
        self._mark = now

    def newest(self) -> float | None:
        """Amount a second since the last question, or as then if nothing came; None so far."""
        worked = self._worked
        seconds, amount = worked[0] - self._asked[0], worked[1] - self._asked[1]
        if amount and seconds > 0:
            self._speed, self._asked = amount / seconds, worked
        return self._speed


class Job(Protocol):
    """What the heartbeat asks how far it is."""

    def line(self, now: float, since: float) -> str | None:
        """Says it, or None where a bar does.

        Args:
          now: by the heartbeat's clock.
          since: when this job was begun, or an inner one ended.
        """


class Heartbeat:
    """Says every minute how far the innermost job under way is.

    Args:
      clock: seconds.
      interval: seconds between two lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, interval: float = INTERVAL):
        self.clock = clock
        self._interval = interval
        self._jobs: list[tuple[Job, float]] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, job: Job) -> None:
        """Follows a job, an inner one of those under way."""
        self._jobs = [*self._jobs, (job, self.clock())]
        if self._thread is None:
            self._ended = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._ended,), name="progress", daemon=True
            )
            self._thread.start()

    def end(self, job: Job) -> None:
        """Follows it no longer; the thread ends with the last job."""
        left = [entry for entry in self._jobs if entry[0] is not job]
        self._jobs = [*left[:-1], (left[-1][0], self.clock())] if left else []
        if left or self._thread is None:
            return
        self._ended.set()
        # It may hang on a console that takes no more.
        self._thread.join(timeout=1.0)
        self._thread = None

    def beat(self) -> None:
        """Says a line, if there is anything to say."""
        jobs = self._jobs
        if not jobs:
            return
        job, since = jobs[-1]
        text = job.line(self.clock(), since)
        if text is not None:
            say(text)

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(self._interval):
            self.beat()


HEARTBEAT = Heartbeat()


class Task:
    """A job of so many units, or of an unknown number.

    Args:
      what: names it.
      total: units of it; None if that is not known.
      done: before.
      unit: in the singular.
      bar: that shows it; None where lines do.
      clock: seconds.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        done: int,
        unit: str,
        bar: tqdm | None,
        clock: Callable[[], float],
    ):
        self.what = what
        self._total, self._done, self._unit = total, done, unit
        self._bar, self._clock = bar, clock
        self._pace = Pace()
        self._pace.start(clock())

    def advance(self, amount: int = 1) -> None:
        """Counts units that are done."""
        self._done += amount
        self._pace.advance(self._clock(), amount)
        if self._bar is not None:
            self._bar.update(amount)

    def line(self, now: float, since: float) -> str | None:
        """See `Job.line`."""
        if self._bar is not None:
            return None
        parts, done = [self.what], self._done
        if self._total is not None:
            parts.append(f"{done:,}/{self._total:,} {self._unit}s")
        speed = self._pace.newest()
        if speed is None:
            parts.append(f"for {duration(now - since)}")
        else:
            parts.append(rate(speed, self._unit))
            parts.append(f"{duration((self._total - done) / speed)} left")
        return "  ".join(parts)


@contextlib.contextmanager
def under_way(
    what: str,
    total: int | None = None,
    *,
    done: int = 0,
    unit: str = "image",
    delay: float = 0.0,
    shown: bool = True,
    heartbeat: Heartbeat | None = None,
) -> Iterator[Task]:
    """Shows how far a job is for as long as the context lasts.

    Args:
      what: names the job.
      total: units of it; of a job without it only lines are said, on a terminal too.
      done: of them before.
      unit: in the singular.
      delay: seconds before a bar appears; it vanishes at the end unless this is 0.
      shown: False says nothing.
      heartbeat: that says the lines; the process's own if None.

    Yields:
      The task, to be told of what is done.
    """
    heartbeat = heartbeat or HEARTBEAT
    bar = None
    if shown and total is not None:
        bar = create_bar(
            desc=what, total=total, initial=done, unit=unit, delay=delay, leave=not delay
        )
    task = Task(what, total, done, unit, bar, heartbeat.clock)
    if shown:
        heartbeat.begin(task)
    try:
        yield task
    finally:
        if shown:
            heartbeat.end(task)
        if bar is not None:
            bar.close()


def create_bar(**options) -> tqdm | None:
    """A bar on the terminal of stderr or in a notebook.

    Args:
      **options: of `tqdm`.

    Returns:
      The bar, or None where it could not be shown.
    """
    kind = _notebook_bar()
    if kind is None:
        return tqdm(file=sys.stderr, dynamic_ncols=True, **options) if _terminal_width() else None
    try:
        return kind(dynamic_ncols=True, **options)
    except Exception:  # whatever a notebook's widgets trip over: lines will do
        return None


def say(text: str, file: TextIO | None = None) -> None:
    """Prints a line past any bar, at once.

    A console that is gone, a closed ssh or a pipe that nobody reads, does not end a run.

    Args:
      text: the line.
      file: stderr if None, or in a notebook, which shows that in red, stdout.
    """
    if file is None:
        file = sys.stderr if _ipython() is None else sys.stdout
    if file is None:
        return
    with contextlib.suppress(OSError, ValueError):  # the second of a file that is closed
        tqdm.write(text, file=file)
        file.flush()


def _terminal_width() -> int:
    """Columns of stderr's terminal; 0 if it is none, or one without a width, as containers have."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    except (AttributeError, OSError, ValueError):  # no stderr, or a stand-in for one
        return 0


def _ipython():
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


def _notebook_bar() -> type[tqdm] | None:
    """The bar of widgets, if a notebook runs us that has them."""
    if _ipython() is None:
        return None
    with warnings.catch_warnings():
        # It warns where there are no widgets.
        warnings.simplefilter("ignore")
        from tqdm import autonotebook
    return None if autonotebook.tqdm is tqdm else autonotebook.tqdm
