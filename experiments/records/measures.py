"""Measures of the feature space of a row, over seeds."""

from collections.abc import Sequence

from bccl_jax.evaluation import statistics
from bccl_jax.evaluation.statistics import Spread
from bccl_jax.reporting.console import SHOTS

from .runs import Runs

SPACES = {"backbone": "features of the backbone", "projector": "output of the projector"}


def measures(
    runs: Runs, space: str, names: Sequence[str], columns: Sequence[str] = SHOTS
) -> dict[int, dict[str, dict[str, Spread | None]]]:
    """Feature-space measures of a row over seeds.

    Args:
      runs: of the row.
      space: "backbone" or "projector".
      names: of the measures, attributes of `feature_space.FeatureSpace`.
      columns: what to give of each: shot groups, or another key of `FeatureSpace.record`. A measure
        of the whole space has "all" alone.

    Returns:
      {epoch: {measure: {column: spread}}} of the epochs that every seed has; {} where the runs have
      no such space.
    """
    by_seed = [
        {point["epoch"]: point[space] for point in record["feature_space"] if space in point}
        for record in runs.records.values()
    ]
    epochs = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    return {
        epoch: {
            name: {
                column: statistics.spread([_value(seed[epoch][name], column) for seed in by_seed])
                for column in columns
            }
            for name in names
        }
        for epoch in epochs
    }


def _value(measure: dict | float | None, column: str) -> float | None:
    if isinstance(measure, dict):
        return measure[column]
    return measure if column == "all" else None
