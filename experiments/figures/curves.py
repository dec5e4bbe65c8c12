"""Accuracies, losses and cosines over epochs."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bccl_jax.reporting.drawing import curve, over_epochs
from bccl_jax.reporting.style import styled

from ..records.gathering import Section
from ..records.runs import Runs
from .style import Style, frame, legend

# How curves of averaged weights are drawn.
AVERAGED = ":"


@styled()
def curves(section: Section) -> Figure:
    """Accuracies, losses and cosines of embeddings over epochs, means and deviations.

    Of runs with averaged weights, their accuracies too, dotted.
    """
    style = Style(section)
    losses = sorted(
        {
            name
            for record in section.records
            for point in record["curve"]
            for name in point["train"]
            if name == "loss" or name.endswith("_loss")
        },
        key=lambda name: (name != "loss", name),
    )
    panels: list[tuple[str, Callable]] = [
        ("mean accuracy of all classes, %", lambda point: point["all"]),
        ("accuracy of few-shot classes, %", lambda point: point["few"]),
    ]
    for name in losses:
        title = (
            "training loss, sum of the row's terms" if name == "loss" else name.replace("_", " ")
        )
        panels.append((title, lambda point, name=name: point["train"].get(name)))
    for name in ("cosine_within", "cosine_between"):
        if any(name in point["train"] for record in section.records for point in record["curve"]):
            title = f"mean cosine {name.partition('_')[2]} classes, training"
            panels.append((title, lambda point, name=name: point["train"].get(name)))
    until = max(point["epoch"] for record in section.records for point in record["curve"])
    columns = 3
    lines = -(-len(panels) // columns)
    figure = frame(section, 2.6 * lines + 0.9)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (title, value) in zip(grid, panels, strict=False):
        for runs in section.finished:
            _curve(axes, runs, value, style)
            _curve(axes, runs, _averaged(value), style, linestyle=AVERAGED)
        axes.set_title(title)
        over_epochs(axes, until)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    averaged = any(runs.averaged for runs in section.finished)
    legend(figure, section, style, {"averaged weights": AVERAGED} if averaged else {})
    return figure


def _averaged(value: Callable) -> Callable:
    """The same figure of the averaged weights, None where a point has none, as of training."""
    return lambda point: value({"train": {}, "all": None, "few": None, **point.get("ema", {})})


def _curve(axes: Axes, runs: Runs, value: Callable, style: Style, **options) -> None:
    by_epoch = {}
    for record in runs.records.values():
        for point in record["curve"]:
            by_epoch.setdefault(point["epoch"], []).append(value(point))
    # Epochs that not every seed has, or without this loss, are left out.
    by_epoch = {
        epoch: values
        for epoch, values in by_epoch.items()
        if len(values) == len(runs.records) and None not in values
    }
    if by_epoch:
        each = np.array([by_epoch[epoch] for epoch in sorted(by_epoch)])
        _line(axes, sorted(by_epoch), each, style.color(runs), style.marker(runs), **options)


def _line(axes: Axes, epochs: list[int], each: np.ndarray, color: str, marker: str, **options):
    """The mean over seeds [epochs, seeds] as a line, its deviation as a band."""
    mean = each.mean(axis=1)
    curve(axes, epochs, mean, color=color, marker=marker, **options)
    if each.shape[1] > 1:
        deviation = each.std(axis=1, ddof=1)
        axes.fill_between(epochs, mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0)
