"""metrics.jsonl: one JSON object for each epoch, readable by anything."""

import json
import math
import pathlib
from typing import Any

import numpy as np

from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import read_regular, write_text

# Keys of a record that the run counts by.
_NUMBERS = {"step", "epoch"}


def as_json(value: Any) -> str:
    """JSON of one line that every reader takes: NaN and infinities, which JSON lacks, are null."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
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
    lines = text.splitlines(keepends=True)
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise TypeError("it is no JSON object")
            for name in _NUMBERS & {"step", *record}:
                if type(record[name]) is not int:
                    raise ValueError(f"{name!r} is no whole number")
            records.append(record)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            # A run that is killed while it writes leaves a last line without an end.
            if number == len(lines) and not line.endswith("\n"):
                return records
            raise WorkdirError(
                f"line {number} of {path} is not a record of a run ({error}); restore the file or "
                "name another --workdir"
            ) from error
    return records


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


class Records:
    """The records of a run, in memory and in its file.

    Args:
      path: the file.
      step: records of later steps, which a resumed run makes anew, are dropped.
      epochs: that are complete at that step.
      writes: False leaves the file to another process.

    Attributes:
      rows: the records.
      dropped: how many steps later than that step the file had records of.

    Raises:
      WorkdirError: the file does not hold one record for each complete epoch.
    """

    def __init__(self, path: pathlib.Path, step: int, epochs: int, writes: bool = True):
        self._path, self._writes = path, writes
        found = read(path)
        self.rows = [record for record in found if record["step"] <= step]
        self.dropped = max([0, *(record["step"] - step for record in found)])
        if len(self.rows) != epochs:
            raise WorkdirError(
                f"{path} has {len(self.rows)} records of the {epochs} epochs that are complete; "
                "restore the file or name another --workdir"
            )
        if not writes:
            return
        unfinished = path.with_suffix(".tmp")
        write_text(unfinished, "".join(as_json(row) + "\n" for row in self.rows))
        unfinished.replace(path)

    def append(self, record: dict) -> None:
        """Adds a record and writes it through to the file."""
        self.rows.append(record)
        if not self._writes:
            return
        with self._path.open("a") as file:
            file.write(as_json(record) + "\n")
