"""metrics.jsonl: one JSON object for each epoch, readable by anything."""

import json
import math
import pathlib
from typing import Any

import numpy as np

from bccl_jax.errors import WorkdirError
from bccl_jax.reporting.console import SHOTS
from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import read_regular, write_text


class BrokenRecordsError(WorkdirError):
    """A line of the file is no record.

    Attributes:
      what: is broken, and how, without the mend.
    """

    def __init__(self, what: str):
        super().__init__(f"{what}; restore the file or name another --workdir")
        self.what = what


# Keys of a record that the run counts by.
_NUMBERS = {"step", "epoch"}
# Those that have the figures of an evaluation.
_EVALUATIONS = {"eval", "eval_ema"}


def as_json(value: Any) -> str:
    """JSON of one line that every reader takes: NaN and infinities are null."""
    return json.dumps(finite(value), allow_nan=False)


def finite(value: Any) -> Any:
    """JSON values without NaN and infinities, which JSON lacks and become None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: pathlib.Path) -> list[dict]:
    """Returns the records of a file, none if it is missing; half a last line is left out.

    Raises:
      WorkdirError: another line is no record.
    """
    try:
        text = read_regular(path).decode(errors="replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise WorkdirError(
            f"{shown(path)} cannot be read ({error.strerror}); mend that or name another --workdir"
        ) from error
    return _of_text(text, path)


def _of_text(text: str, path: pathlib.Path) -> list[dict]:
    lines = text.splitlines(keepends=True)
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            _check(record)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # A run that is killed while it writes leaves a last line without an end.
            if number == len(lines) and not line.endswith("\n"):
                return records[: number - 1]
            raise BrokenRecordsError(
                f"line {number} of {path} is not a record of a run ({error})"
            ) from error
        records.append(record)
    return records


def _check(record: Any) -> None:
    """Raises an error of Python's where a record has what its readers cannot take."""
    for name in _NUMBERS & {"step", *record}:
        if type(record[name]) is not int:
            raise ValueError(f"{name!r} is no whole number")
    quarters = record.get("quarters", {}).values()
    if not all(isinstance(means, list) and all(map(_is_figure, means)) for means in quarters):
        raise ValueError("'quarters' has no numbers")
    if quarters and "epoch" not in record:
        raise ValueError("it is of no epoch")
    if not all(map(_is_figure, record.get("train", {}).values())):
        raise ValueError("'train' has no numbers")
    for name in _EVALUATIONS & {*record}:
        figures = [record[name][shot] for shot in SHOTS] + record[name]["per_class"]
        if not all(map(_is_figure, figures)):
            raise ValueError(f"{name!r} has no numbers")


def _is_figure(value: Any) -> bool:
    """Whether it is a number that NumPy takes, or null."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def course(records: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of a metric that records keep by quarters of an epoch.

    Args:
      records: of a run; those that lack the metric are passed over.
      name: of the metric.

    Returns:
      The middle of each quarter, in epochs since the start of the run, and the means, NaN where
      one was not finite; both float64 [n].
    """
    when, values = [], []
    for record in records:
        means = record.get("quarters", {}).get(name, [])
        when += [record["epoch"] - 1 + (i + 0.5) / len(means) for i in range(len(means))]
        values += means
    return np.array(when, float), np.array(values, float)  # None becomes NaN


def _free(path: pathlib.Path) -> pathlib.Path:
    """Where a damaged file is kept, over nothing that is there."""
    number, found = 2, path.with_name(f"{path.name}.damaged")
    while found.exists():
        number, found = number + 1, path.with_name(f"{path.name}.damaged{number}")
    return found


class Records:
    """The records of a run, in memory and in its file.

    Args:
      path: the file.
      step: records of later steps, which a resumed run makes anew, are dropped.
      epochs: that are complete at that step.
      writes: False leaves the file to another process.
      kept: what the checkpoint of that step has of them, as `text` gave it; None of a checkpoint
        of a time before it had any. Where the file says something else, these hold.

    Attributes:
      rows: the records.
      dropped: how many steps later than that step the file had records of.
      mended: what was wrong with the file, in words; None where nothing was.

    Raises:
      WorkdirError: the file does not hold one record for each complete epoch.
    """

    def __init__(
        self,
        path: pathlib.Path,
        step: int,
        epochs: int,
        writes: bool = True,
        kept: str | None = None,
    ):
        self._path, self._writes, self.mended = path, writes, None
        try:
            found = read(path)
        except BrokenRecordsError as error:
            if kept is None:
                raise
            found, self.mended = [], error.what
        self.rows = [record for record in found if record["step"] <= step]
        self.dropped = max([0, *(record["step"] - step for record in found)])
        if kept is not None and self.rows != (rows := _of_text(kept, path)):
            self.rows = rows
            wrong = "is not what was written" if path.exists() else "is missing"
            self.mended = self.mended or f"{path} {wrong}"
        told = [record.get("epoch") for record in self.rows]
        if told != [*range(1, epochs + 1)]:
            others = "" if len(told) != epochs else ", not one of each,"
            raise WorkdirError(
                f"{path} has {len(told)} records{others} of the {epochs} epochs that are complete; "
                "restore the file or name another --workdir"
            )
        self._lines = [as_json(row) + "\n" for row in self.rows]
        if not writes:
            return
        if self.mended and path.exists():
            path.rename(_free(path))
        unfinished = path.with_suffix(".tmp")
        write_text(unfinished, self.text)
        unfinished.replace(path)

    @property
    def text(self) -> str:
        """What the file has, or is to have."""
        return "".join(self._lines)

    def append(self, record: dict) -> None:
        """Adds a record and writes it through to the file."""
        self.rows.append(record)
        self._lines.append(as_json(record) + "\n")
        if not self._writes:
            return
        with self._path.open("a") as file:
            file.write(self._lines[-1])
