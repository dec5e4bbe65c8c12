"""results.jsonl: one JSON object for each finished run, appended and never rewritten."""

import base64
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from bccl_jax.errors import WorkdirError
from bccl_jax.reporting.records import as_json
from bccl_jax.system.locks import lock

from ..designing.design import Cell
from .form import check

Record = dict[str, Any]
Key = tuple[str, str, int]


@dataclasses.dataclass(frozen=True)
class Paths:
    """Where an output directory keeps what.

    Attributes:
      root: the directory.
    """

    root: pathlib.Path

    @property
    def results(self) -> pathlib.Path:
        """The records of finished runs."""
        return self.root / "results.jsonl"

    def run(self, cell: Cell, code_hash: str) -> pathlib.Path:
        """The directory of a run; other code or another config never shares it."""
        name = f"{cell.dataset}-{cell.config_hash}-seed{cell.seed}"
        return self.root / "runs" / code_hash / name


def key(record: Record) -> Key:
    """What makes a record that of a certain run: (code hash, config hash, seed)."""
    return record["code_hash"], record["config_hash"], record["seed"]


def load(path: pathlib.Path) -> list[Record]:
    """The records of a file, none if it is missing, the last one of each run.

    Half a line at the end, of a process that was killed, is left out.

    Raises:
      WorkdirError: another line is no record.
    """
    if not path.exists():
        return []
    found = {}
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            check(record)
            found[key(record)] = record
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise WorkdirError(
                f"line {number} of {path} is not the record of a run ({error}); remove the line, "
                "and the run is made again"
            ) from error
    return list(found.values())


def append(path: pathlib.Path, record: Record) -> None:
    """Adds a record, whole or not at all as far as `load` sees it; processes take turns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        lock(file.fileno(), path, wait=True)
        _end_last_line(file)
        file.write(as_json(record).encode() + b"\n")


def _end_last_line(file) -> None:
    """Ends a record that lacks its line end, and drops half a one that a killed process left."""
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if start == len(content):
        return
    try:
        json.loads(content[start:])
        file.write(b"\n")
    except (ValueError, RecursionError):
        file.truncate(start)


def pack(correct: np.ndarray) -> str:
    """Bool [N] as text: base64 of its bits, the first image in the highest bit."""
    return base64.b64encode(np.packbits(np.asarray(correct, bool)).tobytes()).decode()


def unpack(text: str, count: int) -> np.ndarray:
    """The bool [`count`] that `pack` made text of."""
    bits = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(bits, count=count).astype(bool)
