"""How well each class is known, against how many training images it has."""

import base64
import csv
import io

import numpy as np

from bccl_jax.evaluation.class_table import class_table, worst_first
from bccl_jax.page.charts import SYMBOLS, axis, figure, label, log_axis, points
from bccl_jax.page.markup import Markup, joined, name, number, paragraph, table, tag
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told
from bccl_jax.reporting.palette import SHOTS
from bccl_jax.system.names import printable

# Classes of a table, of which one of many more names the worst and the best.
MOST_LISTED, WORST, BEST = 60, 20, 10


def section(run: Told) -> Section:
    """The section of a run."""
    if run.figures is None:
        return Section("Classes", lacking=("Classes: the run was not evaluated yet.",))
    lost = int((run.per_class == 0).sum())
    tested = int((~np.isnan(run.per_class)).sum())
    words = f"Accuracy of {tested:,} of {len(run.per_class):,} classes on {run.figures.of}, "
    words += f"epoch {run.figures.epoch}."
    if lost:
        words += f" {lost:,} of them are never predicted right."
    chart = Chart(
        "Accuracy by class against class size",
        f"Each of {tested:,} classes by its training images and its accuracy.",
        _figure(run),
        paragraph("Lines: the mean of each shot group."),
    )
    return Section("Classes", (paragraph(words), chart, _table(run)))


def _figure(run: Told) -> dict:
    traces = []
    for shot, group in run.groups.items():
        here = np.flatnonzero(group & ~np.isnan(run.per_class))
        if not len(here):
            continue
        counts, accuracies = run.class_counts[here], run.per_class[here]
        traces.append(
            points(
                counts,
                accuracies,
                f"{shot} ({len(here):,})",
                SHOTS[shot],
                SYMBOLS[shot],
                text=[label(run.class_names[k]) for k in here],
                hovertemplate="%{text}<br>%{x:,} training images<br>%{y:.1f} %<extra></extra>",
                legendgroup=shot,
            )
        )
        # A group of one size has a line too.
        ends = np.array([counts.min() / 1.03, counts.max() * 1.03])
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": ends.tolist(),
                "y": [float(accuracies.mean())] * 2,
                "line": {"color": SHOTS[shot], "width": 2, "dash": "dash"},
                "hovertemplate": f"{shot}: mean of {len(here):,} classes<br>%{{y:.2f}} %"
                "<extra></extra>",
                "showlegend": False,
                "legendgroup": shot,
            }
        )
    x = log_axis("training images of the class", run.class_counts)
    return figure(traces, x, axis("accuracy, %", range=[-4, 104]), height=420)


def _table(run: Told) -> Markup:
    totals, accuracies = run.totals, run.per_class
    if totals is not None:
        order, f1 = worst_first(totals), class_table(totals)
        recalls, precisions, f1 = 100 * f1.recall, 100 * f1.precision, 100 * f1.f1
    else:
        order = np.lexsort((np.arange(len(accuracies)), accuracies))
        recalls = accuracies
        precisions = f1 = np.full(len(accuracies), np.nan)
    order = order[~np.isnan(recalls[order])]

    def row(k: int) -> list:
        return [
            name(run.class_names[k]),
            run.group_of[k],
            f"{run.class_counts[k]:,}",
            "–" if totals is None else f"{totals.tested[k]:,}",
            number(recalls[k], 1),
            number(precisions[k], 1),
            number(f1[k], 1),
        ]

    heads = ["Class", "Group", "Training images", "Test images", "Accuracy, %", "Precision, %"]
    heads.append("F1, %")
    spared = {heads.index(head) for head in ("Test images", "Precision, %", "F1, %")}
    parts = {"Classes, the worst first": order}
    if len(order) > MOST_LISTED:
        parts = {
            f"The {WORST} worst classes": order[:WORST],
            f"The {BEST} best classes": order[::-1][:BEST],
        }
    made = [
        table(heads, map(row, part), caption, words=2, spared=spared)
        for caption, part in parts.items()
    ]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["class", "label", *heads[1:]])
    for k in order:
        _, *cells = row(k)
        cells = [str(cell).replace(",", "").replace("–", "") for cell in cells]
        writer.writerow([printable(run.class_names[k]), k, *cells])
    data = base64.b64encode(lines.getvalue().encode()).decode()
    link = tag(
        "a",
        f"All {len(order):,} classes as CSV",
        href=f"data:text/csv;charset=utf-8;base64,{data}",
        download="classes.csv",
    )
    return joined((*made, paragraph(link)))
