"""How long embeddings stay alike at the start of a run: a table from the courses of the records."""

from collections.abc import Sequence

import numpy as np

from ..records.gathering import Section
from ..records.results import Record
from ..records.runs import Runs
from .markdown import NONE, markdown
from .names import row_name

# Mean cosines between classes; embeddings that are all alike have 1, orthogonal classes 0.
_LEVELS = (0.8, 0.6)


def plateau(section: Section) -> str:
    """When each row's embeddings begin to tell classes apart, and what drives its backbone.

    Args:
      section: any.

    Returns:
      A Markdown table and a sentence; "" where no record has a course.
    """
    rows = [_row(runs, section) for runs in section.finished if _has_course(runs)]
    if not rows:
        return ""
    headings = [
        "row",
        "highest",
        *(f"epochs until below {level}" for level in _LEVELS),
        "within classes, end",
        "between, end",
        "gradient ratio: first tenth",
        "last tenth",
    ]
    note = (
        "Mean cosines between the embeddings of a batch, of different classes if not said "
        "otherwise, means over quarters of an epoch: their highest, after how many epochs they are "
        "back below a level for good, and at the end. Ratio: of the gradients' norms at the "
        "backbone's output, contrastive and centroid loss over classification loss, as weighted, "
        "in the first and the last tenth of a run. Medians over seeds."
    )
    return markdown(headings, rows) + "\n\n" + note


def epochs_until_below(values: Sequence[float], level: float, epochs: int) -> float:
    """After how many epochs a course is below a level and stays there.

    Args:
      values: [n] over a run of `epochs` epochs, evenly spaced, each the mean of one part.
      level: to be below of.
      epochs: of the run.

    Returns:
      The end of the last part that is not below; inf where that is the last of all.
    """
    above = np.flatnonzero(np.asarray(values) >= level)
    if not len(above):
        return 0.0
    parts = above[-1] + 1
    return float("inf") if parts == len(values) else epochs * parts / len(values)


def _has_course(runs: Runs) -> bool:
    return all(record.get("course", {}).get("cosine_between") for record in runs.records.values())


def _row(runs: Runs, section: Section) -> list[str]:
    each = np.array([_figures(record) for record in runs.records.values()])
    highest, *until, within, between, early, late = np.median(each, axis=0)
    return [
        row_name(runs, section),
        f"{highest:.2f}",
        *(NONE if np.isinf(epochs) else f"{epochs:.2f}" for epochs in until),
        f"{within:.2f}",
        f"{between:.2f}",
        f"{early:.2f}",
        f"{late:.2f}",
    ]


def _figures(record: Record) -> list[float]:
    course, epochs = record["course"], record["last"]["epoch"]
    between = course["cosine_between"]
    contrastive = np.array(course["contrastive_gradient"])
    ratio = contrastive / np.maximum(course["classification_gradient"], 1e-30)
    tenth = max(1, len(ratio) // 10)
    return [
        max(between),
        *(epochs_until_below(between, level, epochs) for level in _LEVELS),
        course["cosine_within"][-1],
        between[-1],
        float(np.mean(ratio[:tenth])),
        float(np.mean(ratio[-tenth:])),
    ]
