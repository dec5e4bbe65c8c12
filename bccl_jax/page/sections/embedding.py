"""Test images in the plane, as the backbone's features place them."""

import numpy as np

from bccl_jax.page.charts import ON_AXIS, SYMBOLS, axis, figure, label, points
from bccl_jax.page.markup import paragraph
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told
from bccl_jax.reporting.palette import SHOTS

# Classes up to which the middle of each has its name.
MOST_NAMED = 25


def section(run: Told) -> Section:
    """The section of a run."""
    if run.looked is None:
        return Section("Embeddings", lacking=(f"Embeddings: {run.unseen}",))
    embedded = run.looked.embedded
    if embedded is None:
        return Section("Embeddings", lacking=("Embeddings: there are too few test images.",))
    number = len(embedded.labels)
    which = "all" if number == embedded.of else f"{number:,} of"
    note = f"t-SNE of the features of {which} {embedded.of:,} test images. It keeps neighbours and "
    note += "nothing else: how large groups are and how far apart says nothing. Open marks are "
    note += "predicted wrongly."
    chart = Chart(
        "Test images in the plane",
        f"{number:,} test images in the plane by their features, marked by shot group.",
        _figure(run),
        paragraph(note),
    )
    return Section("Embeddings", (chart,))


def _figure(run: Told) -> dict:
    embedded = run.looked.embedded
    wrong = embedded.labels != embedded.predictions
    traces = []
    for shot in run.groups:
        for mistaken in (False, True):
            here = (run.group_of[embedded.labels] == shot) & (wrong == mistaken)
            if not here.any():
                continue
            names = [
                label(run.class_names[true])
                + (f"<br>predicted {label(run.class_names[predicted])}" if mistaken else "")
                for true, predicted in zip(
                    embedded.labels[here], embedded.predictions[here], strict=True
                )
            ]
            called = f"{shot}, wrong" if mistaken else shot
            symbol = SYMBOLS[shot] + ("-open" if mistaken else "")
            trace = points(*embedded.points[here].T, called, SHOTS[shot], symbol)
            trace |= {"text": names, "hovertemplate": "%{text}<extra></extra>"}
            trace["marker"] |= {"size": 7 if mistaken else 6, "opacity": 1 if mistaken else 0.65}
            traces.append(trace)
    there = np.unique(embedded.labels)
    notes = []
    if len(there) <= MOST_NAMED:
        for k in there:
            x, y = np.median(embedded.points[embedded.labels == k], axis=0)
            text = label(run.class_names[k], ON_AXIS)
            notes.append({"x": float(x), "y": float(y), "text": text, "showarrow": False})
    bare = {"showticklabels": False, "showgrid": False}
    x, y = axis("", **bare), axis("", scaleanchor="x", **bare)
    return figure(traces, x, y, height=520, annotations=notes)
