"""The picture of a soak: what each phase held, from its first sample to its last."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bccl_jax.reporting import style
from bccl_jax.reporting.drawing import curve, titled
from bccl_jax.reporting.scales import plain
from faults.soak.flatness import WARM_UP

MIB = 2**20
# A row of panels for each: what it is called, and the figures in it by their labels.
ROWS = {
    "memory, MiB": {
        "own memory": "uss",
        "memory of readers": "below uss",
        "shared memory": "shared",
        "arrays": "array bytes",
    },
    "in use": {
        "file handles": "handles",
        "threads": "threads",
        "processes": "processes",
        "compiled programs": "compilations",
    },
    "of the run": {"files": "files", "MiB of files": "file bytes", "MiB of records": "records"},
}
BYTES = {"uss", "below uss", "shared", "array bytes", "file bytes", "records"}


@style.styled()
def draw(samples: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Draws the samples.

    Args:
      samples: of each phase.

    Returns:
      The figure: a column a phase, a row a kind; grey is the warm-up, which is not judged.
    """
    figure = Figure(figsize=(2.6 * len(samples) + 1.6, 7.2))
    titled(figure, "What a long run holds, from its start to its end; grey: warm-up, not judged")
    grid = figure.subplots(len(ROWS), len(samples), squeeze=False, sharex="col")
    for column, (phase, taken) in zip(grid.T, samples.items(), strict=True):
        steps = np.array([sample["step"] for sample in taken])
        for axes, figures in zip(column, ROWS.values(), strict=True):
            for label, name in figures.items():
                values = np.array([sample[name] for sample in taken], float)
                curve(axes, steps, values / MIB if name in BYTES else values, label=label)
            axes.axvspan(steps[0], steps[int(len(steps) * WARM_UP)], color="0.92", zorder=0, lw=0)
            axes.set_ylim(bottom=0)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
                axis.set_major_formatter(lambda value, _: plain(value))
        column[-1].set_xlabel(phase)
    for axes, title in zip(grid[:, 0], ROWS, strict=True):
        axes.set_ylabel(title)
    for axes in grid[:, -1]:
        axes.legend(loc="center left", bbox_to_anchor=(1.05, 0.5))
    return figure


def save(path: pathlib.Path, samples: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Writes `draw(samples)` as a PNG file, of few colours and so a small one."""
    style.save(draw(samples), path, dpi=80, colors=64)
