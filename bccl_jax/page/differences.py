"""One run less another on the same test images: differences, and how sure they are."""

from typing import NamedTuple

import numpy as np

from bccl_jax.evaluation import statistics
from bccl_jax.page.told import Told
from bccl_jax.reporting.console import ACCURACIES


class Difference(NamedTuple):
    """A difference in percentage points.

    Attributes:
      mean: of it.
      low: of its 95 % interval over test images.
      high: of its interval.
    """

    mean: float
    low: float
    high: float


class Against(NamedTuple):
    """A run less another one.

    Attributes:
      run: the first.
      differences: by what differs, a key of `ACCURACIES`.
      p: of top-1 by sign flips over images, adjusted by Holm where several runs are compared.
    """

    run: Told
    differences: dict[str, Difference]
    p: float | None


def against(runs: list[Told]) -> tuple[list[Against], list[str]]:
    """Every other run less the first one.

    Args:
      runs: two or more.

    Returns:
      What can be compared, and of each other run a sentence that says why not.
    """
    first, *others = runs
    found, reasons = [], []
    for run in others:
        if reason := _unpaired(first, run):
            reasons.append(f"{run.name} against {first.name}: {reason}.")
            continue
        correct = _correct(run) - _correct(first)
        labels = run.looked.details.evaluation.judged.labels
        differences = _differences(correct, labels, run)
        found.append(Against(run, differences, statistics.sign_flip(correct[None])))
    adjusted = statistics.holm([each.p for each in found])
    return [each._replace(p=p) for each, p in zip(found, adjusted, strict=True)], reasons


def _correct(run: Told) -> np.ndarray:
    return run.looked.details.evaluation.correct.astype(np.int64)


def _unpaired(first: Told, run: Told) -> str:
    """Why two runs cannot be compared image by image; "" where they can."""
    for each in (first, run):
        if each.looked is None:
            return f"{each.name} was not looked at: {each.unseen.rstrip('.')}"
    if first.class_names != run.class_names:
        return "their classes are not the same"
    if first.parts.get("test") != run.parts.get("test"):
        return "their test images are not the same"
    one, other = (each.looked.details.evaluation for each in (first, run))
    if not np.array_equal(one.decoded, other.decoded):
        return "other pictures of their test images could be decoded"
    if not np.array_equal(one.judged.labels, other.judged.labels):
        return "their test images are not the same"
    if len(one.correct) < 2:
        return "they have fewer than two test images"
    return ""


def _differences(correct: np.ndarray, labels: np.ndarray, run: Told) -> dict[str, Difference]:
    found = {"top1": _interval(correct)}
    everyone = np.ones(len(run.class_counts), bool)
    for shot, group in {"all": everyone, **run.groups}.items():
        own = group[labels]
        if own.sum() < 2:
            continue
        # The mean over classes as one over images: each weighs what its class's share is.
        of_class = np.bincount(labels[own], minlength=len(group))
        weights = own.sum() / (of_class[labels[own]] * np.count_nonzero(of_class))
        found[shot] = _interval(correct[own] * weights)
    return {key: found[key] for key in ACCURACIES if key in found}


def _interval(differences: np.ndarray) -> Difference:
    low, high = statistics.interval(differences[None])
    return Difference(float(100 * differences.mean()), 100 * low, 100 * high)
