"""Methods in the order of their accuracy, each with how surely the first one is above it."""

import dataclasses
from collections.abc import Mapping

from ..records.comparing import Comparison, compare
from ..records.gathering import Section
from ..records.printed import less_paper
from ..records.runs import Runs
from .made_with import each
from .markdown import NONE, accuracy, markdown, number, signed

FEW_SEEDS = 2


@dataclasses.dataclass(frozen=True)
class Place:
    """A method on the board.

    Attributes:
      runs: of the method.
      behind: it less the first; None for the first, and where the two have no seed in common.
    """

    runs: Runs
    behind: Comparison | None

    @property
    def told_apart(self) -> bool:
        """Whether the 95 % interval of the difference to the first excludes 0."""
        return self.behind is not None and self.behind.high is not None and self.behind.high < 0


def places(section: Section) -> list[Place]:
    """The methods of a section that have a record, the most accurate first.

    Args:
      section: at one size.
    """
    ranked = best_first(section)
    return [Place(runs, None if runs is ranked[0] else compare(runs, ranked[0])) for runs in ranked]


def best_first(section: Section) -> list[Runs]:
    """The rows of a section that have a record, by their mean accuracy over all classes."""
    return sorted(section.finished, key=lambda runs: -runs.accuracy("all").mean)


def board(
    section: Section,
    found: list[Place],
    ratios: Mapping[str, float],
    own: Mapping[str, Mapping[str, float]],
) -> str:
    """The whole board of a size.

    Args:
      section: with a record at least.
      found: its `places`.
      ratios: by row, time of a step over that of plain cross-entropy.
      own: by row, what its own paper prints, as `section.paper` has what Kim & Ko 2025 do.

    Returns:
      A Markdown table, with printed figures where the size is that of the papers.
    """
    printed = section.full_size
    headings = ["", "method", "all", "many", "medium", "few", "ECE", "seeds"]
    headings += ["printed", "ours less printed", "its own paper"] if printed else []
    headings += ["less the first, 95 % interval", "a step", "on"]
    rows = []
    for index, place in enumerate(found):
        runs = place.runs
        cells = [str(index + 1), name(runs), f"**{accuracy(runs.accuracy('all'))}**"]
        cells += [accuracy(runs.accuracy(shot)) for shot in ("many", "medium", "few")]
        cells += [accuracy(runs.accuracy("calibration_error")), str(len(runs.records))]
        if printed:
            cells += [
                _figure(section.paper(runs.row)),
                signed(less_paper(section, runs)),
                _figure(own.get(runs.row.name, {})),
            ]
        rows.append([*cells, _behind(place), _ratio(ratios, runs), _devices(runs)])
    if printed:
        rows += _only_printed(section, own, len(headings))
    return markdown(headings, rows)


def described(section: Section) -> str:
    """What was trained at a size, in a line."""
    record = section.records[0]
    config, counts = record["config"], section.class_counts
    pixels = config.get("data.pixels")
    return (
        f"{config['model.backbone']}, {config['epochs']} epochs, {counts.sum():,} training images "
        f"of {len(counts)} classes" + (f" at {pixels} pixels" if pixels else "")
    )


def verdict(found: list[Place]) -> str:
    """Which methods the first one is above by more than its interval, in a sentence or two."""
    first, *others = found
    if not others:
        return ""
    open_ = [name(place.runs) for place in others if not place.told_apart]
    if open_:
        text = (
            f"{name(first.runs)} is first. Not told apart from it (the interval does not lie below "
            f"0, or there is none): {', '.join(open_)}."
        )
    else:
        text = f"{name(first.runs)} is above every other row by more than the interval."
    if any(place.behind and len(place.behind.seeds) < FEW_SEEDS for place in others):
        text += " Where rows have one seed in common an interval is of the images alone."
    return text


def head(section: Section, count: int) -> str:
    """The first rows of the board, in few columns.

    Args:
      section: with a record at least.
      count: how many rows.
    """
    rows = [
        [
            str(index + 1),
            name(place.runs),
            accuracy(place.runs.accuracy("all")),
            accuracy(place.runs.accuracy("few")),
            str(len(place.runs.records)),
            _behind(place),
        ]
        for index, place in enumerate(places(section)[:count])
    ]
    return markdown(
        ["", "method", "all classes, %", "few-shot, %", "seeds", "less the first, 95 % interval"],
        rows,
    )


def not_run(section: Section) -> list[str]:
    """The methods without a record at this size."""
    return [name(runs) for runs in section.rows if runs.cells and not runs.records]


def name(runs: Runs) -> str:
    """As a config's argument has it, and with which option."""
    _, _, option = runs.row.name.partition(" with ")
    return f"`{runs.row.method}`" + (f" with {option}" if option else "")


def _behind(place: Place) -> str:
    found = place.behind
    if found is None:
        return NONE
    if found.low is None:
        return signed(found.difference)
    return f"{signed(found.difference)} ({signed(found.low)} to {signed(found.high)})"


def _ratio(ratios: Mapping[str, float], runs: Runs) -> str:
    return number(ratios[runs.row.name], "{:.2f}") if runs.row.name in ratios else NONE


def _devices(runs: Runs) -> str:
    return each(record["device"].partition(",")[0] for record in runs.records.values())


def _figure(figures: Mapping[str, float]) -> str:
    return str(figures["all"]) if figures else NONE


def _only_printed(section, own, width):
    """Rows of what is printed and not measured, the highest figure first."""
    rows = []
    for runs in section.rows:
        kim_ko, theirs = section.paper(runs.row), own.get(runs.row.name, {})
        if runs.records or not (kim_ko or theirs):
            continue
        best = max(figures["all"] for figures in (kim_ko, theirs) if figures)
        cells = [NONE, name(runs), *[NONE] * 6, _figure(kim_ko), NONE, _figure(theirs)]
        rows.append((best, cells + [NONE] * (width - len(cells))))
    return [cells for _, cells in sorted(rows, key=lambda row: -row[0])]
