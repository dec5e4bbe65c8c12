"""The picture of a run: training curves, and per-class accuracy against class size."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bccl_jax.reporting import drawing, style
from bccl_jax.reporting.console import SHOTS, tested
from bccl_jax.reporting.lettering import label
from bccl_jax.reporting.name_places import name_points
from bccl_jax.reporting.palette import KINDS, MARKERS
from bccl_jax.reporting.palette import SHOTS as COLORS
from bccl_jax.reporting.records import course

# Inches of a panel.
_WIDE, _TALL = 5.2, 4.0
# Classes up to which each point has its name; of more the least accurate ones have.
_ALL_NAMED, _LEAST_NAMED = 20, 6


@style.styled()
def report(
    records: list[dict],
    class_counts: np.ndarray,
    groups: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    title: str,
    evaluated_on: str = "test",
) -> Figure:
    """Draws loss, accuracy by shot group, and the last evaluation class by class.

    Where the records have them, also the accuracy of the averaged weights, dotted in the colour of
    the raw ones; and by quarters of an epoch the mean cosines of the embeddings and how the
    gradients of the losses compare at the backbone.

    Args:
      records: of metrics.jsonl.
      class_counts: int [K], training images of each class.
      groups: bool [K] of each shot group.
      class_names: K names.
      title: of the picture.
      evaluated_on: the split of the records' accuracies.

    Returns:
      The figure.
    """
    fine = any("cosine_within" in record.get("quarters", {}) for record in records)
    lines, columns = (2, 2) if fine else (1, 3)
    figure = Figure(figsize=(_WIDE * columns, _TALL * lines + 0.4))
    drawing.titled(figure, title)
    grid = figure.add_gridspec(lines, columns)
    losses, accuracies, classes = (figure.add_subplot(place) for place in list(grid)[:3])
    _draw_losses(losses, records)
    _draw_accuracies(accuracies, records, evaluated_on)
    if fine:
        _draw_embeddings(figure, grid[1, 1], records)
    last = next(record for record in reversed(records) if "eval" in record)
    placed = _draw_classes(classes, last, class_counts, groups)
    drawing.legends_below(*figure.axes)
    _name_classes(classes, _per_class(last), class_counts, class_names, *placed)
    return figure


def _draw_losses(axes: Axes, records: list[dict]) -> None:
    epochs = [record["epoch"] for record in records]
    terms = [n for n in records[0]["train"] if n.endswith("_loss")]
    for name, color in [
        ("loss", COLORS["all"]),
        *((term, KINDS[i % len(KINDS)]) for i, term in enumerate(terms)),
    ]:
        called = "total" if name == "loss" else name.removesuffix("_loss").replace("_", " ")
        look = {"color": color, "label": called if terms else None}
        drawing.curve(axes, epochs, _numbers(records, "train", name), **look)
    axes.set(title="Training loss" + (" and its terms" if terms else ""), ylabel="loss")
    _with_zero(axes)
    drawing.over_epochs(axes, epochs[-1])


def _draw_accuracies(axes: Axes, records: list[dict], on: str) -> None:
    evaluated = [record for record in records if "eval" in record]
    last, when = evaluated[-1]["eval"], [record["epoch"] for record in evaluated]
    for shot in SHOTS:
        if last[shot] is not None:
            look = {"color": COLORS[shot], "marker": MARKERS.get(shot, "D")}
            look["label"] = "all, mean of classes" if shot == "all" else shot
            drawing.curve(axes, when, _numbers(evaluated, "eval", shot), **look)
    if last.get("top1") is not None:
        top1 = _numbers(evaluated, "eval", "top1")
        look = {"color": "black", "linestyle": "--", "linewidth": 1, "marker": "."}
        drawing.curve(axes, when, top1, label="top-1, share of images", **look)
    averaged = [record for record in evaluated if "eval_ema" in record]
    if averaged:
        _draw_averages(axes, averaged)
    axes.set_title(f"Accuracy on {on} images by shot group")
    drawing.percent(axes)
    drawing.over_epochs(axes, records[-1]["epoch"])


def _draw_averages(axes: Axes, records: list[dict]) -> None:
    when = [record["epoch"] for record in records]
    for shot in SHOTS:
        if records[-1]["eval_ema"][shot] is None:
            continue
        # Colours are the shot groups' already.
        look = {"color": COLORS[shot], "linestyle": ":", "marker": "x"}
        look["label"] = "dotted: averaged weights" if shot == "all" else None
        drawing.curve(axes, when, _numbers(records, "eval_ema", shot), **look)


def _draw_classes(
    axes: Axes, record: dict, class_counts: np.ndarray, groups: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The points of the K classes, [K, 2], and points of all that is drawn there, [n, 2]."""
    per_class = _per_class(record)
    sizes = drawing.over_sizes(axes, class_counts)
    many = len(per_class) > 200
    look = {"s": 9 if many else 26, "alpha": 0.35 if many else 0.85, "linewidths": 0}
    points = np.stack([sizes, per_class], axis=1)
    drawn = [points[~np.isnan(per_class)]]
    for shot, group in groups.items():
        here = group & ~np.isnan(per_class)
        if not here.any():
            continue
        look |= {"color": COLORS[shot], "marker": MARKERS[shot]}
        axes.scatter(sizes[here], per_class[here], **look)
        # Where a group has one size, too.
        ends, mean = (sizes[here].min() / 1.05, sizes[here].max() * 1.05), per_class[here].mean()
        told = f"{shot}: {mean:.1f} (mean of {_of(here.sum(), group.sum())})"
        axes.hlines(mean, *ends, color=COLORS[shot], linewidth=1.4, linestyle="--", label=told)
        drawn.append(np.stack([np.geomspace(*ends, 25), np.full(25, mean)], axis=1))
    axes.set_title(_of_classes(record))
    drawing.percent(axes)
    return points, np.concatenate(drawn)


