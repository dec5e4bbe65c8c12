"""Draws the pictures of docs/concepts.md from docs/records and from what this package computes.

python -m experiments.concept_figures
"""

import pathlib

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bccl_jax.data.long_tail import class_counts, shot_groups
from bccl_jax.reporting.drawing import legends_below, log_axis
from bccl_jax.reporting.palette import KINDS, SHOTS
from bccl_jax.reporting.style import save, styled

from .keys_page import DOCS
from .records.kept import read_records
from .records.runs import Record

RECORDS = "cifar100_small_methods.jsonl.xz"
# Of the many methods those that the page speaks of, the one that knows the least first.
SHOWN = {
    "cross_entropy": "cross-entropy",
    "logit_adjustment": "logit adjustment",
    "scl": "SCL: contrast, no prior",
    "bccl": "BCCL: contrast and prior",
}


def main() -> None:
    """Draws all of them."""
    if not DOCS.is_dir():
        raise SystemExit(f"error: there is no folder {DOCS}; run it in a clone of the repository")
    found = of_shown(read_records(DOCS / "records", RECORDS))
    for name, figure in {
        "concept_class_counts": counts_figure(),
        "concept_by_class": classes_figure(found),
        "concept_shot_groups": groups_figure(found),
    }.items():
        path = pathlib.Path(DOCS / "assets" / f"{name}.png")
        save(figure, path, dpi=110, colors=64)
        print(f"written to {path}")


def of_shown(records: list[Record]) -> dict[str, list[Record]]:
    """The records of each method that is shown, one for each seed."""
    return {row: [r for r in records if r["row"] == row] for row in SHOWN}


@styled()
def counts_figure() -> Figure:
    """Training images of the classes of CIFAR-100-LT at three imbalance factors."""
    figure = Figure(figsize=(8, 3.6))
    axes = figure.subplots(1, 2, width_ratios=(3, 2))
    counts = class_counts(100, 500, 100.0)
    for name, group in shot_groups(counts).items():
        axes[0].bar(
            np.flatnonzero(group), counts[group], 1.0, color=SHOTS[name],
            label=f"{name}: {group.sum()} classes, {counts[group].sum():,} images",
        )  # fmt: skip
    axes[0].set(
        title=f"CIFAR-100-LT, imbalance 100: {counts.sum():,} of 50,000 images",
        xlabel="class, the largest first", ylabel="training images", xlim=(-1, 100),
    )  # fmt: skip
    for color, factor in zip(KINDS, (10, 50, 100), strict=False):
        axes[1].plot(class_counts(100, 500, factor), color=color, label=f"imbalance {factor}")
    axes[1].set(
        title="Three factors, log scale", xlabel="class, the largest first",
    )  # fmt: skip
    log_axis(axes[1].yaxis, 4, 600)
    legends_below(*axes)
    return figure


@styled()
def classes_figure(found: dict[str, list[Record]]) -> Figure:
    """By class, means of the seeds: cross-entropy's accuracy, and what the prior adds to it."""
    counts = np.array(found["cross_entropy"][0]["class_counts"])
    colors = np.empty(len(counts), object)
    for name, group in shot_groups(counts).items():
        colors[group] = SHOTS[name]
    plain, adjusted = (
        np.mean([record["last"]["per_class"] for record in found[row]], axis=0)
        for row in ("cross_entropy", "logit_adjustment")
    )
    figure = Figure(figsize=(8, 4.8))
    above, below = figure.subplots(2, 1, sharex=True)
    places = np.arange(len(counts))
    above.bar(places, plain, color=colors)
    above.axhline(100 / len(counts), color="0.4", lw=1, ls=":")
    above.text(len(counts) - 0.5, 100 / len(counts) + 2, "a guess", color="0.3", ha="right")
    above.set(title=f"Cross-entropy, {named(found)}", ylabel="accuracy, %", ylim=(0, 100))
    below.bar(places, adjusted - plain, color=colors)
    below.axhline(0, color="0.4", lw=1)
    below.set(
        title="Logit adjustment less cross-entropy", ylabel="points", xticks=places,
        xticklabels=[str(count) for count in counts], xlabel="training images of the class",
    )  # fmt: skip
    kinds = [Patch(color=SHOTS[name], label=f"{name}-shot") for name in ("many", "medium", "few")]
    figure.legend(handles=kinds, loc="outside lower left", ncols=3)
    return figure


@styled()
def groups_figure(found: dict[str, list[Record]]) -> Figure:
    """Accuracy by shot group, a bar for each method, and a dot for each seed."""
    figure = Figure(figsize=(8, 3.6))
    axes = figure.subplots()
    groups = ("all", "many", "medium", "few")
    width = 0.8 / len(SHOWN)
    for position, (row, name) in enumerate(SHOWN.items()):
        seeds = np.array([[record["last"][group] for group in groups] for record in found[row]])
        places = np.arange(len(groups)) + (position - (len(SHOWN) - 1) / 2) * width
        axes.bar(places, seeds.mean(0), width * 0.94, color=KINDS[position], label=name)
        axes.plot(places, seeds.T, ".", color="black", ms=4)
    axes.set(
        title=f"Accuracy by shot group, {named(found)}", ylabel="accuracy, %",
        xticks=range(len(groups)),
        xticklabels=("all classes", *(f"{group}-shot" for group in groups[1:])),
    )  # fmt: skip
    legends_below(axes)
    return figure


def named(found: dict[str, list[Record]]) -> str:
    """What the records are of."""
    seeds = {len(records) for records in found.values()}
    return f"a fifth of CIFAR-100-LT, {min(seeds)} seeds"


if __name__ == "__main__":
    main()
