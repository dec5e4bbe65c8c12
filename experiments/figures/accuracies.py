"""Accuracy of each row as bars, beside its difference to the reference row."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bccl_jax.reporting.console import SHOTS

from ..records.gathering import Section
from ..records.printed import paper_size
from ..records.runs import Runs
from .differences import forest
from .style import Style, clean, frame, legend_below, value_of


def accuracies(section: Section) -> Figure:
    """Accuracy of each row, and its difference to the reference row with the 95 % interval."""
    style = Style(section)
    figure = frame(section, 4.4)
    if section.against_reference:
        axes, differences = figure.subplots(1, 2, width_ratios=(3, 2))
        forest(differences, section, style)
    else:
        axes = figure.subplots()
    if section.experiment.axis:
        _bars_over_values(axes, section, style)
    else:
        _grouped_bars(axes, section, style)
    clean(axes)
    printed = [f"{r.row.name} {section.paper(r.row)['all']}" for r in _printed(section)]
    note = ""
    if printed and not section.full_size:
        note = f"The paper prints, of {paper_size(section)}: {', '.join(printed)}"
    legend_below(figure, *axes.get_legend_handles_labels(), note)
    return figure


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
