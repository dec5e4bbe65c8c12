"""What the paper prints, beside what was measured."""

from bccl_jax.data.long_tail import class_counts, shot_groups
from bccl_jax.reporting.console import SHOTS

from ..designing.design import Row
from ..designing.recipes import get_config
from .gathering import Section
from .runs import Runs

# The paper prints shot groups to 0.1 and may count another class more or less to a group.
_INCONSISTENT = 0.3


def paper_size(section: Section) -> str:
    """The data set, backbone and epochs that the paper's figures are of."""
    config = get_config(section.paper_dataset, "bccl")
    return f"{section.paper_dataset}, {config.model.backbone}, {config.epochs} epochs"


def less_paper(section: Section, runs: Runs) -> float | None:
    """A row's accuracy less the paper's, percentage points; None unless both are of one size."""
    figures = section.paper(runs.row)
    if not figures or not runs.records or not section.full_size:
        return None
    return runs.accuracy("all").mean - figures["all"]


def paper_average(section: Section, row: Row) -> float | None:
    """What the paper's shot groups of a row average to, where that is not what it prints for all.

    Of CIFAR-100-LT, whose classes are counted by a formula; None for other data sets.
    """
    figures = section.paper(row)
    if section.paper_dataset != "cifar100" or not figures.keys() >= set(SHOTS):
        return None
    groups = shot_groups(class_counts(100, 500, section.imbalance))
    average = sum(group.mean() * figures[shot] for shot, group in groups.items())
    return average if abs(average - figures["all"]) > _INCONSISTENT else None
