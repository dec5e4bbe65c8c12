"""Accuracy of each row under other class distributions of the test images."""

from matplotlib.figure import Figure

from bccl_jax.reporting.style import styled

from ..records.gathering import Section
from ..records.label_shift import label_shift as spreads
from ..records.label_shift import shown
from .style import Style, frame, legend


@styled()
def label_shift(section: Section) -> Figure | None:
    """Lines over the test priors, corrected for them and, dotted, as they are; None without any."""
    found = {id(runs): spreads(runs) for runs in section.finished}
    if not any(found.values()):
        return None
    style = Style(section)
    figure = frame(section, 5.2)
    axes = figure.subplots()
    names: list[str] = []
    for runs in section.finished:
        priors = found[id(runs)]
        if not priors:
            continue
        names = list(priors)
        for kind, look in (
            ("corrected", {"marker": style.marker(runs), "ms": 5}),
            ("as_is", {"linestyle": ":", "lw": 1}),
        ):
            means = [priors[name][kind].mean for name in names]
            axes.plot(range(len(names)), means, color=style.color(runs), **look)
    axes.set_xticks(range(len(names)), map(shown, names), rotation=30, ha="right")
    axes.set(xlabel="classes of the test images", ylabel="accuracy, %")
    legend(figure, section, style, {"corrected for the test prior": "-", "as it is": ":"})
    return figure
