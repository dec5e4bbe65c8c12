"""Pictures of an experiment: accuracy, training curves, classes by size, feature space."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from bccl_jax.evaluation.feature_space import PER_CLASS
from bccl_jax.reporting.console import SHOTS
from experiments import tables
from experiments.gathering import Runs, Section, measures
from experiments.tables import SPACES

# Okabe & Ito's colours, told apart with any colour vision; their yellow is lost on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "os^Dv<>P"
WIDTH = 10.0  # inches
_SHOTS = SHOTS[1:]
# Above the classes, few-shot ones on the left: across the axes, and the side that is given.
_PLACES = {"few": (0.03, "left"), "medium": (0.5, "center"), "many": (0.98, "right")}
_DASHES = {"many": "--", "few": "-"}
_UNITS = {"nearest_class": "nearest class, degrees"}


class Style:
    """Colour and marker of each row, the same in every picture of an experiment.

    Args:
      section: with the rows.
    """

    def __init__(self, section: Section):
        self._rows = [runs.row.name for runs in section.rows if runs.row.method is not None]

    def color(self, runs: Runs) -> str:
        """Of a row that the harness has a method for."""
        return COLORS[self._rows.index(runs.row.name) % len(COLORS)]

    def marker(self, runs: Runs) -> str:
        """Of a row that the harness has a method for."""
        return MARKERS[self._rows.index(runs.row.name) % len(MARKERS)]


def draw(section: Section) -> dict[str, Figure]:
    """All pictures of a section.

    Args:
      section: with a record at least.

    Returns:
      {suffix of the file name: figure}, "" the accuracies; "curves", "classes" and, where it was
      measured, "backbone" and "projector".
    """
    found = {
        "": accuracies(section),
        "curves": curves(section),
        "classes": classes(section),
        **{space: feature_space(section, space) for space in SPACES},
    }
    return {suffix: figure for suffix, figure in found.items() if figure is not None}


def accuracies(section: Section) -> Figure:
    """Accuracy of each row, and its difference to the reference row with the 95 % interval."""
    style = Style(section)
    figure = _figure(section, 4.4)
    if section.against_reference:
        axes, differences = figure.subplots(1, 2, width_ratios=(3, 2))
        _forest(differences, section, style)
    else:
        axes = figure.subplots()
    if section.experiment.axis:
        _bars_over_values(axes, section, style)
    else:
        _grouped_bars(axes, section, style)
    _clean(axes)
    printed = [f"{r.row.name} {section.paper(r.row)['all']}" for r in _printed(section)]
    note = ""
    if printed and not section.full_size:
        note = f"The paper prints, of {tables.paper_size(section)}: {', '.join(printed)}"
    _legend_below(figure, *axes.get_legend_handles_labels(), note)
    return figure


def _printed(section: Section) -> list[Runs]:
    """Finished rows that the paper has a figure of."""
    return [runs for runs in section.finished if section.paper(runs.row)]


def _figure(section: Section, height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    setting = f"{section.dataset}, imbalance {section.imbalance:g}, {section.on} images"
    if not section.tested.all():
        setting += f" of {section.tested.sum()} of {len(section.tested)} classes"
    figure.suptitle(f"{section.experiment.title} ({setting})", fontsize=11)
    return figure


def _bars_over_values(axes: Axes, section: Section, style: Style) -> None:
    """A bar for each value of the axis, numbers in numeric order."""
    rows = section.finished
    if all(isinstance(runs.row.value, int | float) for runs in rows):
        rows = sorted(rows, key=lambda runs: runs.row.value)
    paper = []
    for x, runs in enumerate(rows):
        _bar(axes, x, 0.7, runs, "all", style)
        mean, deviation, _ = runs.accuracy("all")
        axes.annotate(
            f"{mean:.2f}",
            (x, mean + (deviation or 0)),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
        paper.append((x, section.paper(runs.row).get("all")))
    _mark_paper(axes, section, paper, 0.7)
    axes.set_xticks(range(len(rows)), [_value(runs) for runs in rows])
    axes.set(xlabel=section.experiment.axis, ylabel="accuracy of all classes, %")
    axes.margins(y=0.1)


def _value(runs: Runs) -> str:
    return str(runs.row.value).replace("_", " ")


def _grouped_bars(axes: Axes, section: Section, style: Style) -> None:
    """Bars of each row over all classes and the shot groups."""
    rows = section.finished
    width = 0.8 / len(rows)
    paper = []
    for i, runs in enumerate(rows):
        offset = (i - (len(rows) - 1) / 2) * width
        for x, shot in enumerate(SHOTS):
            label = runs.row.name if x == 0 else None
            _bar(axes, x + offset, 0.9 * width, runs, shot, style, label)
            paper.append((x + offset, section.paper(runs.row).get(shot)))
    _mark_paper(axes, section, paper, 0.9 * width)
    axes.set_xticks(range(len(SHOTS)), SHOTS)
    axes.set(ylabel="accuracy, %")


def _bar(
    axes: Axes,
    x: float,
    width: float,
    runs: Runs,
    shot: str,
    style: Style,
    label: str | None = None,
) -> None:
    """The mean as a bar from zero, the deviation over seeds as an error bar, seeds as dots."""
    spread = runs.accuracy(shot)
    if spread is None:
        return
    axes.bar(x, spread.mean, width, color=style.color(runs), alpha=0.75, label=label)
    if spread.deviation is None:
        return
    axes.errorbar(x, spread.mean, spread.deviation, color="black", capsize=3, lw=1.2)
    each = [record["last"][shot] for record in runs.records.values()]
    offsets = np.linspace(-0.25, 0.25, len(each)) * width
    axes.scatter(x + offsets, each, s=10, color="white", edgecolor="black", linewidth=0.7, zorder=3)


def _mark_paper(
    axes: Axes, section: Section, figures: list[tuple[float, float | None]], width: float
) -> None:
    """The paper's figures (x, accuracy) across bars of a width, where the runs are of its size."""
    found = [(x, figure) for x, figure in figures if figure is not None]
    if found and section.full_size:
        x, figure = np.transpose(found)
        ends = x - width / 2, x + width / 2
        axes.hlines(figure, *ends, color="black", lw=2, zorder=4, label="the paper's")


