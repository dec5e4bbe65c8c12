"""Accuracy of each class against its training images."""

import numpy as np
from matplotlib.figure import Figure

from bccl_jax.reporting.drawing import over_sizes, percent
from bccl_jax.reporting.lettering import label
from bccl_jax.reporting.style import styled

from ..records.gathering import Section
from .style import Style, frame

# Above the classes, few-shot ones on the left: across the axes, and the side that is given.
_PLACES = {"few": (0.03, "left"), "medium": (0.5, "center"), "many": (0.98, "right")}


@styled()
def classes(section: Section) -> Figure:
    """Accuracy of each class against its training images; a panel a row, the reference in grey."""
    style = Style(section)
    rows, counts = section.finished, section.class_counts
    reference = next(r for r in section.rows if r.row.name == section.experiment.reference)
    columns = 2 if len(rows) == 4 else min(3, len(rows))
    lines = -(-len(rows) // columns)
    what = "accuracy of each class"
    if reference.records and len(rows) > 1:
        what += f"; grey: {reference.row.name}"
    figure = frame(section, 2.9 * lines + 1, what)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    sizes = over_sizes(grid[0], counts)
    for axes, runs in zip(grid, rows, strict=False):
        if reference.records and runs is not reference:
            axes.scatter(sizes, reference.per_class(), s=14, color="0.75", marker="o")
        per_class = runs.per_class()
        axes.scatter(
            sizes, per_class, s=18, color=style.color(runs), marker=style.marker(runs), alpha=0.8
        )
        for shot, group in section.groups.items():
            tested = group & ~np.isnan(per_class)
            if tested.any():
                ends = sizes[tested].min(), sizes[tested].max()
                mean = per_class[tested].mean()
                axes.hlines(mean, *ends, color=style.color(runs), lw=2)
                x, side = _PLACES[shot]
                axes.text(
                    x, 0.93, f"{shot} {mean:.1f}", ha=side, fontsize=9, transform=axes.transAxes
                )
        axes.set_title(label(runs.row.name))
        percent(axes, "")
        axes.set_ylim(top=118)  # the means of the groups stand above
    for axes in grid[len(rows) - columns : len(rows)]:
        axes.tick_params(labelbottom=True)
    for axes in grid[len(rows) :]:
        axes.set_axis_off()
    grid[0].set_xlabel("")
    figure.supxlabel("training images of the class")
    figure.supylabel("accuracy, %")
    return figure
