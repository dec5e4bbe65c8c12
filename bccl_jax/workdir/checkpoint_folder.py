"""What lies in a directory of checkpoints: steps, how each scored, which are kept, what is dead.

A checkpoint is a folder that Orbax names by its step once it is whole. Nothing here imports JAX.
"""

import json
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from bccl_jax.errors import DamagedCheckpointError
from bccl_jax.system import digests
from bccl_jax.system.numbers import whole_number
from bccl_jax.system.regular_files import read_regular

# Orbax's: what is added to the name of a folder that is not whole yet.
UNFINISHED = ".orbax-checkpoint-tmp"
# Orbax writes these once more after a checkpoint's digests; no array depends on them.
NOT_IN_DIGESTS = ("_CHECKPOINT_METADATA", "commit_success.txt")
# What Orbax's own record says of a checkpoint, so that a lost list is not taken for an old version.
HAS_DIGESTS = {"digests": digests.LIST}
_SCORE = "metrics/metrics"
# A copy of the run's records as they were then, which hold where the run's own are damaged.
RECORDS = "records.jsonl"
# The step of the checkpoint that was the best one then, which may be its own.
BEST = "best.json"
# Of accuracies, epochs and classes.
_LARGEST = 2**53

Score = Mapping[str, float]


def steps(directory: pathlib.Path) -> list[int]:
    """The steps of which there is a checkpoint, from the first to the last."""
    there = directory.iterdir() if directory.is_dir() else ()
    found = (whole_number(path.name) for path in there if path.is_dir())
    return sorted({step for step in found if step is not None and (directory / str(step)).exists()})


def rank(score: Score) -> tuple[float, float, float]:
    """What the best checkpoint has most of.

    Accuracies compare over the same classes; of equally accurate epochs the earliest is the best.
    """
    return -score.get("lost_classes", 0), score["accuracy"], -score["epoch"]


def best(scores: Mapping[int, Score | None]) -> int | None:
    """The step of the best of some checkpoints; None where none was evaluated."""
    scored = {step: rank(score) for step, score in scores.items() if score is not None}
    return max(scored, key=scored.get, default=None)


def kept(scores: Mapping[int, Score | None]) -> set[int]:
    """Those of some checkpoints that are kept: the newest, the one before it, and the best."""
    return {*sorted(scores)[-2:], best(scores)} - {None}


def score(folder: pathlib.Path) -> Score | None:
    """What a checkpoint scored: "accuracy", "epoch", "lost_classes"; None if not evaluated.

    Raises:
      DamagedCheckpointError: it was evaluated, and its score is lost.
    """
    listed = digests_of(folder)
    path = folder / _SCORE
    if listed is not None:
        if _SCORE not in listed:
            return None
        if wrong := digests.damage(folder, {_SCORE: listed[_SCORE]}):
            raise DamagedCheckpointError(wrong[0])
    elif not path.exists():
        if "metrics" in _written(folder, "item_handlers"):
            raise DamagedCheckpointError(f"{_SCORE} is missing")
        return None
    try:
        found = json.loads(read_regular(path))
        sound = all(_is_number(found[name]) for name in ("accuracy", "epoch"))
        sound = sound and _is_number(found.get("lost_classes", 0))
    except OSError as error:
        raise DamagedCheckpointError(f"{_SCORE} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise DamagedCheckpointError(f"{_SCORE} is not what was written")
    return found


def best_then(folder: pathlib.Path) -> int | None:
    """The step of the best checkpoint as it was when another one was written.

    Returns:
      The step; None where none was evaluated yet, or by an earlier version, which noted none.

    Raises:
      DamagedCheckpointError: that other one is damaged.
    """
    listed = digests_of(folder)
    if listed is None or BEST not in listed:
        return None
    if wrong := digests.damage(folder, {BEST: listed[BEST]}):
        raise DamagedCheckpointError(wrong[0])
    try:
        found = json.loads(read_regular(folder / BEST))
    except (OSError, ValueError) as error:
        raise DamagedCheckpointError(f"{BEST} is not what was written") from error
    return found if isinstance(found, int) else None


def _is_number(value: Any) -> bool:
    # No whole number that a float cannot hold has a place among them.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < _LARGEST


def digests_of(folder: pathlib.Path) -> dict[str, str] | None:
    """The digests of a checkpoint's files; None for one of a time before they were written.

    Raises:
      DamagedCheckpointError: they are lost.
    """
    try:
        found = digests.listed(folder)
    except ValueError as error:
        raise DamagedCheckpointError(str(error)) from error
    if found is None and "digests" in _written(folder, "custom_metadata"):
        raise DamagedCheckpointError(f"{digests.LIST} is missing")
    return found


def _written(folder: pathlib.Path, key: str) -> Mapping:
    """What else Orbax wrote of a checkpoint under a key; nothing where that is damaged."""
    try:
        found = json.loads(read_regular(folder / "_CHECKPOINT_METADATA")).get(key)
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def remove_unfinished(directory: pathlib.Path) -> list[str]:
    """Removes what killed saves left in a directory that the caller holds; returns the names."""
    dead = [path for path in directory.glob(f"*{UNFINISHED}*") if path.is_dir()]
    for path in dead:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in dead]


def unfinished(directory: pathlib.Path, step: int) -> pathlib.Path:
    """The folder in which the checkpoint of a step is being written."""
    return directory / f"{step}{UNFINISHED}"


def free_name(directory: pathlib.Path, name: str) -> pathlib.Path:
    """A path in a directory that is not there: that of the name, or of the name and a number."""
    number, path = 2, directory / name
    while path.exists() or path.is_symlink():
        path = directory / f"{name}_{number}"
        number += 1
    return path


def move(directory: pathlib.Path, names: Iterable[int], to: pathlib.Path) -> list[pathlib.Path]:
    """Moves checkpoints out of a directory, each whole; returns where they lie."""
    moved = []
    for step in names:
        to.mkdir(exist_ok=True)
        place = free_name(to, str(step))
        (directory / str(step)).rename(place)
        moved.append(place)
    return moved
