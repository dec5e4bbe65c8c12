"""What a row gains on rare classes against what it has on frequent ones."""

import numpy as np
from matplotlib.figure import Figure

from ..records.gathering import Section
from .style import Style, clean, frame, legend


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
    figure = frame(section, 6.0)
    axes = figure.subplots()
    for runs, many, few in placed:
        axes.errorbar(
            many.mean, few.mean, xerr=many.deviation, yerr=few.deviation, color=style.color(runs),
            marker=style.marker(runs), ms=7, lw=0, elinewidth=1, capsize=2,
        )  # fmt: skip
    _equal_sums(axes)
    axes.set(xlabel="many-shot classes, accuracy in %", ylabel="few-shot classes, accuracy in %")
    clean(axes)
    legend(figure, section, style)
    return figure


def _equal_sums(axes) -> None:
    """Grey lines on which both accuracies have the same sum."""
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    for total in np.linspace(left + low, right + high, 7)[1:-1]:
        axes.plot([left, right], [total - left, total - right], color="0.9", lw=1, zorder=0)
    axes.set(xlim=(left, right), ylim=(low, high))
