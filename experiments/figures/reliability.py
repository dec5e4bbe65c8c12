"""How often predictions of a confidence are right, a panel a row."""

import numpy as np
from matplotlib.figure import Figure

from bccl_jax.reporting.lettering import label
from bccl_jax.reporting.style import styled

from ..records.gathering import Section
from ..records.runs import Runs
from .style import Style, frame


@styled()
def reliability(section: Section) -> Figure | None:
    """Accuracy against confidence by bin, the images of all seeds together; None without any."""
    rows = [(runs, _bins(runs)) for runs in section.finished]
    rows = [(runs, bins) for runs, bins in rows if bins is not None]
    if not rows:
        return None
    style = Style(section)
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    figure = frame(section, 2.6 * lines + 0.9, "how often predictions of a confidence are right")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (runs, (images, confidence, accuracy)) in zip(grid, rows, strict=False):
        axes.plot([0, 100], [0, 100], color="0.75", lw=1)
        there = images > 0
        # Area in proportion to the images of a bin.
        sizes = 260 * images[there] / images.sum() + 3
        axes.scatter(
            100 * confidence[there], 100 * accuracy[there], s=sizes, color=style.color(runs),
            alpha=0.8, lw=0,
        )  # fmt: skip
        error = runs.accuracy("calibration_error")
        axes.set_title(f"{label(runs.row.name)}\nECE {error.mean:.1f}", fontsize=9)
        axes.set(xlim=(0, 100), ylim=(0, 100))
    for axes in grid[max(len(rows) - columns, 0) : len(rows)]:
        axes.tick_params(labelbottom=True)
    for axes in grid[len(rows) :]:
        axes.set_axis_off()
    figure.supxlabel("confidence, %")
    figure.supylabel("accuracy, %")
    return figure


def _bins(runs: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Images, mean confidence and accuracy of each bin over all seeds; None where one lacks it."""
    found = [record["last"].get("reliability") for record in runs.records.values()]
    if None in found or len({len(one["images"]) for one in found}) > 1:
        return None
    images = np.array([one["images"] for one in found], np.float64)
    total = images.sum(axis=0)
    means = (
        np.nansum(images * np.array([one[name] for one in found], np.float64), axis=0)
        / np.maximum(total, 1)
        for name in ("confidence", "accuracy")
    )
    return total, *means
