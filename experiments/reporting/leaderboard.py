"""docs/leaderboard.md and the head of it in README.md, from the records that are kept."""

import pathlib
from collections.abc import Mapping

from ..designing.design import Scale
from ..designing.every_method import ALL_METHODS, ALL_METHODS_WIDE
from ..designing.paper import OWN_PAPERS
from ..records import gathering
from ..records.gathering import Section
from ..records.kept import largest_step_cost, ratios, read_records, timed_on
from ..records.results import Record
from ..tables.leaderboard import board, described, head, not_run, places, verdict

COMMAND = "python -m experiments.leaderboard"
_SEEDS = 3
_FACTORS = (100.0, 50.0, 10.0)
# By title; the most telling first.
_BOARDS = {
    "{name} at {factor:g}, full size": (
        ALL_METHODS,
        Scale(_SEEDS, datasets=("cifar100", "cifar10"), imbalances=_FACTORS),
    ),
    "{name} at {factor:g}, full size, four times as wide": (ALL_METHODS_WIDE, Scale(_SEEDS)),
    "CIFAR-100-LT at {factor:g}, the middle size": (
        ALL_METHODS,
        Scale(_SEEDS, datasets=("cifar100_middle",), imbalances=_FACTORS[:1]),
    ),
    "CIFAR-100-LT at {factor:g}, the small size": (
        ALL_METHODS,
        Scale(_SEEDS, datasets=("cifar100_small",), imbalances=_FACTORS[:1]),
    ),
}
_NAMES = {"cifar100": "CIFAR-100-LT", "cifar10": "CIFAR-10-LT"}
BEGIN, END = f"<!-- Written by `{COMMAND}`. -->", "<!-- End of what it writes. -->"
# Of the README's head: enough rows to be a comparison, few enough to read.
_HEAD_ROWS = 5


def page(folder: pathlib.Path) -> str:
    """The page.

    Args:
      folder: as docs/records is one.

    Returns:
      Markdown.
    """
    found = sections(read_records(folder))
    cost = largest_step_cost(folder)
    parts = [
        "# Leaderboard",
        f"<!-- Written by `{COMMAND}` from `docs/records/`; a test compares. -->",
        _INTRODUCTION,
        _how_to_read(cost),
    ]
    for title, section in found.items():
        if section.records:
            ranked = places(section)
            table = board(section, ranked, ratios(cost), own_figures(section))
            parts += [f"## {title}", f"{described(section)}.", table, verdict(ranked)]
            if missing := not_run(section):
                parts.append(f"Not run at this size: {', '.join(missing)}.")
    empty = [title for title, section in found.items() if not section.records]
    if empty:
        parts += ["## Not run yet", _NOT_RUN, "\n".join(f"- {title}" for title in empty)]
    return "\n\n".join(filter(None, parts)) + "\n"


def readme_head(folder: pathlib.Path) -> str:
    """What README.md shows: the head of the most telling board with enough rows of all seeds.

    Args:
      folder: as docs/records is one.

    Returns:
      Markdown between two comments; without a table where no board has enough.
    """
    lines = [BEGIN, ""]
    for title, section in sections(read_records(folder)).items():
        # One seed is no headline.
        whole = [runs for runs in section.finished if len(runs.records) >= _SEEDS]
        if len(whole) >= _HEAD_ROWS:
            rows = f"The first {_HEAD_ROWS} of {len(section.finished)} rows."
            lines += [f"{title}: {described(section)}. {rows}", "", head(section, _HEAD_ROWS), ""]
            break
    return "\n".join([*lines, END])


def with_head(readme: str, folder: pathlib.Path) -> str:
    """The text of a README with a renewed head.

    Raises:
      ValueError: it lacks one of the comments.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks {BEGIN} or {END}; put both where the head shall stand")
    return before + readme_head(folder) + after


def sections(records: list[Record]) -> dict[str, Section]:
    """Every board's section by its title, with records or without."""
    found = {}
    for title, (experiment, scale) in _BOARDS.items():
        for section in gathering.gather_newest(experiment, scale, records):
            name = _NAMES.get(section.dataset, section.dataset)
            found[title.format(name=name, factor=section.imbalance)] = section
    return found


def own_figures(section: Section) -> dict[str, Mapping[str, float]]:
    """By method, what its own paper prints in a setting; {} for nothing."""
    backbone = section.rows[0].cells[0].config.model.backbone
    setting = section.dataset, section.imbalance
    return {row: paper.get(setting, {}) for row, paper in OWN_PAPERS.get(backbone, {}).items()}


_INTRODUCTION = """\
Every method here by one recipe (*fair*, see [methods.md](methods.md)): the same images, network,
schedule, epochs, batch and seeds. Figures are accuracies in percent on the test split at
the last epoch, mean ± standard deviation over seeds, of one network and not of an ensemble. Nothing
was chosen on the test split. [results.md](results.md) describes the sizes. The small and the middle
one say which of two methods is better at that size, and nothing of the printed figures."""

_NOT_RUN = """\
No run is evaluated on the test split at these. Studies that chose a setting at the middle size were
evaluated on a validation part; their figures are in [results.md](results.md)."""


def _how_to_read(cost: Mapping) -> str:
    timed = f", {timed_on(cost)}. Another device has other ratios" if cost["rows"] else ""
    return f"""\
- *less the first*: percentage points over the seeds that both have, with an interval over seeds
  and images as in every table here ([experiments.md](experiments.md)). The first of many rows owes
  its place in part to luck.
- *printed*: by Kim & Ko 2025; *its own paper*: what the method's authors print, the same
  network and 200 epochs. Both are mostly of the best epoch on the test split, some tenths above
  the last.
- *a step*: time of a training step, views included, over that of `cross_entropy`{timed}.
- "–" was not measured, or not printed."""
