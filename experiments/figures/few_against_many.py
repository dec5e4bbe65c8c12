"""What a row gains on rare classes against what it has on frequent ones."""

import numpy as np
from matplotlib.figure import Figure

from bccl_jax.reporting.name_places import name_points
from bccl_jax.reporting.style import styled

from ..records.gathering import Section
from .style import Style, frame, legend


@styled()
def few_against_many(section: Section) -> Figure | None:
    """A point a row with its deviation over seeds; None where no row has both shot groups.

    Lines join places of the same mean over all classes where medium-shot classes are as good as
    many- and few-shot ones together on average.
    """
    placed = [
        (runs, runs.accuracy("many"), runs.accuracy("few"))
        for runs in section.finished
        if runs.accuracy("many") and runs.accuracy("few")
    ]
    if not placed:
        return None
    style = Style(section)
    what = "what is gained on few-shot classes and lost on many-shot ones; grey: equal sums"
    figure = frame(section, 6.2, what)
    axes = figure.subplots()
    for runs, many, few in placed:
        axes.errorbar(
            many.mean, few.mean, xerr=many.deviation, yerr=few.deviation, color=style.color(runs),
            marker=style.marker(runs), ms=7, lw=0, elinewidth=1, capsize=2,
        )  # fmt: skip
    _equal_sums(axes)
    axes.set(xlabel="many-shot classes, accuracy in %", ylabel="few-shot classes, accuracy in %")
    points = np.array([(many.mean, few.mean) for _, many, few in placed])
    bars = np.array([(many.deviation or 0, few.deviation or 0) for _, many, few in placed])
    along = np.linspace(-1, 1, 9)[:, None, None, None] * np.eye(2)[:, None] * bars
    names = [runs.row.name for runs, *_ in placed]
    if len(name_points(axes, points, names, (points + along).reshape(-1, 2))) < len(names):
        legend(figure, section, style)
    return figure


def _equal_sums(axes) -> None:
    """Grey lines on which both accuracies have the same sum."""
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    for total in np.linspace(left + low, right + high, 7)[1:-1]:
        axes.plot([left, right], [total - left, total - right], color="0.9", lw=1, zorder=0)
    axes.set(xlim=(left, right), ylim=(low, high))
