"""What all pictures of an experiment share: colours and markers of rows, frames, legends."""

from collections.abc import Mapping
from types import MappingProxyType

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bccl_jax.reporting.palette import KINDS

from ..records.gathering import Section
from ..records.runs import Runs

MARKERS = "os^Dv<>P"
WIDTH = 10.0  # inches


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


def frame(section: Section, height: float) -> Figure:
    """A figure of a height in inches that says what it is of."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    setting = f"{section.dataset}, imbalance {section.imbalance:g}, {section.on} images"
    if not section.tested.all():
        setting += f" of {section.tested.sum()} of {len(section.tested)} classes"
    figure.suptitle(f"{section.experiment.title} ({setting})", fontsize=11)
    return figure


def clean(axes: Axes) -> None:
    """Takes away the lines above and on the right."""
    axes.spines[["top", "right"]].set_visible(False)


def over_epochs(axes: Axes) -> None:
    """Makes the horizontal axis one of epochs."""
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    clean(axes)


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
    """A legend below all axes, with a note above it; nothing where there is neither."""
    if not handles and not note:
        return
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=5 if all(len(label) < 15 for label in labels) else 4,
        frameon=False,
        fontsize=9,
        title=note or None,
        title_fontsize=9,
    )


def value_of(runs: Runs) -> str:
    """Where a row stands on the horizontal axis, in words."""
    return str(runs.row.value).replace("_", " ")
