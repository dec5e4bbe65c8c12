"""Accuracy where the classes come otherwise than in the test split, as LADE and SADE report it."""

from bccl_jax.page.charts import LINES, axis, figure, line
from bccl_jax.page.markup import paragraph
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.told import Told


def section(run: Told) -> Section:
    """The section of a run."""
    found = (run.figures.record if run.figures else {}).get("test_priors")
    if not found:
        return Section("Other shares of the classes", lacking=("Label shift: not recorded.",))
    names = list(found)
    ticks = {"tickvals": [*range(len(names))], "ticktext": [_called(name) for name in names]}
    curves = [
        line(range(len(names)), [found[name][key] for name in names], called, color, dash)
        for (key, called), color, dash in zip(
            (("as_is", "as it is"), ("corrected", "corrected for the shares")),
            LINES,
            ("solid", "dash"),
            strict=False,
        )
    ]
    chart = Chart(
        "Accuracy by the imbalance of the test images",
        "Accuracy where test images are long-tailed as the training images are, balanced, or "
        "long-tailed the other way round.",
        figure(curves, axis("imbalance of the test images", **ticks), axis("accuracy, %")),
        paragraph(
            "Left: as many-shot as the training images; right: the other way round. Each class is "
            "weighed by its share. Corrected: the shares are known, and the logits adjusted for "
            "them."
        ),
    )
    return Section("Other shares of the classes", (chart,))


def _called(name: str) -> str:
    way, _, ratio = name.partition("_")
    return {"forward": f"{ratio}:1", "backward": f"1:{ratio}"}.get(way, "1:1")
