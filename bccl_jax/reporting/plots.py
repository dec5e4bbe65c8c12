"""The picture of a run: training curves, and per-class accuracy against class size."""

import pathlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bccl_jax.reporting.console import SHOTS, tested
from bccl_jax.reporting.lettering import LITERAL, drawable
from bccl_jax.reporting.palette import KINDS
from bccl_jax.reporting.palette import SHOTS as COLORS
from bccl_jax.reporting.records import course


def report(
    records: list[dict], class_counts: np.ndarray, groups: dict[str, np.ndarray], title: str
) -> Figure:
    """Draws loss, accuracy by shot group, and the last evaluation class by class.

    Where the records have them, also the accuracy of the averaged weights, dotted in the colour of
    the raw ones; and by quarters of an epoch the mean cosines of the embeddings and how the
    gradients of the losses compare at the backbone.

    Args:
      records: of metrics.jsonl.
      class_counts: int [K], training images of each class.
      groups: bool [K] of each shot group.
      title: of the picture.

    Returns:
      The figure.
    """
    fine = any("cosine_within" in record.get("quarters", {}) for record in records)
    panels = 4 if fine else 3
    figure = Figure(figsize=(5 * panels, 4.2), layout="constrained")
    loss_axes, accuracy_axes, class_axes, *further = figure.subplots(1, panels)
    figure.suptitle(drawable(title), **LITERAL)

    epochs = [record["epoch"] for record in records]
    for name in [n for n in records[0]["train"] if n == "loss" or n.endswith("_loss")]:
        label = name.replace("_loss", "").replace("loss", "total")
        loss_axes.plot(epochs, _numbers(records, "train", name), label=label)
    loss_axes.set(xlabel="epoch", ylabel="training loss")
    loss_axes.legend(frameon=False)

    evaluated = [record for record in records if "eval" in record]
    last = evaluated[-1]["eval"]
    when = [record["epoch"] for record in evaluated]
    for shot in SHOTS:
        if last[shot] is not None:
            label = "all, mean of classes" if shot == "all" else shot
            accuracies = _numbers(evaluated, "eval", shot)
            accuracy_axes.plot(when, accuracies, color=COLORS[shot], label=label, marker=".")
    if last.get("top1") is not None:
        top1 = _numbers(evaluated, "eval", "top1")
        style = {"color": "0.5", "linestyle": "--", "marker": "."}
        accuracy_axes.plot(when, top1, label="top-1, share of images", **style)
    averaged = [record for record in evaluated if "eval_ema" in record]
    if averaged:
        _draw_averages(accuracy_axes, averaged)
    accuracy_axes.set(xlabel="epoch", ylabel="accuracy, %", ylim=(0, 100))
    accuracy_axes.legend(frameon=False, loc="lower right")

    per_class = np.array(last["per_class"], float)  # None becomes NaN
    colors = np.full(len(per_class), COLORS["all"])
    for shot, group in groups.items():
        colors[group] = COLORS[shot]
    class_axes.scatter(class_counts, per_class, s=18, color=colors)
    for shot, group in groups.items():
        here = group & ~np.isnan(per_class)
        if here.any():
            class_axes.hlines(
                per_class[here].mean(),
                class_counts[here].min(),
                class_counts[here].max(),
                color=COLORS[shot],
                label=f"{shot}: {here.sum()} of {group.sum()} classes",
            )
    class_axes.set(
        xscale="log",
        xlabel="training images of the class",
        ylabel="accuracy, %",
        ylim=(-3, 102),  # classes at 0 are to be seen
        title="last evaluation{}, {} of {} classes".format(
            ", raw weights" if averaged else "", *tested(last)
        ),
    )
    class_axes.legend(frameon=False, loc="lower right")
    if fine:
        _draw_embeddings(*further, records)
    for axes in (loss_axes, accuracy_axes, *further):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _draw_averages(axes: Axes, records: list[dict]) -> None:
    when = [record["epoch"] for record in records]
    for shot in SHOTS:
        if records[-1]["eval_ema"][shot] is None:
            continue
        # Colours are the shot groups' already.
        label = "dotted: averaged weights" if shot == "all" else None
        accuracies = _numbers(records, "eval_ema", shot)
        axes.plot(when, accuracies, color=COLORS[shot], label=label, linestyle=":", marker="x")


def _draw_embeddings(axes: Axes, records: list[dict]) -> None:
    for name, color in zip(("within", "between"), KINDS, strict=False):
        label = f"{name} classes"
        axes.plot(*course(records, f"cosine_{name}"), color=color, label=label)
    axes.set(xlabel="epoch", ylabel="mean cosine of embeddings")
    lines = list(axes.lines)
    when, ratio = _gradient_ratio(records)
    if when.size:
        ratio_axes = axes.twinx()
        label = "gradients (right)"
        lines += ratio_axes.plot(when, ratio, color="0.75", linewidth=1, label=label)
        ratio_axes.set(yscale="log", ylabel="contrastive / classification gradient")
        ratio_axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ratio_axes.yaxis.set_major_formatter("{x:g}")
        ratio_axes.yaxis.set_minor_formatter(NullFormatter())
        # The cosines in front.
        axes.set_zorder(ratio_axes.get_zorder() + 1)
        axes.patch.set_visible(False)
    # Above the curves, which go everywhere.
    axes.legend(handles=lines, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)


def _gradient_ratio(records: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """When and what it is, where a logarithmic axis can show it."""
    numerator, denominator = (
        course(records, f"{name}_gradient") for name in ("contrastive", "classification")
    )
    when, *both = np.intersect1d(numerator[0], denominator[0], return_indices=True)
    above, below = (
        values[i] for (_, values), i in zip((numerator, denominator), both, strict=True)
    )
    drawn = (above > 0) & (below > 0)
    return when[drawn], above[drawn] / below[drawn]


def _numbers(records: list[dict], group: str, name: str) -> np.ndarray:
    """A figure over records, NaN where one has none: a shot group of no images, an older run."""
    return np.array([record[group].get(name) for record in records], float)


def save_report(path: pathlib.Path, *args) -> None:
    """Writes `report(*args)` as a PNG file."""
    report(*args).savefig(path, dpi=110)
