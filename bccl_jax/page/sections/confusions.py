"""Which classes are taken for which."""

import numpy as np

from bccl_jax.evaluation.class_table import shares
from bccl_jax.evaluation.confused import confused_pairs
from bccl_jax.evaluation.size_groups import by_size, group_shares, size_groups
from bccl_jax.page.charts import ON_AXIS, axis, figure, label, packed
from bccl_jax.page.markup import name, paragraph, table
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told
from bccl_jax.reporting.palette import KINDS

# Classes that are drawn each by itself, groups of more, pairs that are listed.
MOST_DRAWN, GROUPS, PAIRS = 40, 20, 15
# From nothing to the whole, over any paper: the colour of many-shot classes.
_RED_GREEN_BLUE = ", ".join(str(int(KINDS[0][i : i + 2], 16)) for i in (1, 3, 5))
SHADES = [[share, f"rgba({_RED_GREEN_BLUE}, {share:g})"] for share in (0, 1)]
# Most mistakes are rare: the root shows one in a hundred.
_TICKS = (0, 0.01, 0.1, 0.25, 0.5, 1)


def section(run: Told) -> Section:
    """The section of a run."""
    if run.totals is None:
        why = "the run was not evaluated yet"
        if run.figures is not None:
            why = "no record has which classes were predicted, and its pictures were not looked at"
        return Section("Confusion", lacking=(f"Confusion: {why}.",))
    return Section("Confusion", (_chart(run), _pairs(run)))


def _chart(run: Told) -> Chart:
    classes = len(run.class_names)
    if classes > MOST_DRAWN:
        groups = size_groups(run.class_counts, GROUPS)
        drawn = group_shares(run.figures.confusion, groups)
        rows = [_range(run.class_counts[group]) for group in groups]
        columns = ["right", *rows]
        note = (
            f"{classes:,} classes in {GROUPS} groups of as many by their training images, the "
            "largest first. Right: the class itself; else the group of the class that was "
            "predicted wrongly."
        )
    else:
        order = by_size(run.class_counts)
        matrix = np.zeros((classes, classes), np.int64)
        true, predicted, counts = run.figures.confusion.T
        matrix[true, predicted] = counts
        matrix = matrix[order][:, order]
        drawn = shares(matrix, matrix.sum(axis=1, keepdims=True))
        rows = columns = [run.class_names[k] for k in order]
        note = "Classes by their training images, the largest first."
    title = "Where the images of each class went"
    alt = f"Shares of predictions by true class. {note}"
    return Chart(title, alt, _heatmap(drawn, rows, columns), paragraph(note))


def _heatmap(drawn: np.ndarray, rows: list[str], columns: list[str]) -> dict:
    texts = [[label(text, ON_AXIS) for text in texts] for texts in (rows, columns)]
    trace = {
        "type": "heatmap",
        "z": packed(np.sqrt(drawn)),
        "customdata": packed(100 * drawn),
        "zmin": 0,
        "zmax": 1,
        "colorscale": SHADES,
        "xgap": 1,
        "ygap": 1,
        "text": [[f"{label(row)} → {label(column)}" for column in columns] for row in rows],
        "hovertemplate": "%{text}<br>%{customdata:.1f} % of the true class<extra></extra>",
        "colorbar": {
            "tickvals": np.sqrt(_TICKS).tolist(),
            "ticktext": [f"{100 * share:g} %" for share in _TICKS],
            "thickness": 12,
            "outlinewidth": 0,
        },
    }
    y, x = (
        axis(
            title,
            tickvals=list(range(len(names))),
            ticktext=names,
            showgrid=False,
            tickfont={"size": 11 if len(names) <= 24 else 9},
        )
        for title, names in (("true", texts[0]), ("predicted", texts[1]))
    )
    x |= {"tickangle": -60 if max(map(len, columns)) > 2 else 0}
    height = min(max(330, 150 + 22 * len(rows)), 800)
    return figure([trace], x, y | {"autorange": "reversed"}, height=height)


def _pairs(run: Told):
    pairs = confused_pairs(run.figures.confusion, run.totals.tested)
    if not len(pairs.one):
        return paragraph("No class is taken for another.")
    rows = [
        [
            name(run.class_names[one]),
            name(run.class_names[other]),
            _share(there, run.totals.tested[one]),
            _share(back, run.totals.tested[other]),
        ]
        for one, other, there, back, *_ in list(zip(*pairs, strict=True))[:PAIRS]
    ]
    heads = ["Class", "is taken for", "so many images", "and the other way round"]
    return table(heads, rows, "The most confused pairs", words=2)


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / whole:.0f} %)" if whole else "–"


def _range(counts: np.ndarray) -> str:
    most, least = int(counts.max()), int(counts.min())
    return f"{most:,}" if most == least else f"{most:,}–{least:,}"
