"""The long tail: how many training images each class has."""

import numpy as np

from bccl_jax.page.charts import ON_AXIS, SYMBOLS, axis, figure, label, log_axis, packed
from bccl_jax.page.markup import paragraph, table
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told
from bccl_jax.reporting.palette import SHOTS

# Up to so many classes each has a bar with its name; of more there is an area.
MOST_BARS = 60


def section(run: Told) -> Section:
    """The section of a run."""
    counts = run.class_counts
    least, most = counts.min(), counts.max()
    words = f"{len(counts):,} classes have {counts.sum():,} training images, {most:,} to {least:,}"
    words += f" of each: an imbalance of {most / least:,.4g}." if least else " of each."
    bounds = run.config["eval.many_above"], run.config["eval.few_below"]
    return Section(
        "The data set",
        (
            paragraph(words),
            _groups(run, *bounds),
            Chart(
                "Training images by class, the largest first",
                f"Training images of {len(counts):,} classes fall from {most:,} to {least:,}.",
                _figure(run),
            ),
        ),
    )


def _groups(run: Told, many_above: int, few_below: int):
    tested = ~np.isnan(run.per_class)
    bounds = {
        "many": f"more than {many_above}",
        "medium": f"{few_below} to {many_above}",
        "few": f"fewer than {few_below}",
    }
    rows = [
        [
            shot,
            bounds[shot],
            f"{group.sum():,}",
            f"{run.class_counts[group].sum():,}",
            f"{(group & tested).sum():,}" if run.figures else "–",
        ]
        for shot, group in run.groups.items()
    ]
    heads = ["Shot group", "Training images of a class", "Classes", "Training images", "Tested"]
    return table(heads, rows, "Shot groups; tested: classes that have test images", words=2)


def _figure(run: Told) -> dict:
    order = np.argsort(-run.class_counts, kind="stable")
    traces, counts = [], run.class_counts[order]
    for shot, group in run.groups.items():
        here = np.flatnonzero(group[order])
        if not len(here):
            continue
        trace = {
            "name": f"{shot} ({len(here):,})",
            "x": packed(here + 1),
            "y": packed(counts[here]),
            "text": [label(run.class_names[k]) for k in order[here]],
            "hovertemplate": "%{text}<br>%{y:,} training images<extra></extra>",
        }
        if len(counts) <= MOST_BARS:
            trace |= {"type": "bar", "textposition": "none", "marker": {"color": SHOTS[shot]}}
        else:
            trace |= {
                "type": "scatter",
                "mode": "lines" if len(here) > 1 else "markers",
                "line": {"color": SHOTS[shot], "width": 2},
                "marker": {"color": SHOTS[shot], "symbol": SYMBOLS[shot]},
                "fill": "tozeroy",
            }
        traces.append(trace)
    named = {}
    if len(counts) <= MOST_BARS:
        texts = [label(run.class_names[k], ON_AXIS) for k in order]
        named = {"tickvals": list(range(1, len(counts) + 1)), "ticktext": texts}
        named["tickangle"] = -45 if max(map(len, run.class_names)) > 4 else 0
        # Each name where there is room; as many as fit else.
        named = named if len(counts) <= 24 else {}
    # An empty class has no place on it, and the smallest one is to have a bar.
    y = log_axis("training images", counts, floor=max(counts.min(), 1) / 2)
    x = axis("" if named else "rank of the class", **named)
    return figure(traces, x, y, bargap=0.15, barmode="overlay")
