"""docs/methods.md says what docstrings and records say."""

import json
import lzma

import numpy as np
import pytest

from bccl_jax import methods
from experiments.designing.every_method import ALL_METHODS
from experiments.methods_page import DOCS
from experiments.reporting.method_facts import facts, parsed
from experiments.reporting.methods_page import page
from tests.experiments.made_up import a_record, by_row

DOCSTRING = """A loss (Doe 2020).

How it works.

Family: losses
Paper: Doe, "On
  loss", 2020.
Equation: `x`.
State: none.
Printed: none."""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A folder as docs/records, of two seeds of a method, the first measured twice."""
    folder = tmp_path_factory.mktemp("records")
    first, second, *_ = by_row("all_methods")["bcl"]
    old = a_record(first, [1, 1, 1], code="old", finished="2024-01-01T00:00:00")
    found = [
        (old, "a"),
        (a_record(first, [9, 6, 3]), "b"),
        (a_record(second, [9, 6, 6]), "b"),
    ]
    for record, name in found:
        record["last"]["calibration_error"] = 5.0
        record["config"] |= {"epochs": 40}
        with lzma.open(folder / f"{name}.jsonl.xz", "at") as file:
            file.write(json.dumps(record) + "\n")
    cost = {
        "machine": {"device": "a chip", "cores": 3, "python": "3", "jax": "1.0", "commit": "abc"},
        "settings": {"backbone": "resnet32", "batch": 128, "side": 32, "dtype": "float32"},
        "rows": [{"method": "bcl", "to cross_entropy": 3.456, "seconds a step": 0.25}],
    }
    for size in ("small", "full"):
        (folder / f"step_cost_{size}.json").write_text(json.dumps(cost))
    return folder


def test_the_page_is_what_it_would_be_written_as_now():
    written = (DOCS / "methods.md").read_text(encoding="utf-8")
    assert written == page(DOCS / "records"), "run python -m experiments.methods_page"


@pytest.mark.parametrize("name", methods.shipped())
def test_every_method_is_told_in_words(name):
    own = facts(name)
    assert all(vars(own)[key] for key in ("title", "paper", "equation", "state", "printed"))
    assert f"### `{name}`" in (DOCS / "methods.md").read_text(encoding="utf-8")


def test_rows_are_means_over_the_newest_record_of_each_seed(records):
    lines = page(records).splitlines()
    mean, deviation = 65.0, np.std([60, 70], ddof=1)
    shown = f"{mean:.2f} ± {deviation:.2f}"
    overview = next(line for line in lines if line.startswith("| `bcl` | Zhu"))
    assert overview == f"| `bcl` | Zhu et al. 2022 | 3.46 | 51.93 | {shown} (2 seeds) | – | – |"
    full = next(line for line in lines if line.startswith("| `bcl` | 2 |"))
    assert full == (
        f"| `bcl` | 2 | {shown} | 90.00 ± 0.00 | 60.00 ± 0.00 "
        f"| 45.00 ± {np.std([30, 60], ddof=1):.2f} | 5.00 ± 0.00 | 250 | 690 |"
    )
    assert "- a step: 3.46 times that of `cross_entropy`." in lines
    assert not any(line.startswith("| `scl` | 2") for line in lines)


def test_printed_figures_are_those_of_the_papers_tables():
    rows = {row.name: row.paper for row in ALL_METHODS.rows}
    shots = {"all": 51.93, "many": 67.2, "medium": 53.1, "few": 32.9}
    assert rows["bcl"]["cifar100", 100.0] == shots
    assert rows["bcl"]["imagenet_lt", 0.0] == {"all": 56.0}
    # Of its own network, not of the wide one.
    assert rows["glmc"]["cifar100", 100.0] == {"all": 43.55}
    assert rows["cross_entropy"] == {}


def test_a_docstring_is_taken_apart():
    found = parsed(DOCSTRING, "doe")
    assert (found.title, found.text) == ("A loss (Doe 2020).", "How it works.")
    assert (found.paper, found.equation) == ('Doe, "On loss", 2020.', "`x`.")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("State: none.\n", "", "Family, Paper, Equation, Printed"),
        ("Family: losses\n", "", "none of them"),
        ("Family: losses", "Family: loses", "'loses'"),
    ],
)
def test_a_docstring_that_lacks_a_line_is_told(old, new, told):
    with pytest.raises(ValueError, match="doe") as raised:
        parsed(DOCSTRING.replace(old, new), "doe")
    assert told in str(raised.value)
