"""Accuracies under other class distributions of the test images, over seeds."""

from bccl_jax.evaluation import statistics
from bccl_jax.evaluation.statistics import Spread

from .runs import Runs

KINDS = ("as_is", "corrected")


def label_shift(runs: Runs) -> dict[str, dict[str, Spread]]:
    """Accuracies of a row at the last epoch, as `evaluation.label_shift` has them.

    Args:
      runs: of the row.

    Returns:
      {test prior: {"as_is", "corrected": spread}} in the order of the records; {} where a record
      lacks them.
    """
    each = [record["last"].get("test_priors", {}) for record in runs.records.values()]
    if not each or not all(each):
        return {}
    found = {
        name: {kind: statistics.spread([one[name][kind] for one in each]) for kind in KINDS}
        for name in each[0]
    }
    return {name: kinds for name, kinds in found.items() if None not in kinds.values()}


def shown(name: str) -> str:
    """A test prior as a heading has it: "forward 50"."""
    return name.replace("_", " ")