def _name_classes(
    axes: Axes,
    per_class: np.ndarray,
    class_counts: np.ndarray,
    names: Sequence[str],
    points: np.ndarray,
    drawn: np.ndarray,
) -> None:
    there = np.flatnonzero(~np.isnan(per_class))
    # Of classes that are as bad, the ones that have most images to learn from.
    order = there[np.lexsort((-class_counts[there], per_class[there]))]
    named = order if len(per_class) <= _ALL_NAMED else order[:_LEAST_NAMED]
    name_points(axes, points[named], [label(names[k]) for k in named], drawn)


def _per_class(record: dict) -> np.ndarray:
    return np.array(record["eval"]["per_class"], float)  # None becomes NaN


def _of_classes(record: dict) -> str:
    some, every = tested(record["eval"])
    which = "each class" if some == every else f"{some:,} of {every:,} classes"
    weights = ", raw weights" if "eval_ema" in record else ""
    rest = "" if some == every else " (others: no test image)"
    return f"Accuracy of {which}, epoch {record['epoch']}{weights}{rest}"


def _of(some: int, every: int) -> str:
    return f"{some:,} classes" if some == every else f"{some:,} of {every:,} classes"


def _draw_embeddings(figure: Figure, place, records: list[dict]) -> None:
    when, ratio = _gradient_ratio(records)
    until, rows = records[-1]["epoch"], 2 if when.size else 1
    inner = place.subgridspec(rows, 1, height_ratios=(3, 2)[:rows])
    axes = figure.add_subplot(inner[0])
    for name, color in zip(("within", "between"), KINDS, strict=False):
        look = {"color": color, "label": f"{name} classes"}
        drawing.curve(axes, *course(records, f"cosine_{name}"), **look)
    axes.set(title="Cosines of training embeddings", ylabel="mean cosine")
    axes.set_ylim(min(0, axes.get_ylim()[0]), 1.03)
    drawing.over_epochs(axes, until)
    if when.size:
        axes.set_xlabel("")
        below = figure.add_subplot(inner[1])
        drawing.curve(below, when, ratio, color=COLORS["all"], linewidth=1)
        # With 1, where both are the same.
        drawing.log_axis(below.yaxis, min(ratio.min() / 1.2, 0.5), max(ratio.max() * 1.2, 2))
        below.set(title="Gradient at the backbone: contrastive / classification", ylabel="ratio")
        drawing.over_epochs(below, until)


def _with_zero(axes: Axes) -> None:
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0), max(high, 0))


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
    style.save(report(*args), path)
