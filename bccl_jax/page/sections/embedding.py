"""Test images in the plane, as the backbone's features place them."""

import numpy as np

from bccl_jax.page.charts import GREY, ON_AXIS, SYMBOLS, axis, figure, label, points
from bccl_jax.page.markup import paragraph
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told
from bccl_jax.reporting.name_places import free_places
from bccl_jax.reporting.palette import SHOTS

# Classes up to which the middle of each has its name.
MOST_NAMED = 25
# Width and height of the axes on a phone and on a desk, and the width of a letter. Where there is
# more room than names were placed for, they lie no closer.
_PIXELS, _LETTER = (np.array([300.0, 400.0]), np.array([820.0, 400.0])), 8


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
    bare = {"showticklabels": False, "showgrid": False}
    x, y = axis("", **bare), axis("", scaleanchor="x", **bare)
    return figure(traces, x, y, height=520, annotations=_names(run))


def _names(run: Told) -> list[dict]:
    """The names of classes in the middle of their images, beside each other where they are near."""
    embedded = run.looked.embedded
    there = np.unique(embedded.labels)
    if len(there) > MOST_NAMED:
        return []
    there = there[np.argsort(-run.class_counts[there], kind="stable")]
    points, labels = embedded.points, embedded.labels
    middles = np.array([np.median(points[labels == k], axis=0) for k in there])
    texts = [label(run.class_names[k], ON_AXIS) for k in there]
    sizes = np.array([(_LETTER * len(text), 2 * _LETTER) for text in texts], float)
    extent, center = np.maximum(np.ptp(points, axis=0), 1e-9), points.min(axis=0) / 2
    center = center + points.max(axis=0) / 2
    for pixels in _PIXELS:
        scale = (pixels / extent).min()
        bounds = np.concatenate([center * scale - pixels / 2, center * scale + pixels / 2])
        moved = free_places(middles * scale, sizes, np.empty((0, 2)), bounds) - middles * scale
        if np.isfinite(moved).all():
            break
    return [
        {
            "x": float(x),
            "y": float(y),
            "text": text,
            "ax": float(across),
            "ay": float(-up),
            "arrowhead": 0,
            "arrowwidth": 1,
            "arrowcolor": GREY,
        }
        for (x, y), text, (across, up) in zip(middles, texts, moved, strict=True)
        if np.isfinite(across)
    ]
