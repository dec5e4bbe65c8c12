"""How training went: losses, accuracies, learning rate."""

import numpy as np

from bccl_jax.page.charts import DASHES, GREY, LINES, axis, epochs, figure, line
from bccl_jax.page.markup import paragraph
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told
from bccl_jax.reporting.console import SHOTS
from bccl_jax.reporting.palette import SHOTS as COLORS


def section(run: Told) -> Section:
    """The section of a run."""
    if not run.records:
        why = "no epoch is complete yet" if not run.results else "it has no records of epochs"
        return Section("Training", lacking=(f"Curves: {why}.",))
    charts = [_losses(run)]
    lacking = []
    if any("eval" in record for record in run.records):
        charts.append(_accuracies(run))
    else:
        lacking.append("Accuracies: no epoch was evaluated yet.")
    if _numbers(run.records, "train", "learning_rate").any():
        charts.append(_rate(run))
    return Section("Training", tuple(charts), tuple(lacking))


def _losses(run: Told) -> Chart:
    names = list(dict.fromkeys(name for record in run.records for name in record["train"]))
    names = [name for name in names if name == "loss" or name.endswith("_loss")]
    names.sort(key=lambda name: name != "loss")
    when = [record["epoch"] for record in run.records]
    traces = []
    for i, name in enumerate(names):
        values = _numbers(run.records, "train", name)
        called = "total" if name == "loss" else name.removesuffix("_loss").replace("_", " ")
        color = GREY if name == "loss" else LINES[(i - 1) % len(LINES)]
        traces.append(line(when, values, called, color, DASHES[i % len(DASHES)]))
    return Chart(
        "Loss and its terms",
        f"Training loss over {run.epoch} epochs; the total ends at "
        f"{_numbers(run.records, 'train', 'loss')[-1]:.4g}.",
        figure(traces, epochs(run.epoch), axis("training loss", rangemode="tozero")),
        paragraph("Terms are as the method logs them, before they are weighted."),
    )


def _accuracies(run: Told) -> Chart:
    evaluated = [record for record in run.records if "eval" in record]
    when = [record["epoch"] for record in evaluated]
    traces = []
    for shot in SHOTS:
        values = _numbers(evaluated, "eval", shot)
        if np.isfinite(values).any():
            traces.append(line(when, values, shot, COLORS[shot]))
    averaged = [record for record in evaluated if "eval_ema" in record]
    if averaged:
        at = [record["epoch"] for record in averaged]
        values = _numbers(averaged, "eval_ema", "all")
        traces.append(line(at, values, "all, averaged weights", COLORS["all"], "dot"))
    values = _numbers(run.records, "train", "accuracy")
    if np.isfinite(values).any():
        at = [record["epoch"] for record in run.records]
        traces.append(line(at, values, "training batches", LINES[3], "dash"))
    on = "validation" if "validation" in run.parts else run.tested_on
    last = evaluated[-1]["eval"]
    return Chart(
        "Accuracy by shot group",
        f"Accuracy over epochs; the last evaluation is at {last['all']:.1f} percent over all "
        "classes."
        if last["all"] is not None
        else "Accuracy over epochs.",
        figure(traces, epochs(run.epoch), axis("accuracy, %", range=[0, 102])),
        paragraph(f"On the {on} images: means of the classes' accuracies."),
    )


def _rate(run: Told) -> Chart:
    when = [record["epoch"] for record in run.records]
    rates = _numbers(run.records, "train", "learning_rate")
    starts = stage_starts(run)
    lines = [
        {
            "type": "line",
            "x0": epoch - 0.5,
            "x1": epoch - 0.5,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"color": GREY, "dash": "dot", "width": 1},
        }
        for epoch in starts
    ]
    note = f"A further stage of the method begins with epoch {', '.join(map(str, starts))}."
    return Chart(
        "Learning rate",
        f"Learning rate over epochs, at most {np.nanmax(rates):.3g}.",
        figure(
            [line(when, rates, "learning rate", LINES[0])],
            epochs(run.epoch),
            axis("learning rate", rangemode="tozero"),
            height=260,
            shapes=lines,
        ),
        paragraph(note) if starts else None,
    )


def stage_starts(run: Told) -> list[int]:
    """The first epochs, from 1, of the stages after the first one, as far as the run has come."""
    ends = np.cumsum([stage.epochs for stage in run.stages])
    return [int(end) + 1 for end in ends[:-1] if 0 < end < run.epoch]


def _numbers(records: list[dict], group: str, name: str) -> np.ndarray:
    """A figure over records, NaN where one has none."""
    return np.array([record.get(group, {}).get(name) for record in records], np.float64)
