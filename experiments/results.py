"""results.jsonl: one JSON object for each finished run, appended and never rewritten."""

import base64
import contextlib
import fcntl
import json
import pathlib
from typing import Any

import numpy as np

from bccl_jax.errors import WorkdirError

Record = dict[str, Any]
Key = tuple[str, str, int]


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
        try:
            record = json.loads(line)
            found[key(record)] = record
        except (ValueError, TypeError, KeyError) as error:
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
    with path.open("a+b") as file, _locked(file):
        size = file.seek(0, 2)
        if size:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                _drop_half_a_line(file)
        file.write(json.dumps(record).encode() + b"\n")


def _drop_half_a_line(file) -> None:
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


@contextlib.contextmanager
def _locked(file):
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
        file.flush()
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def pack(correct: np.ndarray) -> str:
    """Bool [N] as text: base64 of its bits, the first image in the highest bit."""
    return base64.b64encode(np.packbits(np.asarray(correct, bool)).tobytes()).decode()


def unpack(text: str, count: int) -> np.ndarray:
    """The bool [`count`] that `pack` made text of."""
    bits = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(bits, count=count).astype(bool)
