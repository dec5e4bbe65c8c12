"""What a person sees of a run: how far it is, a line an evaluation, the final table."""

import contextlib
import dataclasses
import math
import pathlib
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping

import ml_collections

from bccl_jax.data.split import Dataset
from bccl_jax.reporting import remarks
from bccl_jax.system import progress

SHOTS = ("all", "many", "medium", "few")
# Columns of accuracies: the field of a record, and how a table heads it.
ACCURACIES = {"top1": "top-1", **{shot: shot for shot in SHOTS}}

# Characters of a line at a run's end.
WIDTH = 100


def tested(record: dict) -> tuple[int, int]:
    """Over how many classes the mean of an evaluation's record is, and how many there are."""
    per_class = record["per_class"]
    return sum(accuracy is not None for accuracy in per_class), len(per_class)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def table(rows: dict[str, dict]) -> str:
    """Formats evaluations as a table.

    Args:
      rows: records of evaluations by their label.

    Returns:
      The table: accuracy of the images (top-1), means of the accuracies of all classes and of each
      shot group, calibration error, all in percent, "-" for an empty shot group; and over how many
      classes "all" is. `remarks.explain` says the rest.
    """
    corner = "accuracy, %"
    width = max(map(len, (corner, *rows)))
    headings = [*ACCURACIES.values(), "ECE"]
    lines = [f"{corner:<{width}}" + "".join(f"{h:>7}" for h in headings) + f"{'classes':>14}"]
    for label, record in rows.items():
        # Records of older runs lack some.
        cells = [record.get(name) for name in (*ACCURACIES, "calibration_error")]
        count = "{} of {}".format(*tested(record))
        lines.append(
            f"{label:<{width}}" + "".join(f"{_cell(c):>7}" for c in cells) + f"{count:>14}"
        )
    return "\n".join(lines)