def _forest(axes: Axes, section: Section, style: Style) -> None:
    """Differences to the reference, one below the other, about a line at zero."""
    rows = {runs.row.name: runs for runs in section.finished}
    found = section.against_reference
    for y, comparison in enumerate(found):
        runs = rows[comparison.row]
        color = style.color(runs)
        if comparison.low is not None:
            axes.hlines(y, comparison.low, comparison.high, color=color, lw=2)
        axes.plot(comparison.difference, y, style.marker(runs), color=color, ms=7)
    axes.axvline(0, color="black", lw=1)
    names = [c.row for c in found]
    if section.experiment.axis:
        names = [_value(rows[name]) for name in names]
        axes.set_ylabel(section.experiment.axis)
    axes.set_yticks(range(len(found)), names)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set(xlabel=f"points minus {section.experiment.reference}, 95 % interval")
    _clean(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def curves(section: Section) -> Figure:
    """Accuracies, losses and cosines of embeddings over epochs, means and deviations."""
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
            "training loss, the sum of the row's own terms"
            if name == "loss"
            else name.replace("_", " ")
        )
        panels.append((title, lambda point, name=name: point["train"].get(name)))
    for name in ("cosine_within", "cosine_between"):
        if any(name in point["train"] for record in section.records for point in record["curve"]):
            title = f"mean cosine {name.partition('_')[2]} classes, training"
            panels.append((title, lambda point, name=name: point["train"].get(name)))
    columns = 3
    lines = -(-len(panels) // columns)
    figure = _figure(section, 2.6 * lines + 0.9)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (title, value) in zip(grid, panels, strict=False):
        for runs in section.finished:
            _curve(axes, runs, value, style)
        axes.set_title(title, fontsize=10)
        _over_epochs_axis(axes)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    _legend(figure, section, style)
    return figure


def _curve(axes: Axes, runs: Runs, value: Callable, style: Style) -> None:
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
        _line(axes, sorted(by_epoch), each, style.color(runs), style.marker(runs))


def _line(axes: Axes, epochs: list[int], each: np.ndarray, color: str, marker: str, **options):
    """The mean over seeds [epochs, seeds] as a line, its deviation as a band."""
    mean = each.mean(axis=1)
    axes.plot(epochs, mean, color=color, marker=marker, ms=4, lw=1.5, **options)
    if each.shape[1] > 1:
        deviation = each.std(axis=1, ddof=1)
        axes.fill_between(epochs, mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0)


def _over_epochs_axis(axes: Axes) -> None:
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _clean(axes)


def _legend(
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
    _legend_below(figure, handles, [handle.get_label() for handle in handles])


def _legend_below(figure: Figure, handles: list, labels: list[str], note: str = "") -> None:
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


def classes(section: Section) -> Figure:
    """Accuracy of each class against its training images; a panel a row, the reference in grey."""
    style = Style(section)
    rows, counts = section.finished, section.class_counts
    reference = next(r for r in section.rows if r.row.name == section.experiment.reference)
    columns = 2 if len(rows) == 4 else min(3, len(rows))
    lines = -(-len(rows) // columns)
    figure = _figure(section, 2.9 * lines + 0.8)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, runs in zip(grid, rows, strict=False):
        title = runs.row.name
        if reference.records and runs is not reference:
            axes.scatter(counts, reference.per_class(), s=14, color="0.75", marker="o")
            title += f" (grey: {reference.row.name})"
        per_class = runs.per_class()
        axes.scatter(
            counts, per_class, s=18, color=style.color(runs), marker=style.marker(runs), alpha=0.8
        )
        for shot, group in section.groups.items():
            tested = group & ~np.isnan(per_class)
            if tested.any():
                ends = counts[tested].min(), counts[tested].max()
                mean = per_class[tested].mean()
                axes.hlines(mean, *ends, color=style.color(runs), lw=2)
                x, side = _PLACES[shot]
                axes.text(
                    x, 0.93, f"{shot} {mean:.1f}", ha=side, fontsize=9, transform=axes.transAxes
                )
        axes.set_title(title, fontsize=10)
        axes.set(xscale="log", ylim=(-3, 115))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_yticks(range(0, 101, 20))
        _clean(axes)
    for axes in grid[len(rows) - columns : len(rows)]:
        axes.tick_params(labelbottom=True)
    for axes in grid[len(rows) :]:
        axes.set_axis_off()
    figure.supxlabel("training images of the class", fontsize=10)
    figure.supylabel("accuracy, %", fontsize=10)
    return figure


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
    figure = _figure(section, 10.5)
    figure.suptitle(f"{figure.get_suptitle()}\n{SPACES[space]}", fontsize=11)
    grid = figure.subplots(4, 3)
    for i, name in enumerate(PER_CLASS):
        line, column = 2 * (i // 3), i % 3
        groups, epochs = grid[line, column], grid[line + 1, column]
        for number, (runs, by_epoch) in enumerate(found):
            offset = min(0.16, 0.8 / len(found)) * (number - (len(found) - 1) / 2)
            _by_group(groups, by_epoch[max(by_epoch)][name], offset, runs, style)
            _over_epochs(epochs, by_epoch, name, runs, style)
        groups.set_xticks(range(len(_SHOTS)), _SHOTS)
        groups.set_xlim(-0.5, len(_SHOTS) - 0.5)
        groups.set_title(_UNITS.get(name, name.replace("_", " ")), fontsize=10)
        _over_epochs_axis(epochs)
        _clean(groups)
    shots = {f"{shot} over epochs": dashes for shot, dashes in _DASHES.items()}
    _legend(figure, section, style, shots)
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


def _over_epochs(axes: Axes, by_epoch: dict, name: str, runs: Runs, style: Style) -> None:
    for shot, dashes in _DASHES.items():
        found = {epoch: values[name][shot] for epoch, values in by_epoch.items()}
        shown = {epoch: spread.mean for epoch, spread in found.items() if spread is not None}
        axes.plot(
            list(shown),
            list(shown.values()),
            dashes,
            color=style.color(runs),
            marker=style.marker(runs),
            ms=4,
            lw=1.5,
        )
