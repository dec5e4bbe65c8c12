"""Tables of every method: what it costs and reaches, and one setting in full."""

import datetime
from collections.abc import Mapping

from bccl_jax.reporting.console import SHOTS

from ..records.gathering import Section
from ..records.reading import batch_size
from ..records.runs import Runs
from .leaderboard import best_first, name
from .made_with import each
from .markdown import NONE, accuracy, markdown, number

FIGURES = (*SHOTS, "calibration_error")


def overview(
    sections: Mapping[str, Section],
    papers: Mapping[str, str],
    ratios: Mapping[str, float],
    printed: Section,
) -> str:
    """A row for each method: its paper, the cost of a step, what is printed, what was measured.

    Args:
      sections: by what the table calls the size, of one experiment.
      papers: by row, authors and year.
      ratios: by row, time of a step over that of plain cross-entropy.
      printed: the section whose printed figures are shown.

    Returns:
      A Markdown table.
    """
    rows = []
    for index, runs in enumerate(printed.rows):
        row, figures = runs.row.name, printed.paper(runs.row)
        rows.append(
            [
                name(runs),
                papers[row],
                number(ratios[row], "{:.2f}") if row in ratios else NONE,
                str(figures["all"]) if figures else NONE,
                *(_all(section.rows[index]) for section in sections.values()),
            ]
        )
    return markdown(["method", "paper", "a step", "printed", *sections], rows)


def in_full(section: Section, seconds: Mapping[str, float]) -> str:
    """Every finished row of a setting: accuracies by shot group, calibration error, time.

    Args:
      section: with a record at least.
      seconds: by row, of a training step at this size; may lack rows.

    Returns:
      A Markdown table and what made it.
    """
    headings = [
        "method",
        "seeds",
        "all",
        "many",
        "medium",
        "few",
        "ECE",
        "a step, ms",
        "training, s",
    ]
    rows = [
        [
            name(runs),
            str(len(runs.records)),
            *(accuracy(runs.accuracy(figure)) for figure in FIGURES),
            *_times(runs, seconds.get(runs.row.name)),
        ]
        for runs in best_first(section)
    ]
    return f"{markdown(headings, rows)}\n\n{_made_with(section)}"


def _all(runs: Runs) -> str:
    """Accuracy over all classes, and of how many seeds where they are not three."""
    if not runs.records:
        return NONE
    seeds = len(runs.records)
    few = "" if seeds == 3 else f" ({seeds} seed{'s' if seeds > 1 else ''})"
    return accuracy(runs.accuracy("all")) + few


def _times(runs: Runs, of_step: float | None) -> tuple[str, str]:
    """Milliseconds of a step and seconds of all steps of a run."""
    if of_step is None:
        return NONE, NONE
    record = next(iter(runs.records.values()))
    steps = record["config"]["epochs"] * (sum(record["class_counts"]) // batch_size(record))
    return number(1e3 * of_step, "{:.0f}"), number(of_step * steps, "{:.0f}")


def _made_with(section: Section) -> str:
    records = section.records
    commits = each(record["commit"] for record in records)
    finished = [datetime.datetime.fromisoformat(record["finished"]).date() for record in records]
    config = records[0]["config"]
    return (
        f"{config['model.backbone']}, {config['epochs']} epochs, "
        f"{sum(section.class_counts):,} training images of {len(section.class_counts)} classes, "
        f"{records[0]['images']:,} test images; commit {commits}; "
        f"{each(record['device'] for record in records)}; Python and packages "
        f"{each(_versions(record) for record in records)}; {min(finished)} to {max(finished)}."
    )


def _versions(record: dict) -> str:
    return " ".join(f"{name} {version}" for name, version in record["versions"].items())