def wrapped(text: str) -> str:
    """Lines of words as lines of `WIDTH` characters at most; what goes on is indented.

    A single word may be longer, such as the path of a file, which is to be copied in whole.
    """
    return "\n".join(
        textwrap.fill(
            line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        for line in text.splitlines()
    )


def announcement(
    config: ml_collections.ConfigDict, dataset: Dataset, steps: int, held_out: int = 0
) -> str:
    """Says what a run will do.

    Args:
      config: sized to the data.
      dataset: of the run.
      steps: of an epoch.
      held_out: training images that the method keeps apart.

    Returns:
      A line, and one for each note on the data.
    """
    sizes = f"{len(dataset.train):,} training images of {dataset.num_classes:,} classes"
    sizes += f" ({held_out:,} held out by {config.method.name})" if held_out else ""
    monitored = f"{len(dataset.monitored):,} {dataset.chosen_on} images"
    budget = f"{config.epochs} epochs of {steps} steps, batch {config.batch_size}"
    rate = f"learning rate {config.optimizer.learning_rate:g}"
    lines = [f"{config.data.name}: {sizes}, {monitored}; {budget}, {rate}", *dataset.notes]
    lines += remarks.untested(dataset)
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a run has to do.

    Attributes:
      epochs: of it.
      steps: of an epoch.
      batch_size: training images of a step.
    """

    epochs: int
    steps: int
    batch_size: int

    @property
    def total(self) -> int:
        """Steps of the run."""
        return self.epochs * self.steps

    def position(self, step: int) -> str:
        """Says what is done after a step."""
        complete, within = divmod(step, self.steps)
        epochs = f"{complete} of {self.epochs} epochs"
        if within:
            epochs += f" and {within:,} of the next one's {self.steps:,} steps"
            epochs += f", {within * self.batch_size:,} images,"
        return f"step {step:,} of {self.total:,} ({epochs} done)"


def standing(
    workdir: pathlib.Path, budget: Budget, done: int, again: int, saved: pathlib.Path | None
) -> str:
    """Says where a run begins, or goes on.

    Args:
      workdir: of the run.
      budget: of the run.
      done: steps done before.
      again: steps after these that were recorded but not saved, before the run was killed.
      saved: the checkpoint that the state came from, None if there was none.

    Returns:
      A line.
    """
    if saved is None:
        lost = f" anew: its {again:,} recorded steps were not saved in a checkpoint"
        return f"begins in {workdir}" + (lost if again else "")
    if done >= budget.total:
        return (
            f"the run in {workdir} is complete, {budget.position(done)}; nothing is left to train: "
            "--mode=eval evaluates it, and more epochs or other data start from it by "
            "config.model.pretrained"
        )
    lost = f"; the {again:,} steps recorded after it are made anew" if again else ""
    return f"goes on after {budget.position(done)} from {saved}{lost}"


class Progress:
    """How far a training is: a live bar over its steps, or a line a minute where none can be shown.

    Args:
      budget: of the run.
      done: steps done before.
      first: what comes before the first step.
      pauses: by name what is done between epochs, and after which (epoch -> bool).
      shown: False says nothing at all.
      heartbeat: that says the lines; the process's own if None.
    """

    def __init__(
        self,
        budget: Budget,
        done: int,
        first: str = "compiling the step",
        pauses: Mapping[str, Callable[[int], bool]] | None = None,
        shown: bool = True,
        heartbeat: progress.Heartbeat | None = None,
    ):
        self._budget, self._done, self._pauses, self._shown = budget, done, pauses or {}, shown
        self._heartbeat = heartbeat or progress.HEARTBEAT
        self._first = first if done < budget.total else "complete"
        self._epoch, self._loss = 0, math.nan
        self._pace = progress.Pace()
        # When the newest step was read, how many at a time and how long those took.
        self._since: float | None = None
        self._newest: tuple[int, float] | None = None
        self._said = done
        self._lasted: dict[str, float] = {}
        self._bar = None

    def __enter__(self):
        if not self._shown:
            return self
        self._bar = progress.create_bar(
            total=self._budget.total,
            initial=self._done,
            unit="step",
            smoothing=0.05,
            desc=self._first,
        )
        if self._bar is None and self._done < self._budget.total:
            progress.say(f"{self._first}; a line comes every minute")
        self._heartbeat.begin(self)
        return self

    def __exit__(self, *_):
        if self._shown:
            self._heartbeat.end(self)
        if self._bar is not None:
            # It stays where it stands.
            self._bar.close()

    def advance(self, steps: int, epoch: int, loss: float) -> None:
        """Counts steps whose metrics were read; the first call ends the compilation."""
        now = self._heartbeat.clock()
        self._pace.advance(now, steps)
        self._done += steps
        self._epoch, self._loss = epoch, loss
        if steps and self._since is not None:
            self._newest = steps, now - self._since
        if steps or self._since is None:
            self._since = now
        if self._bar is None:
            return
        self._bar.set_description(f"epoch {epoch}", refresh=False)
        if math.isfinite(loss):
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self._bar.update(steps)

    @contextlib.contextmanager
    def pause(self, name: str) -> Iterator[None]:
        """Leaves the time of what is done between epochs out of the speed of the steps."""
        began = self._heartbeat.clock()
        yield
        self._since = self._heartbeat.clock()
        self._lasted[name] = self._since - began
        self._pace.start(self._since)

    def line(self, now: float, since: float) -> str | None:
        """See `progress.Job.line`."""
        if self._bar is not None or self._done >= self._budget.total:
            return None
        if self._since is None:
            return f"{self._first}  for {progress.duration(now - since)}"
        done = self._done
        parts = [f"epoch {self._epoch}/{self._budget.epochs}"]
        parts.append(f"step {done:,}/{self._budget.total:,}")
        if math.isfinite(self._loss):
            parts.append(f"loss {self._loss:.3f}")
        speed = self._pace.newest()
        if speed is not None:
            parts.append(progress.rate(speed * self._budget.batch_size, "image"))
            parts.append(f"{progress.duration(self._left(speed))} left")
        if done == self._said:
            parts.append(self._waiting(now))
        self._said = done
        return "  ".join(parts)

    def _left(self, speed: float) -> float:
        """Seconds of the steps left at that speed, and of the pauses as long as the last ones."""
        seconds = (self._budget.total - self._done) / speed
        left = range(self._done // self._budget.steps + 1, self._budget.epochs + 1)
        for name, due in self._pauses.items():
            seconds += self._lasted.get(name, 0.0) * sum(map(due, left))
        return seconds

    def _waiting(self, now: float) -> str:
        """What is under way where no step was read since the last line."""
        under_way = f"under way for {progress.duration(now - self._since)}"
        if self._newest is None:
            return f"({under_way})"
        steps, seconds = self._newest
        what = "a step" if steps == 1 else f"{steps:,} steps at a time"
        return f"({what}: {under_way}, the last took {progress.duration(seconds)})"

    def evaluated(self, record: dict, epochs: int) -> None:
        """Prints what an evaluation found."""
        if not self._shown:
            return
        shown = [f"{heading} {_cell(record['eval'][n])}" for n, heading in ACCURACIES.items()]
        found = "  ".join(shown)
        if "eval_ema" in record:
            found += f"  (averaged weights: all {_cell(record['eval_ema']['all'])})"
        some, every = tested(record["eval"])
        if some < every:
            found += f"  ({some} of {every} classes)"
        if "undecoded" in record["eval"]:
            found += f"  ({record['eval']['undecoded']} pictures cannot be decoded)"
        progress.say(
            f"epoch {record['epoch']:>3}/{epochs}  loss {record['train']['loss']:.3f}  {found}",
            file=sys.stdout,
        )
