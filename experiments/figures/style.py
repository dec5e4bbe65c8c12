"""What all pictures of an experiment share: colours and markers of rows, frames, legends."""

import textwrap
from collections.abc import Mapping
from types import MappingProxyType

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bccl_jax.reporting.drawing import titled
from bccl_jax.reporting.palette import KINDS

from ..records.gathering import Section
from ..records.runs import Runs

MARKERS = "os^Dv<>P"
WIDTH = 10.0  # inches
# Letters beside each other in a legend, those that a mark takes, and inches of a line.
_LETTERS, _HANDLE, _LINE = 130, 8, 0.19


class Style:
    """Colour and marker of each row, the same in every picture of an experiment.

    Args:
      section: with the rows.
    """

    def __init__(self, section: Section):
        self._rows = [runs.row.name for runs in section.rows if runs.row.method is not None]

    def color(self, runs: Runs) -> str:
        """Of a row that the harness has a method for."""
        return KINDS[self._rows.index(runs.row.name) % len(KINDS)]

    def marker(self, runs: Runs) -> str:
        """Of a row that the harness has a method for."""
        return MARKERS[self._rows.index(runs.row.name) % len(MARKERS)]


def frame(section: Section, height: float, more: str = "") -> Figure:
    """A figure of a height in inches that says what it is of, and on another line what more."""
    figure = Figure(figsize=(WIDTH, height))
    setting = f"{section.dataset}, imbalance {section.imbalance:g}, {section.on} images"
    if not section.tested.all():
        setting += f" of {section.tested.sum()} of {len(section.tested)} classes"
    lines = section.experiment.title, setting, more
    return titled(figure, "\n".join(filter(None, lines)))


def legend(
    figure: Figure, section: Section, style: Style, lines: Mapping[str, str] = MappingProxyType({})
) -> None:
    """One entry for each row, then grey lines of other meaning by their label."""
    handles = [
        Line2D(
            [], [], color=style.color(runs), marker=style.marker(runs), ms=5, label=runs.row.name
        )
        for runs in section.finished
    ]
    handles += [
        Line2D([], [], color="0.4", linestyle=dashes, label=label)
        for label, dashes in lines.items()
    ]
    legend_below(figure, handles, [handle.get_label() for handle in handles])


def legend_below(figure: Figure, handles: list, labels: list[str], note: str = "") -> None:
    """A legend below all axes, for which the figure grows, with a note above it.

    There is nothing where there is neither.
    """
    if not handles and not note:
        return
    columns = int(_LETTERS / (max(map(len, labels), default=0) + _HANDLE))
    columns = max(min(columns, len(labels), 6), 1)
    title = textwrap.fill(note, _LETTERS)
    lines = -(-len(labels) // columns) + len(title.splitlines())
    figure.set_figheight(figure.get_figheight() + _LINE * (lines - 1))
    figure.legend(
        handles, labels, loc="outside lower left", ncols=columns, title=title, alignment="left"
    )


def value_of(runs: Runs) -> str:
    """Where a row stands on the horizontal axis, in words."""
    return str(runs.row.value).replace("_", " ")
