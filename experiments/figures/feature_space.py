"""Measures of the feature space: by shot group, and over epochs."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bccl_jax.evaluation.feature_space import PER_CLASS
from bccl_jax.reporting.console import SHOTS
from bccl_jax.reporting.drawing import curve, over_epochs
from bccl_jax.reporting.style import styled

from ..records.gathering import Section
from ..records.measures import SPACES, measures
from ..records.runs import Runs
from .style import Style, frame, legend

_SHOTS = SHOTS[1:]
_DASHES = {"many": "--", "few": "-"}
_UNITS = {"nearest_class": "nearest class, degrees"}


@styled()
def feature_space(section: Section, space: str) -> Figure | None:
    """Measures of the feature space: by shot group at the last epoch, and over epochs.

    Args:
      section: with a record at least.
      space: "backbone" or "projector".

    Returns:
      The figure; None where no run has the space.
    """
    style = Style(section)
    found = [(runs, measures(runs, space, PER_CLASS)) for runs in section.finished]
    found = [(runs, by_epoch) for runs, by_epoch in found if by_epoch]
    if not found:
        return None
    figure = frame(section, 10.5, SPACES[space])
    grid = figure.subplots(4, 3)
    for i, name in enumerate(PER_CLASS):
        line, column = 2 * (i // 3), i % 3
        groups, epochs = grid[line, column], grid[line + 1, column]
        for number, (runs, by_epoch) in enumerate(found):
            offset = min(0.16, 0.8 / len(found)) * (number - (len(found) - 1) / 2)
            _by_group(groups, by_epoch[max(by_epoch)][name], offset, runs, style)
            _along_epochs(epochs, by_epoch, name, runs, style)
        groups.set_xticks(range(len(_SHOTS)), _SHOTS)
        groups.set_xlim(-0.5, len(_SHOTS) - 0.5)
        groups.set_title(_UNITS.get(name, name.replace("_", " ")))
        over_epochs(epochs, max(max(by_epoch) for _, by_epoch in found))
    shots = {f"{shot} over epochs": dashes for shot, dashes in _DASHES.items()}
    legend(figure, section, style, shots)
    return figure


def _by_group(axes: Axes, values: dict, offset: float, runs: Runs, style: Style) -> None:
    for x, shot in enumerate(_SHOTS):
        if values[shot] is not None:
            mean, deviation, _ = values[shot]
            axes.errorbar(
                x + offset,
                mean,
                deviation,
                color=style.color(runs),
                marker=style.marker(runs),
                ms=6,
                capsize=3,
            )


def _along_epochs(axes: Axes, by_epoch: dict, name: str, runs: Runs, style: Style) -> None:
    for shot, dashes in _DASHES.items():
        found = {epoch: values[name][shot] for epoch, values in by_epoch.items()}
        shown = {epoch: spread.mean for epoch, spread in found.items() if spread is not None}
        look = {"linestyle": dashes, "color": style.color(runs), "marker": style.marker(runs)}
        curve(axes, list(shown), list(shown.values()), **look)
