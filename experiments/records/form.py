"""What a record of results.jsonl has to be for tables and figures to read it."""

import base64
from typing import Any

_SHOTS = ("all", "many", "medium", "few")
# Beyond any number of images, of epochs, or of seconds; a file may say anything.
_MOST = 2**40
# Percent, of one image of the most there are.
_LEAST = 100 / _MOST / 2


def check(record: Any) -> None:
    """Raises an error of Python's where a record is none; what older ones lack may be missing."""
    _each(str, record["code_hash"], record["config_hash"])
    _each(int, record["seed"], record["images"], record.get("batch_size", 1))
    if not 0 < record["images"] < _MOST:
        raise ValueError("'images' is no number of images")
    for name in ("commit", "device", "finished", "evaluated_on"):
        _each(str, record.get(name) or "")
    for name in ("seconds", "seconds_in_all"):
        _figures(name, [record.get(name, 0.0)])
    _each(dict, record["config"], record["last"], record["best"], record.get("versions", {}))
    if "batch_size" not in record:
        _each(int, record["config"]["batch_size"])
    _each(list, record["class_counts"], record.get("left_out") or [])
    _each(int, *record["class_counts"], *(record.get("left_out") or ()))
    if not all(0 <= count < _MOST for count in record["class_counts"]):
        raise ValueError("'class_counts' has no numbers of images")
    averaged = record.get("ema", {})
    for name, figures in [*record.items(), *averaged.items()]:
        if name in ("last", "best"):
            _check_evaluation(name, figures)
    for name in ("curve", "feature_space"):
        for point in record.get(name, ()):
            _each(int, point["epoch"])
    for point in record.get("curve", ()):
        _figures("curve", [*point["train"].values(), *(point.get(shot) for shot in _SHOTS)])
    if 8 * len(base64.b64decode(record["correct"], validate=True)) < record["images"]:
        raise ValueError("'correct' is of fewer images")


def _check_evaluation(name: str, figures: dict[str, Any]) -> None:
    _each(int, figures.get("epoch", 0))
    _each(list, figures.get("per_class", []))
    shots = [figures.get(shot) for shot in (*_SHOTS, "top1")]
    accuracies = [*shots, *figures.get("per_class", [])]
    _figures(name, accuracies, 0, 100 + 1e-6)
    if any(0 < accuracy < _LEAST for accuracy in filter(None, accuracies)):
        raise ValueError(f"{name!r} has accuracies of no number of images")


def _figures(name: str, values: list, least: float = -1e300, most: float = 1e300) -> None:
    numbers = [value for value in values if value is not None]
    _each((int, float), *numbers)
    if not all(least <= number <= most for number in numbers):
        raise ValueError(f"{name!r} has numbers that are none")


def _each(kind: type | tuple[type, ...], *values: Any) -> None:
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{type(value).__name__} in the place of another kind")
