"""Accuracy of each class against its training images."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ..records.gathering import Section
from .style import Style, clean, frame

# Above the classes, few-shot ones on the left: across the axes, and the side that is given.
_PLACES = {"few": (0.03, "left"), "medium": (0.5, "center"), "many": (0.98, "right")}


def classes(section: Section) -> Figure:
    """Accuracy of each class against its training images; a panel a row, the reference in grey."""
    style = Style(section)
    rows, counts = section.finished, section.class_counts
    reference = next(r for r in section.rows if r.row.name == section.experiment.reference)
    columns = 2 if len(rows) == 4 else min(3, len(rows))
    lines = -(-len(rows) // columns)
    figure = frame(section, 2.9 * lines + 0.8)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, runs in zip(grid, rows, strict=False):
        title = runs.row.name
        if reference.records and runs is not reference:
            axes.scatter(counts, reference.per_class(), s=14, color="0.75", marker="o")
            title += f" (grey: {reference.row.name})"
        per_class = runs.per_class()
        axes.scatter(
            counts, per_class, s=18, color=style.color(runs), marker=style.marker(runs), alpha=0.8
        )
        for shot, group in section.groups.items():
            tested = group & ~np.isnan(per_class)
            if tested.any():
                ends = counts[tested].min(), counts[tested].max()
                mean = per_class[tested].mean()
                axes.hlines(mean, *ends, color=style.color(runs), lw=2)
                x, side = _PLACES[shot]
                axes.text(
                    x, 0.93, f"{shot} {mean:.1f}", ha=side, fontsize=9, transform=axes.transAxes
                )
        axes.set_title(title, fontsize=10)
        axes.set(xscale="log", ylim=(-3, 115))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_yticks(range(0, 101, 20))
        clean(axes)
    for axes in grid[len(rows) - columns : len(rows)]:
        axes.tick_params(labelbottom=True)
    for axes in grid[len(rows) :]:
        axes.set_axis_off()
    figure.supxlabel("training images of the class", fontsize=10)
    figure.supylabel("accuracy, %", fontsize=10)
    return figure
