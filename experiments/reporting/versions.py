"""Which version of the code a report is of."""

from collections.abc import Iterable, Sequence

from bccl_jax.errors import WorkdirError

from ..designing.design import Cell
from ..records.results import Record
from ..running import provenance


def choose_code(
    records: Iterable[Record], asked: Sequence[Cell], code: str | None, where: str
) -> tuple[str, str]:
    """Which version of the code to report.

    Args:
      records: of any runs.
      asked: the runs of the report.
      code: hash that is asked for; None takes what is checked out, else the newest.
      where: file, and how to make records, for a person.

    Returns:
      The hash, and a sentence where it is not what is checked out.

    Raises:
      WorkdirError: there is no record.
    """
    runs = {(cell.config_hash, cell.seed) for cell in asked}
    newest = {}
    for record in records:
        if (record["config_hash"], record["seed"]) in runs:
            own = newest.setdefault(record["code_hash"], record["finished"])
            newest[record["code_hash"]] = max(own, record["finished"])
    here = provenance.code_hash()
    if code is not None and code not in newest:
        others = f"; there are some of {', '.join(newest)}" if newest else ""
        raise WorkdirError(f"no record of these runs by code {code}{others} in {where}")
    if not newest:
        raise WorkdirError(f"no record of these runs in {where}")
    chosen = code or (here if here in newest else max(newest, key=newest.get))
    if chosen == here:
        return chosen, ""
    return chosen, f"Made by code `{chosen}`; what is checked out is `{here}`."
