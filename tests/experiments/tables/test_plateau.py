import pytest

from experiments.designing.catalogue import EXPERIMENTS
from experiments.designing.design import Scale, cells
from experiments.records.gathering import gather
from experiments.tables.plateau import epochs_until_below, plateau
from tests.experiments.made_up import a_record

SCALE = Scale(seeds=1, datasets=("cifar100_small",))


def record_of(cell, **course):
    return a_record(cell, (9, 5, 1), course=course, last={"epoch": 4, "all": 50.0})


@pytest.mark.parametrize(
    ("values", "epochs"),
    [
        ([0.5, 0.9, 0.9, 0.7], 1.5),  # two epochs of two halves
        ([0.7, 0.9, 0.7, 0.9], float("inf")),
        ([0.9, 0.7, 0.8, 0.7], 1.5),  # a level that is met is not below it
        ([0.1, 0.2, 0.3, 0.4], 0.0),
    ],
)
def test_a_plateau_ends_where_the_course_is_below_for_good(values, epochs):
    assert epochs_until_below(values, 0.8, 2) == epochs


def test_the_table_has_a_line_for_each_row_that_has_a_course():
    found = {cell.row: cell for cell in cells(EXPERIMENTS["orders"], SCALE)}
    ratio = {"contrastive_gradient": [2.0, 1.0, 1.0, 0.3], "classification_gradient": [1.0] * 4}
    records = [
        record_of(
            found["BCCL"],
            cosine_within=[0.6, 0.9, 0.9, 0.75],
            cosine_between=[0.5, 0.95, 0.7, 0.4],
            **ratio,
        ),
        record_of(found["cross-entropy"]),
    ]
    (section,) = gather(EXPERIMENTS["orders"], SCALE, records, "here")
    lines = [line for line in plateau(section).splitlines() if line.startswith("| **BCCL**")]
    assert [cell.strip() for cell in lines[0].split("|")[2:-1]] == [
        "0.95", "2.00", "3.00", "0.75", "0.40", "2.00", "0.30",
    ]  # fmt: skip
    assert "cross-entropy" not in plateau(section)
    (section,) = gather(EXPERIMENTS["orders"], SCALE, records[1:], "here")
    assert plateau(section) == ""
