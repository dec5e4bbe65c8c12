"""What a run is in the end, to the bit, and what may not get lost of it before."""

import hashlib
import json
import pathlib
from typing import Any

import tensorstore

# Of a record: seconds, and what trackers were told of the machine.
_TIMES = ("seconds", "observed")


def outcome(workdir: pathlib.Path) -> dict[str, Any]:
    """All of a run that has ended that must be the same each time.

    Args:
      workdir: of the run.

    Returns:
      "step" of its last checkpoint, digests of its "arrays" by name, the "records", "results".

    Raises:
      ValueError: something of it is missing or broken, which the message names.
    """
    steps = sorted(whole_checkpoints(workdir / "checkpoints"))
    if not steps:
        raise ValueError("there is no checkpoint")
    try:
        return {
            "step": steps[-1],
            "arrays": _arrays(workdir / "checkpoints" / str(steps[-1]) / "state"),
            "records": [
                _without_times(json.loads(line))
                for line in (workdir / "metrics.jsonl").read_text().splitlines()
            ],
            "results": json.loads((workdir / "results.json").read_text()),
        }
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from error


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the parts of two outcomes that are not the same."""
    found = [name for name in one if name != "arrays" and one[name] != other[name]]
    arrays = one["arrays"].keys() | other["arrays"].keys()
    changed = [n for n in arrays if one["arrays"].get(n) != other["arrays"].get(n)]
    return found + ([f"{len(changed)} arrays, one of them {min(changed)}"] if changed else [])


def whole_checkpoints(folder: pathlib.Path) -> dict[int, str]:
    """The checkpoints in a folder that are what was written: a digest of their digests by step."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.isdecimal() and (listed := path / "SHA256SUMS").is_file():
            text = listed.read_text(errors="replace")
            if all(_is(path / name, digest) for digest, name in map(_line, text.splitlines())):
                found[int(path.name)] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _line(line):
    digest, _, name = line.partition("  ")
    return digest, name


def _is(path, digest):
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest
    except OSError:
        return False


def _arrays(folder: pathlib.Path) -> dict[str, str]:
    """Digests of the compressed arrays, which are equal where the arrays are.

    Names and layout of Orbax's files depend on threads and time; what is in its store does not.
    """
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{folder}/"}).result()
    return {key.decode(): hashlib.sha256(store[key]).hexdigest() for key in store.list().result()}


def _without_times(record):
    if isinstance(record, dict):
        return {key: _without_times(v) for key, v in record.items() if key not in _TIMES}
    return record
