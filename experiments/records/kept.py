"""The records and step costs that are kept in a folder, as docs/records is one."""

import json
import lzma
import pathlib
from collections.abc import Mapping

from .results import Record

# What a size is called, and the data set that it is of.
SIZES = {"small": "cifar100_small", "middle": "cifar100_middle", "full": "cifar100"}


def read_records(folder: pathlib.Path, pattern: str = "*.jsonl.xz") -> list[Record]:
    """The records of every such file of a folder, file by file in the order of their names."""
    return [
        json.loads(line) for path in sorted(folder.glob(pattern)) for line in lzma.open(path, "rt")
    ]


def step_cost(folder: pathlib.Path, size: str) -> Mapping:
    """What `benchmarks.methods` measured at a size, from step_cost_SIZE.json; no "rows" if none."""
    path = folder / f"step_cost_{size}.json"
    return json.loads(path.read_text()) if path.exists() else {"rows": []}


def largest_step_cost(folder: pathlib.Path) -> Mapping:
    """`step_cost` of the largest size that was timed, which most runs are like."""
    costs = [step_cost(folder, size) for size in reversed(SIZES)]
    return next((cost for cost in costs if cost["rows"]), costs[0])


def ratios(cost: Mapping) -> dict[str, float]:
    """By method, the time of a step over that of plain cross-entropy."""
    return {row["method"]: row["to cross_entropy"] for row in cost["rows"]}


def timed_on(cost: Mapping) -> str:
    """What a step cost was measured with, in words."""
    machine, of = cost["machine"], cost["settings"]
    return (
        f"in one run of `python -m benchmarks.methods`: {of['backbone']}, batch {of['batch']}, "
        f"{of['side']} pixels, {of['dtype']}, {machine['device']}, {machine['cores']} cores, "
        f"Python {machine['python']}, jax {machine['jax']}, commit {machine['commit']}"
    )
