"""Accuracy of each row as bars, beside its difference to the reference row."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bccl_jax.reporting.console import SHOTS
from bccl_jax.reporting.palette import MARKERS
from bccl_jax.reporting.palette import SHOTS as COLORS
from bccl_jax.reporting.style import styled

from ..records.gathering import Section
from ..records.printed import paper_size
from ..records.runs import Runs
from .differences import forest
from .style import Style, frame, legend_below, value_of

# Rows whose bars can be told apart.
_MOST_BARS = 6


@styled()
def accuracies(section: Section) -> Figure:
    """Accuracy of each row, and its difference to the reference row with the 95 % interval."""
    style = Style(section)
    many = not section.experiment.axis and len(section.finished) > _MOST_BARS
    figure = frame(section, 2.2 + 0.24 * len(section.finished) if many else 4.6)
    if section.against_reference:
        axes, differences = figure.subplots(1, 2, width_ratios=(3, 2), sharey=many)
        places = {runs.row.name: y for y, runs in enumerate(section.finished)}
        forest(differences, section, style, places if many else None)
    else:
        axes = figure.subplots()
    if many:
        _dots(axes, section)
    elif section.experiment.axis:
        _bars_over_values(axes, section, style)
    else:
        _grouped_bars(axes, section, style)
    axes.set_title("Accuracy at the last epoch")
    printed = [f"{r.row.name} {section.paper(r.row)['all']}" for r in _printed(section)]
    note = ""
    if printed and not section.full_size:
        note = f"The paper prints, of {paper_size(section)}: {', '.join(printed)}"
    legend_below(figure, *axes.get_legend_handles_labels(), note)
    return figure


def _dots(axes: Axes, section: Section) -> None:
    """A line of points for each row: all classes, and the shot groups in their colours."""
    rows = section.finished
    for shot in SHOTS:
        spreads = [runs.accuracy(shot) for runs in rows]
        there = [(spread, y) for y, spread in enumerate(spreads) if spread is not None]
        means, deviations = ([getattr(s, of) for s, _ in there] for of in ("mean", "deviation"))
        axes.errorbar(
            means, [y for _, y in there], xerr=[deviation or 0 for deviation in deviations],
            linestyle="", marker=MARKERS.get(shot, "D"), color=COLORS[shot], ms=6, elinewidth=1,
            label="all, mean of classes" if shot == "all" else shot,
        )  # fmt: skip
        printed = [(section.paper(runs.row).get(shot), y) for y, runs in enumerate(rows)]
        printed = [(figure, y) for figure, y in printed if figure is not None]
        if printed and section.full_size:
            x, y = np.transpose(printed)
            axes.vlines(x, y - 0.35, y + 0.35, color=COLORS[shot], lw=2)
    if section.full_size and _printed(section):
        axes.vlines([], [], [], color="black", lw=2, label="the paper's, in its group's colour")
    axes.set_yticks(range(len(rows)), [runs.row.name for runs in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("accuracy, %")


def _printed(section: Section) -> list[Runs]:
    """Finished rows that the paper has a figure of."""
    return [runs for runs in section.finished if section.paper(runs.row)]


def _bars_over_values(axes: Axes, section: Section, style: Style) -> None:
    """A bar for each value of the axis, numbers in numeric order."""
    rows = section.finished
    if all(isinstance(runs.row.value, int | float) for runs in rows):
        rows = sorted(rows, key=lambda runs: runs.row.value)
    paper = []
    for x, runs in enumerate(rows):
        _bar(axes, x, 0.7, runs, "all", style)
        mean, deviation, _ = runs.accuracy("all")
        axes.annotate(
            f"{mean:.2f}",
            (x, mean + (deviation or 0)),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
        paper.append((x, section.paper(runs.row).get("all")))
    _mark_paper(axes, section, paper, 0.7)
    axes.set_xticks(range(len(rows)), [value_of(runs) for runs in rows])
    axes.set(xlabel=section.experiment.axis, ylabel="accuracy of all classes, %")
    axes.margins(y=0.1)
    axes.grid(axis="x", visible=False)


def _grouped_bars(axes: Axes, section: Section, style: Style) -> None:
    """Bars of each row over all classes and the shot groups."""
    rows = section.finished
    width = 0.8 / len(rows)
    paper = []
    for i, runs in enumerate(rows):
        offset = (i - (len(rows) - 1) / 2) * width
        for x, shot in enumerate(SHOTS):
            label = runs.row.name if x == 0 else None
            _bar(axes, x + offset, 0.9 * width, runs, shot, style, label)
            paper.append((x + offset, section.paper(runs.row).get(shot)))
    _mark_paper(axes, section, paper, 0.9 * width)
    axes.set_xticks(range(len(SHOTS)), SHOTS)
    axes.set(ylabel="accuracy, %")
    axes.grid(axis="x", visible=False)


def _bar(
    axes: Axes,
    x: float,
    width: float,
    runs: Runs,
    shot: str,
    style: Style,
    label: str | None = None,
) -> None:
    """The mean as a bar from zero, the deviation over seeds as an error bar, seeds as dots."""
    spread = runs.accuracy(shot)
    if spread is None:
        return
    axes.bar(x, spread.mean, width, color=style.color(runs), alpha=0.75, label=label)
    if spread.deviation is None:
        return
    axes.errorbar(x, spread.mean, spread.deviation, color="black", capsize=3, lw=1.2)
    each = [record["last"][shot] for record in runs.records.values()]
    offsets = np.linspace(-0.25, 0.25, len(each)) * width
    axes.scatter(x + offsets, each, s=10, color="white", edgecolor="black", linewidth=0.7, zorder=3)


def _mark_paper(
    axes: Axes, section: Section, figures: list[tuple[float, float | None]], width: float
) -> None:
    """The paper's figures (x, accuracy) across bars of a width, where the runs are of its size."""
    found = [(x, figure) for x, figure in figures if figure is not None]
    if found and section.full_size:
        x, figure = np.transpose(found)
        ends = x - width / 2, x + width / 2
        axes.hlines(figure, *ends, color="black", lw=2, zorder=4, label="the paper's")
