"""Reports of runs that did not test every class, or that lost some."""

import csv

import numpy as np
import pytest

from experiments.designing.catalogue import EXPERIMENTS
from experiments.figures import accuracies as bars
from experiments.figures.classes import classes
from experiments.records import gathering
from experiments.tables.accuracies import accuracies
from experiments.tables.csv_rows import csv_rows
from experiments.tables.low_classes import low_classes
from experiments.tables.made_with import made_with
from tests.experiments.made_up import SMALL, a_record, by_row
from tests.experiments.reporting.reports import FLAGS, cells_of, run, write


def newer(record, names=("cat", "dog", "eel"), **figures):
    """The record with the fields of today's evaluations."""
    per_class = record["last"]["per_class"]
    tested = [accuracy for accuracy in per_class if accuracy is not None]
    own = {
        "top1": 50.0,
        "all": float(np.mean(tested)),
        "untested": [n for n, a in zip(names, per_class, strict=True) if a is None],
        "macro_f1": 40.0,
        "worst_class": min(tested),
        "harmonic_mean": 30.0,
        "geometric_mean": 35.0,
        "calibration_error": 3.0,
    } | figures
    return record | {part: record[part] | own for part in ("last", "best")}


def without(record, k):
    """The record where no image of class k was decoded."""
    last = record["last"]
    per_class = [None if i == k else a for i, a in enumerate(last["per_class"])]
    kept = [a for a in per_class if a is not None]
    return record | {
        "last": last | {"per_class": per_class, "all": float(np.mean(kept)), "undecoded": 10},
        "left_out": list(range(10 * k, 10 * k + 10)),
        "images": 20,
    }


def section(*records):
    (found,) = gathering.gather(EXPERIMENTS["table4"], SMALL, records, "here")
    return found


def test_records_of_older_runs_are_read_with_what_they_allow(tmp_path, capsys, no_pictures):
    rows = by_row()
    old = a_record(rows["BCCL"][0], (10, 10, 0))
    write(tmp_path, [old, newer(a_record(rows["L_SCL"][0], (9, 6, 3)))])
    markdown = run(tmp_path, capsys, "table4", *FLAGS).out
    # top-1 is counted, and what class accuracies tell; F1 and the calibration are unknown.
    assert cells_of(markdown, "**BCCL**")[2:4] == ["66.67", "66.67"]
    line = next(line for line in markdown.splitlines() if line.startswith("| **BCCL** | 0.00"))
    assert line == "| **BCCL** | 0.00 | 0.00 | 0.00 | – | – | 1.0 |"
    assert "| L_SCL | 30.00 | 30.00 | 35.00 | 40.00 | 3.00 | 0.0 |" in markdown
    assert "all: mean of the accuracies of 3 of 3 classes." in markdown
    assert "Top-1" not in markdown
    with (tmp_path / "report" / "table4-cifar100_small.csv").open() as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    assert {line["experiment"] for line in lines.values()} == {"table4"}
    assert (lines["BCCL"]["last_macro_f1"], lines["L_SCL"]["last_macro_f1"]) == ("", "40.0")
    assert (lines["BCCL"]["classes_tested"], lines["BCCL"]["classes"]) == ("3", "3")
    assert lines["L_SCL + L_LC"]["classes"] == ""


def test_classes_without_evaluation_images_are_named_and_counted():
    rows = by_row()
    found = section(
        newer(without(a_record(rows["BCCL"][0], (9, 8, 7)), 2)),
        newer(without(a_record(rows["L_SCL"][0], (9, 6, 3)), 2)),
    )
    assert "of 2 of 3 classes; no run evaluated an image of eel." in accuracies(found)
    assert "different" not in made_with(found)
    assert "of 2 of 3 classes" in bars.accuracies(found).get_suptitle()
    classes(found)
    assert {row["classes_tested"] for row in csv_rows("table4", found)} == {2, ""}
    (comparison,) = found.against_reference
    assert comparison.difference == pytest.approx(-10)
    assert comparison.p_images is not None


def test_rows_that_tested_different_classes_are_compared_over_the_common_ones():
    rows = by_row()
    whole = newer(a_record(rows["BCCL"][0], (9, 8, 1)))
    lacking = newer(without(a_record(rows["L_SCL"][0], (9, 7, 1)), 2))
    found = section(whole, lacking)
    assert lacking["last"]["all"] > whole["last"]["all"]
    (comparison,) = found.against_reference
    # Not the 20 points that it gains by having lost the hard class.
    assert comparison.difference == pytest.approx(-5)
    assert (comparison.low, comparison.p_images) == (None, None)
    told = accuracies(found)
    assert (
        "rows are means of different classes, for not every run evaluated an image of eel" in told
    )
    assert "different numbers of classes with evaluation images**: 2, 3" in made_with(found)
    assert "| L_SCL | 70.00 |" in low_classes(found)


def test_as_many_but_other_images_are_not_paired():
    rows = by_row()
    first = a_record(rows["BCCL"][0], (9, 8, 7), images=29, left_out=[3])
    second = a_record(rows["L_SCL"][0], (9, 5, 1), images=29, left_out=[4])
    (found,) = section(first, second).against_reference
    assert (found.low, found.p_images) == (None, None)
    # An older record tells that some were left out, and not which.
    older = a_record(rows["L_SCL"][0], (9, 5, 1), images=29)
    older["last"]["undecoded"] = 1
    (found,) = section(first, older).against_reference
    assert found.p_images is None
    second["left_out"] = [3]
    (found,) = section(first, second).against_reference
    assert found.p_images is not None


def test_nothing_in_common_is_no_comparison_and_one_image_no_interval():
    rows = by_row()
    first = without(without(a_record(rows["BCCL"][0], (9, 8, 7)), 1), 2)
    second = without(a_record(rows["L_SCL"][0], (9, 8, 7)), 0)
    assert section(first, second).against_reference == []
    one = [a_record(rows[name][0], (9, 8, 7), images=1) for name in ("BCCL", "L_SCL")]
    (found,) = section(*one).against_reference
    assert (found.low, found.p_images) == (None, None)
