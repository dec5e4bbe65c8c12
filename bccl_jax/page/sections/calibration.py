"""Whether the probabilities are true: reliability bin by bin."""

import numpy as np

from bccl_jax.page.charts import GREY, LINES, axis, figure, packed
from bccl_jax.page.markup import paragraph
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told


def section(run: Told) -> Section:
    """The section of a run."""
    record = run.figures.record if run.figures else {}
    bins = record.get("reliability")
    if not bins or not any(bins["images"]):
        return Section("Calibration", lacking=("Calibration: no record has the probabilities.",))
    error = record.get("calibration_error")
    images, confidence, accuracy = (
        np.array(bins[name], np.float64) for name in ("images", "confidence", "accuracy")
    )
    sure = np.nansum(confidence * images) / images.sum()
    right = np.nansum(accuracy * images) / images.sum()
    words = f"{100 * right:.1f} % of the predictions are right, and their mean confidence is "
    words += f"{100 * sure:.1f} %: the network is "
    words += "overconfident." if sure > right else "underconfident."
    if error is not None:
        words += f" The expected calibration error (ECE) is {error:.2f} %."
    chart = Chart(
        "Reliability",
        f"Share of right predictions by confidence in {len(images)} bins. {words}",
        _figure(images, confidence, accuracy),
        paragraph("On the line as many predictions are right as their probability says."),
    )
    return Section("Calibration", (paragraph(words), chart))


def _figure(images: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray) -> dict:
    number = len(images)
    middles = 100 * (np.arange(number) + 0.5) / number
    bars = {
        "type": "bar",
        "name": "share that is right",
        "x": packed(middles),
        "y": packed(100 * accuracy),
        "width": 100 / number * 0.94,
        "marker": {"color": LINES[0]},
        "customdata": packed(np.stack([images, 100 * confidence], axis=1)),
        "hovertemplate": "%{customdata[0]:,.0f} images<br>mean confidence %{customdata[1]:.1f} %"
        "<br>%{y:.1f} % are right<extra></extra>",
    }
    shares = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "share of all images",
        "x": packed(middles),
        "y": packed(100 * images / images.sum()),
        "line": {"color": LINES[1], "width": 2, "dash": "dot"},
        "marker": {"color": LINES[1], "size": 5},
        "hovertemplate": "%{y:.1f} % of the images<extra></extra>",
    }
    perfect = {
        "type": "scatter",
        "mode": "lines",
        "name": "perfect",
        "x": [0, 100],
        "y": [0, 100],
        "line": {"color": GREY, "width": 2, "dash": "dash"},
        "hoverinfo": "skip",
    }
    x = axis("confidence, %", range=[0, 100])
    return figure([bars, shares, perfect], x, axis("%", range=[0, 102]))
