"""Every row's accuracy, and what to know of it."""

from bccl_jax.reporting.console import ACCURACIES, SHOTS
from bccl_jax.reporting.remarks import named

from ..records.gathering import Section
from ..records.printed import less_paper, paper_average, paper_size
from ..records.runs import Runs
from .markdown import NONE, accuracy, markdown, signed
from .names import SPLITS, row_name, status


def accuracies(section: Section) -> str:
    """Every row's accuracy, beside the paper's figures where it has some, and what to know of it.

    Args:
      section: with a record at least.

    Returns:
      A Markdown table and sentences.
    """
    printed = any(section.paper(runs.row) for runs in section.rows)
    headings = ["row", "seeds", *ACCURACIES.values(), f"all, best epoch ({_chosen_on(section)})"]
    if printed:
        headings.append("paper: all (many / medium / few)")
        if section.full_size:
            headings.append("minus the paper's")
        else:
            headings[-1] = f"paper, {paper_size(section)}: all (many / medium / few)"
    rows = []
    for runs in section.rows:
        cells = [row_name(runs, section), *_results(runs)]
        if printed:
            cells.append(_paper(section.paper(runs.row)))
            if section.full_size:
                cells.append(signed(less_paper(section, runs)))
        rows.append(cells)
        if runs.averaged:
            # The paper has no averages to compare with.
            cells = [row_name(runs, section, averaged=True), *_results(runs, averaged=True)]
            rows.append(cells + [NONE] * (len(headings) - len(cells)))
    split = SPLITS[section.on]
    notes = [
        f"Accuracy in percent on {split}, last epoch, mean ± standard deviation over seeds.",
        tested(section),
    ]
    if any(runs.averaged for runs in section.rows):
        notes.append(
            "A row of averaged weights (`optimizer.ema`) is of the same runs as the row above it. "
            "The raw weights choose the best epoch; comparisons and pictures are of them too, but "
            "for dotted curves."
        )
    if printed and not section.full_size:
        notes.append(
            f"The paper's figures are of {paper_size(section)}, on the test split. These runs are "
            "not: only the order of the rows may be compared."
        )
    for runs in section.rows:
        average = paper_average(section, runs.row)
        if average is not None:
            notes.append(
                f"The paper's shot groups of {runs.row.name} average to {average:.2f} over the "
                f"classes, not to the {section.paper(runs.row)['all']:g} that it prints for all."
            )
    return markdown(headings, rows) + "\n\n" + " ".join(notes)


def tested(section: Section) -> str:
    """Says what the figures are means of, and which classes they do not tell of."""
    there = section.tested
    over = f"{there.sum():,} of {len(there):,} classes"
    if not section.untested:
        return f"top-1: share of the images; all: mean of the accuracies of {over}."
    lacking = (
        "no run evaluated"
        if section.alike
        else ("rows are means of different classes, for not every run evaluated")
    )
    return (
        f"top-1: share of the images; all: mean of the accuracies of {over}; {lacking} an image of "
        f"{named(section.untested)}."
    )


def _results(runs: Runs, averaged: bool = False) -> list[str]:
    if not runs.records:
        return [NONE, status(runs), *[NONE] * len(ACCURACIES)]
    total, found = len(runs.cells), len(runs.records)
    seeds = str(found) if found == total else f"{found} of {total}"
    shown = [accuracy(runs.accuracy(name, averaged=averaged)) for name in ACCURACIES]
    return [seeds, *shown, accuracy(runs.accuracy("all", "best", averaged))]


def _chosen_on(section: Section) -> str:
    chosen = section.records[0]["best"]["chosen_on"]
    if chosen == "test":
        return "chosen on the test set"
    return "chosen on this part" if section.on == "validation" else "chosen on the validation split"


def _paper(figures: dict[str, float]) -> str:
    if not figures:
        return NONE
    shots = [str(figures[shot]) for shot in SHOTS[1:] if shot in figures]
    return str(figures["all"]) + (f" ({' / '.join(shots)})" if shots else "")


def missing(section: Section) -> str:
    """Which runs have no record; "" if none is missing."""
    names = [
        f"{runs.row.name} seed{'s' if len(runs.missing) > 1 else ''} "
        + ", ".join(map(str, runs.missing))
        for runs in section.rows
        if runs.missing
    ]
    return f"Runs without a record: {'; '.join(names)}." if names else ""
