"""Measures of the feature space by shot group."""

from bccl_jax.evaluation.feature_space import PER_CLASS
from bccl_jax.reporting.console import SHOTS

from ..records.gathering import Section
from ..records.measures import SPACES, measures
from .markdown import markdown, measure


def feature_space(section: Section) -> str:
    """Measures of the feature space by shot group at the last epoch; "" where there are none.

    Args:
      section: with a record at least.

    Returns:
      A Markdown table for each space.
    """
    names = (*PER_CLASS, "global_uniformity", "rank_of_means")
    columns = (*SHOTS, "few_minus_many")
    parts = []
    for space, title in SPACES.items():
        found = {runs.row.name: measures(runs, space, names, columns) for runs in section.finished}
        found = {row: by_epoch for row, by_epoch in found.items() if by_epoch}
        rows = []
        for name in names:
            for row, by_epoch in found.items():
                value = by_epoch[max(by_epoch)][name]
                shown = [measure(value[column]) for column in columns]
                rows.append([name.replace("_", " "), row, *shown])
        if rows:
            epochs = sorted({max(by_epoch) for by_epoch in found.values()})
            headings = ["measure", "row", *SHOTS, "few minus many"]
            parts.append(
                f"Of the {title}, epoch {', '.join(map(str, epochs))}:\n\n"
                + markdown(headings, rows)
            )
    if parts:
        parts.append(
            "Mean ± standard deviation over seeds, of the classes that have images enough to be "
            "measured. Spread, alignment: 0 for a class collapsed to a "
            "point. Nearest class: degrees. Uniformity: the lower, the emptier is the space around "
            "a class. Simplex gap: 0 under neural collapse. Definitions: "
            "`bccl_jax/evaluation/feature_space.py`."
        )
    return "\n\n".join(parts)
