"""What a table leaves out is said below it."""

import json

import numpy as np
import pytest

from bccl_jax.data.split import Dataset, Split
from bccl_jax.reporting import console, plots, remarks
from bccl_jax.reporting.records import Records, as_json, read

NAMES = ("cat", "dog", "eel")
OLD = {
    "all": 100.0,
    "many": 100.0,
    "medium": None,
    "few": None,
    "calibration_error": 1.0,
    "per_class": [100.0, None, None],
}
NEW = OLD | {
    "top1": 90.0,
    "all": 50.0,
    "few": 0.0,
    "classes": {"all": 3, "many": 1, "medium": 0, "few": 2},
    "classes_tested": {"all": 2, "many": 1, "medium": 0, "few": 1},
    "untested": ["dog"],
    "undecoded": 4,
    "macro_f1": 33.333,
    "worst_class": 0.0,
    "harmonic_mean": 0.0,
    "geometric_mean": 0.0,
    "per_class": [100.0, None, 0.0],
}


def test_lost_and_untested_classes_are_named_once_for_all_rows_that_they_are_true_of():
    told = remarks.explain({"last (epoch 3)": NEW, "best (epoch 1, chosen)": NEW}, NAMES)
    assert told.splitlines()[1:] == [
        "last, best: worst class 0.00, harmonic mean of classes 0.00, geometric mean 0.00, "
        "macro F1 33.33",
        "last, best: pictures that cannot be decoded and are left out: 4",
        "last, best: no image was evaluated of 1 of 3 classes: dog; means and macro F1 are over "
        "the others alone (all 2 of 3, few 1 of 2)",
        "last, best: 0 % in 1 of 3 classes: eel",
    ]


def test_a_record_of_an_older_run_is_told_as_far_as_it_goes():
    rows = {"last (epoch 3)": OLD}
    assert console.table(rows).splitlines()[1].split()[3:] == [
        "-", "100.00", "100.00", "-", "-", "1.00", "1", "of", "3",
    ]  # fmt: skip
    told = remarks.explain(rows, NAMES)
    assert told.endswith("last: no image was evaluated of 2 of 3 classes: dog, eel")
    row = {"epoch": 1, "step": 1, "train": {"loss": 1.0}, "eval": OLD}
    mixed = [row, {**row, "epoch": 2, "eval": NEW}]
    groups = {"many": np.array([True, False, False]), "few": np.array([False, True, True])}
    groups["medium"] = np.zeros(3, bool)
    for records in ([row], mixed):
        plots.report(records, np.array([100, 9, 5]), groups, NAMES, "title")


def test_the_worst_class_is_named():
    record = NEW | {"per_class": [100.0, 50.0, 75.0], "worst_class": 50.0}
    assert "last: worst class 50.00 (dog), harmonic" in remarks.explain({"last": record}, NAMES)


def test_the_least_accurate_classes_are_named_with_their_training_images():
    names = ("cat", "dog", "eel", "fox\n", "g" * 30, "hen")
    record = {"per_class": [100.0, 50.0, None, 50.0, 0.0, 75.0]}
    told = remarks.worst(record, names, [9, 1000, 3, 2000, 1, 5])
    # Half of those that were tested; of two alike the larger class.
    assert told == (
        "the least accurate classes, % (training images): "
        f"{'g' * 12}…{'g' * 11}: 0.0 (1), 'fox\\n': 50.0 (2,000)"
    )
    assert remarks.worst({"per_class": [None, 3.0]}, names, [1, 2]) == ""


def test_lines_at_the_end_are_no_longer_than_a_hundred_characters():
    words, path = " ".join(["word"] * 60), "/" + "p" * 150
    lines = console.wrapped(f"{words}\nshort\n{path} end").splitlines()
    assert [len(line) <= 100 for line in lines].count(False) == 1
    assert path in lines
    assert lines[0].startswith("word")
    assert all(line.startswith("  ") for line in lines[1:3])
    assert " ".join(" ".join(lines).split()) == f"{words} short {path} end"


def test_thousands_of_lost_classes_are_counted():
    names = [f"c{k}" for k in range(1000)]
    told = remarks.explain({"last": OLD | {"per_class": [0.0] * 1000}}, names)
    assert "0 % in 1,000 of 1,000 classes: c0, c1, " in told
    assert told.endswith("c19 and 980 more")


def dataset(test_labels, validation_labels=None, **changes):
    def split(labels):
        return Split(np.zeros((len(labels), 1, 1, 3), np.uint8), np.array(labels, np.int32), NAMES)

    validation = None if validation_labels is None else split(validation_labels)
    return Dataset("x", split([0, 1, 2]), split(test_labels), validation, **changes)


CHOICE = ", nor does the choice of the best epoch"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (dataset([0, 1, 2]), []),
        (dataset([0, 0, 2]), [(1, "test", CHOICE, "dog")]),
        (
            dataset([0, 1], [0]),
            [(2, "validation", CHOICE, "dog, eel"), (1, "test", "", "eel")],
        ),
        (dataset([0, 1], set_aside=True), [(1, "validation", CHOICE, "eel")]),
    ],
)
def test_a_split_that_lacks_classes_is_told_before_the_run(data, told):
    assert remarks.untested(data) == [
        f"{count} of 3 classes without any {part} image: {names}; no {part} figure tells anything "
        f"of such{choice}"
        for count, part, choice, names in told
    ]


def test_the_line_of_an_evaluation_says_so_too(capsys):
    with console.Progress(console.Budget(2, 10, 1), 0) as training:
        training.evaluated({"epoch": 1, "train": {"loss": 1.0}, "eval": NEW}, 2)
    line = capsys.readouterr().out
    assert "top-1 90.00  all 50.00  many 100.00" in line
    assert "(2 of 3 classes)" in line


def test_json_never_holds_nan(tmp_path):
    value = {"a": float("nan"), "b": [1.0, float("inf"), {"c": np.float64("nan")}], "d": (1, None)}
    assert json.loads(as_json(value)) == {"a": None, "b": [1.0, None, {"c": None}], "d": [1, None]}
    records = Records(tmp_path / "metrics.jsonl", 0, 0)
    records.append({"step": 1, "observed": float("nan")})
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
    assert read(tmp_path / "metrics.jsonl") == [{"step": 1, "observed": None}]
