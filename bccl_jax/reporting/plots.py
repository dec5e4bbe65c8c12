"""The picture of a run: training curves, and per-class accuracy against class size."""

import pathlib

import numpy as np
from matplotlib.figure import Figure

from bccl_jax.reporting.console import SHOTS

COLORS = {"all": "black", "many": "tab:blue", "medium": "tab:orange", "few": "tab:red"}


def report(
    records: list[dict], class_counts: np.ndarray, groups: dict[str, np.ndarray], title: str
) -> Figure:
    """Draws loss, accuracy by shot group, and the last evaluation class by class.

    Args:
      records: of metrics.jsonl.
      class_counts: int [K], training images of each class.
      groups: bool [K] of each shot group.
      title: of the picture.

    Returns:
      The figure.
    """
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    loss_axes, accuracy_axes, class_axes = figure.subplots(1, 3)
    figure.suptitle(title)

    epochs = [record["epoch"] for record in records]
    for name in [n for n in records[0]["train"] if n == "loss" or n.endswith("_loss")]:
        label = name.replace("_loss", "").replace("loss", "total")
        loss_axes.plot(epochs, [record["train"][name] for record in records], label=label)
    loss_axes.set(xlabel="epoch", ylabel="training loss")
    loss_axes.legend(frameon=False)

    evaluated = [record for record in records if "eval" in record]
    for shot in SHOTS:
        if evaluated[-1]["eval"][shot] is not None:
            accuracy_axes.plot(
                [record["epoch"] for record in evaluated],
                [record["eval"][shot] for record in evaluated],
                color=COLORS[shot],
                label=shot,
                marker=".",
            )
    accuracy_axes.set(xlabel="epoch", ylabel="accuracy, %", ylim=(0, 100))
    accuracy_axes.legend(frameon=False, loc="lower right")

    per_class = np.array(evaluated[-1]["eval"]["per_class"], float)  # None becomes NaN
    class_axes.scatter(class_counts, per_class, s=18, color="tab:blue")
    for shot, group in groups.items():
        if group.any():
            class_axes.hlines(
                np.nanmean(per_class[group]),
                class_counts[group].min(),
                class_counts[group].max(),
                color=COLORS[shot],
                label=f"{shot}: {group.sum()} classes",
            )
    class_axes.set(
        xscale="log", xlabel="training images of the class", ylabel="accuracy, %", ylim=(0, 102)
    )
    class_axes.legend(frameon=False, loc="lower right")
    return figure


def save_report(path: pathlib.Path, *args) -> None:
    """Writes `report(*args)` as a PNG file."""
    report(*args).savefig(path, dpi=110)
