"""What a method keeps and what becomes of it: queues, centroids, cosines, gradients."""

import numpy as np

from bccl_jax.page.charts import LINES, SYMBOLS, axis, epochs, figure, label, line, log_axis, points
from bccl_jax.page.markup import Markup, paragraph
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told
from bccl_jax.reporting.palette import SHOTS
from bccl_jax.reporting.records import course

# What a refresh reports, by its name: how it is called and its unit.
_REFRESH = {
    "centroid_shift": ("Movement of the centroids", "degrees"),
    "queue_fill": ("Fill of the queues", "% of their places"),
    "centroids": ("Centroids", "number"),
    "classes_without_centroid": ("Classes without a centroid", "number"),
}


def section(run: Told) -> Section:
    """The section of a run."""
    charts = [*_cosines(run), *_refreshes(run), *_queues(run)]
    lacking = []
    method = run.config["method.name"]
    keeps_queues = "method.queue_size" in run.config and "method.refresh_epochs" in run.config
    if not _has(run, "cosine_within"):
        lacking.append(f"Cosines within and between classes: {method} does not log them.")
    if not keeps_queues:
        lacking.append(f"Queues and centroids: {method} has none for each class.")
    elif run.looked is None:
        lacking.append("Queues by class: no checkpoint was looked at.")
    elif run.looked.queues is not None and run.looked.queues.age is None:
        lacking.append(
            "Age of the queues: the run keeps no times with its embeddings "
            "(config.method.queue_max_age is 0)."
        )
    if keeps_queues and run.records and not any("refresh" in r for r in run.records):
        lacking.append("Centroids: they come after warm-up, which has not ended.")
    return Section("Inside the method", tuple(charts), tuple(lacking))


def _has(run: Told, name: str) -> bool:
    return any(name in record.get("quarters", {}) for record in run.records)


def _cosines(run: Told) -> list[Chart]:
    if not _has(run, "cosine_within"):
        return []
    curves = [
        line(*course(run.records, f"cosine_{which}"), f"{which} classes", color, dash)
        for which, color, dash in zip(("within", "between"), LINES, ("solid", "dash"), strict=False)
    ]
    charts = [
        Chart(
            "Cosines of embeddings within and between classes",
            "Mean cosines of a batch's embeddings over epochs.",
            figure(curves, epochs(run.epoch), axis("mean cosine")),
            paragraph("Means over a quarter of an epoch; far apart is well separated."),
        )
    ]
    gradients = [
        line(*_positive(*course(run.records, f"{loss}_gradient")), loss, color, dash)
        for loss, color, dash in zip(
            ("contrastive", "classification"), LINES, ("solid", "dash"), strict=False
        )
        if _has(run, f"{loss}_gradient")
    ]
    if gradients:
        names = ("contrastive_gradient", "classification_gradient")
        norms = np.concatenate([course(run.records, name)[1] for name in names])
        charts.append(
            Chart(
                "What each loss sends to the backbone",
                "Norms of the gradients of the losses at the backbone's features.",
                figure(gradients, epochs(run.epoch), log_axis("norm of the gradient", norms)),
            )
        )
    return charts


def _positive(when: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve of which a logarithmic axis shows all: other values are gaps."""
    return when, np.where(values > 0, values, np.nan)


def _refreshes(run: Told) -> list[Chart]:
    rows = [record for record in run.records if record.get("refresh")]
    charts = []
    for i, (name, (title, unit)) in enumerate(_REFRESH.items()):
        values = np.array([record["refresh"].get(name) for record in rows], np.float64)
        there = np.isfinite(values)
        # What never changes is no picture.
        if not there.any() or (
            name in ("centroids", "classes_without_centroid", "queue_fill")
            and np.ptp(values[there]) == 0
        ):
            continue
        when = [record["epoch"] for record in rows]
        curve = line(when, values, title, LINES[i % len(LINES)])
        curve["mode"] = "lines+markers"
        note = None
        if name == "centroid_shift":
            note = paragraph(
                "At each refresh the mean angle from a centroid to the nearest one that its class "
                "had before."
            )
        y = axis(unit, rangemode="tozero")
        alt = f"{title} over epochs, {values[there][-1]:.4g} {unit} at the last refresh."
        charts.append(Chart(title, alt, figure([curve], epochs(run.epoch), y, height=260), note))
    return charts


def _queues(run: Told) -> list[Chart | Markup]:
    queues = run.looked.queues if run.looked else None
    if queues is None:
        return []
    found = [("Fill of each class's queue", 100 * queues.filled / queues.size, "% of its places")]
    if queues.age is not None:
        found.append(("Age of the embeddings in each class's queue", queues.age, "epochs, mean"))
    charts = []
    for title, values, unit in found:
        there = values[np.isfinite(values)]
        if len(there) and np.ptp(there) == 0:
            charts.append(paragraph(f"{title}: {there[0]:.4g} {unit} in all."))
            continue
        traces = []
        for shot, group in run.groups.items():
            here = np.flatnonzero(group & np.isfinite(values))
            if not len(here):
                continue
            text = [label(run.class_names[k]) for k in here]
            hover = "%{text}<br>%{x:,} training images<br>%{y:.4g} " + unit + "<extra></extra>"
            counts = run.class_counts[here]
            color, symbol = SHOTS[shot], SYMBOLS[shot]
            options = {"text": text, "hovertemplate": hover}
            traces.append(points(counts, values[here], shot, color, symbol, **options))
        x = log_axis("training images of the class", run.class_counts)
        drawn = figure(traces, x, axis(unit, rangemode="tozero"), height=300)
        alt = f"{title} against its training images; the mean is {np.nanmean(values):.4g} {unit}."
        note = paragraph(f"Places of a queue: {queues.size:,}; checkpoint: {run.looked.which}.")
        charts.append(Chart(title, alt, drawn, note))
    return charts
