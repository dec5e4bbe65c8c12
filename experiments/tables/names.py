"""What tables call rows and splits."""

from ..records.gathering import Section
from ..records.runs import Runs

SPLITS = {"test": "the test split", "validation": "a validation part of the training split"}


AVERAGED = "averaged weights"


def row_name(runs: Runs, section: Section, averaged: bool = False) -> str:
    """A row's name in a table, the reference's in bold; or that of its averaged weights."""
    if averaged:
        return f"{runs.row.name}, {AVERAGED}"
    if runs.row.name != section.experiment.reference:
        return runs.row.name
    axis = section.experiment.axis
    return f"**{runs.row.name}**" + (f" ({axis} {runs.row.value})" if axis else "")


def status(runs: Runs) -> str:
    """Why a row has no figures; "" if it has."""
    if runs.records:
        return ""
    if runs.row.method is None:
        return "not in this harness yet"
    return "not run" if runs.cells else "left out: it has a backbone of its own"
