"""Several runs side by side: their figures, and which differences the test images can tell."""

import numpy as np

from bccl_jax.page.charts import (
    DASHES,
    GREY,
    LINES,
    SYMBOLS,
    axis,
    epochs,
    figure,
    label,
    line,
    log_axis,
    points,
)
from bccl_jax.page.differences import Against, against
from bccl_jax.page.markup import joined, name, paragraph, table, tag
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.sections.what_ran import by_figure
from bccl_jax.page.told import Told
from bccl_jax.reporting.console import ACCURACIES
from bccl_jax.reporting.palette import SHOTS
from bccl_jax.workdir.agreement import FREE_KEYS

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")


def section(runs: list[Told]) -> Section:
    """The section of two runs or more, of which the others are compared with the first."""
    found, reasons = against(runs)
    parts = [_figures(runs), _settings(runs)]
    if found:
        parts += [_table(found, runs[0]), _forest(found, runs[0])]
        if len(found) == 1:
            parts.append(_by_class(found[0].run, runs[0]))
    if sum(any("eval" in record for record in run.records) for run in runs) > 1:
        parts.append(_curves(runs))
    return Section("Side by side", tuple(parts), tuple(reasons))


def _figures(runs: list[Told]):
    records = {name(run.name): run.figures.record for run in runs if run.figures}
    return by_figure(records, "The last figures of each run")


def _settings(runs: list[Told]):
    """Settings that are not the same in all; a method's own only where all have them."""
    common = set.intersection(*(set(run.config) for run in runs))
    keys = [
        key
        for key in sorted(common)
        if not key.startswith(FREE_KEYS) and any(r.config[key] != runs[0].config[key] for r in runs)
    ]
    if not keys:
        return paragraph("No setting differs.")
    rows = [[tag("code", key), *(tag("bdi", str(run.config[key])) for run in runs)] for key in keys]
    heads = ["Setting", *(name(run.name) for run in runs)]
    return table(heads, rows, "Settings that differ", words=len(heads))


def _table(found: list[Against], first: Told):
    heads = ["Points", *(joined((name(each.run.name), " − ", name(first.name))) for each in found)]
    rows = [
        [called, *(_cell(each.differences.get(key)) for each in found)]
        for key, called in ACCURACIES.items()
    ]
    rows.append(
        ["p of top\u20111", *("–" if each.p is None else f"{each.p:.2g}" for each in found)]
    )
    note = (
        "In brackets the 95 % interval over test images, which says nothing of other seeds: "
        "train several of each to tell methods apart. Bold: 0 lies outside. p: sign flips over the "
        "images on which the runs differ, by Holm over the runs compared."
    )
    made = table(heads, rows, "Differences on the same test images")
    return joined((made, paragraph(note, class_="note")))


def _cell(difference):
    if difference is None:
        return "–"
    mean, interval = f"{difference.mean:+.2f}", f"[{difference.low:+.2f}, {difference.high:+.2f}]"
    sure = difference.low > 0 or difference.high < 0
    interval = tag("span", interval, class_="quiet")
    return joined((tag("strong", mean) if sure else mean, tag("br"), interval))


def _forest(found: list[Against], first: Told) -> Chart:
    traces, keys = [], [key for key in ACCURACIES if key in found[0].differences]
    for i, each in enumerate(found):
        there = [key for key in keys if key in each.differences]
        rows = np.array([each.differences[key] for key in there])
        places = np.array([keys.index(key) for key in there])
        # Side by side where several runs have the same line.
        places = places + (i - (len(found) - 1) / 2) * 0.6 / len(found)
        color, symbol = LINES[i % len(LINES)], _SYMBOLS[i % len(_SYMBOLS)]
        trace = points(rows[:, 0], places, label(each.run.name), color, symbol)
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": (rows[:, 2] - rows[:, 0]).tolist(),
            "arrayminus": (rows[:, 0] - rows[:, 1]).tolist(),
            "color": color,
            "thickness": 2,
        }
        trace["hovertemplate"] = "%{x:+.2f} points<extra></extra>"
        traces.append(trace)
    ticks = {"tickvals": [*range(len(keys))], "ticktext": [ACCURACIES[key] for key in keys]}
    zero = {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper"}
    drawn = figure(
        traces,
        axis("percentage points"),
        axis("", range=[len(keys) - 0.5, -0.5], **ticks),
        height=140 + 44 * len(keys),
        shapes=[zero | {"line": {"color": GREY, "width": 1}}],
    )
    title = "Differences and their 95 % intervals"
    return Chart(title, f"{title} of {len(found)} runs to {first.name}.", drawn)


def _by_class(run: Told, first: Told) -> Chart:
    differences = run.per_class - first.per_class
    traces = []
    for shot, group in run.groups.items():
        here = np.flatnonzero(group & ~np.isnan(differences))
        if not len(here):
            continue
        text = [label(run.class_names[k]) for k in here]
        hover = "%{text}<br>%{x:,} training images<br>%{y:+.1f} points<extra></extra>"
        options = {"text": text, "hovertemplate": hover}
        counts = run.class_counts[here]
        color = SHOTS[shot]
        traces.append(points(counts, differences[here], shot, color, SYMBOLS[shot], **options))
    zero = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0, "y1": 0}
    drawn = figure(
        traces,
        log_axis("training images of the class", run.class_counts),
        axis("percentage points"),
        shapes=[zero | {"line": {"color": GREY, "width": 1}}],
    )
    title = f"Class by class: {run.name} less {first.name}"
    return Chart(title, "Differences of the classes' accuracies by their size.", drawn)


def _curves(runs: list[Told]) -> Chart:
    traces = []
    for i, run in enumerate(runs):
        evaluated = [record for record in run.records if "eval" in record]
        when = [record["epoch"] for record in evaluated]
        for shot, dash in (("all", DASHES[0]), ("few", DASHES[2])):
            values = np.array([record["eval"][shot] for record in evaluated], np.float64)
            if np.isfinite(values).any():
                color = LINES[i % len(LINES)]
                traces.append(line(when, values, f"{label(run.name)}, {shot}", color, dash))
    last = max(run.epoch for run in runs)
    drawn = figure(traces, epochs(last), axis("accuracy, %", range=[0, 102]))
    return Chart("Accuracy over epochs", "All classes and few-shot ones of each run.", drawn)
