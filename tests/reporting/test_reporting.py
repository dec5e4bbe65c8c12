import json

import numpy as np
import pytest
from PIL import Image

from bccl_jax import config as default
from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import WorkdirError
from bccl_jax.reporting import console, plots
from bccl_jax.reporting.records import Records, read

NAMES = ("ant", "bee", "cow")


def record(epoch, **evaluation):
    train = {"loss": 3.0 / epoch, "contrastive_loss": 1.0, "accuracy": 10.0, "learning_rate": 0.1}
    row = {"epoch": epoch, "step": 7 * epoch, "train": train, "seconds": 1.0}
    return {**row, "eval": evaluation} if evaluation else row


EVALUATION = {
    "top1": 40.0,
    "all": 50.0,
    "many": 60.125,
    "medium": None,
    "few": 0.0,
    "calibration_error": 12.3456,
    "per_class": [60.125, None, 0.0],
}


def test_table_shows_two_digits_and_a_dash_for_an_empty_group():
    header, row = console.table({"last (epoch 3)": EVALUATION}).splitlines()
    columns = ["top-1", "all", "many", "medium", "few", "ECE", "classes"]
    assert header.split() == ["accuracy,", "%", *columns]
    cells = ["40.00", "50.00", "60.12", "-", "0.00", "12.35", "2", "of", "3"]
    assert row.split() == ["last", "(epoch", "3)", *cells]


def test_records_of_later_steps_are_dropped_on_resume(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = Records(path, 0, 0)
    for epoch in (1, 2, 3):
        first.append(record(epoch))
    with path.open("a") as file:
        file.write('{"epoch": 4, "st')  # killed while writing

    second = Records(path, step=14, epochs=2)
    assert [row["epoch"] for row in second.rows] == [1, 2]
    second.append(record(3))
    assert [row["epoch"] for row in read(path)] == [1, 2, 3]
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("garbage\n", "line 1 of .*metrics.jsonl is not a record"),
        ('{"step": 7}\n[]\n{"step": 14}\n', "line 2 of .*metrics.jsonl is not a record"),
        ('{"step": 7}\n', "1 records of the 2 epochs"),
        ("", "0 records of the 2 epochs"),
        (
            '{"step": 7, "epoch": 1}\n{"step": 14, "epoch": 1}\n',
            "2 records, not one of each, of the 2",
        ),
        *(
            (
                f'{{"step": 7, "epoch": 1}}\n{{"step": 14, "epoch": 2, {more}}}\n',
                "line 2 of .*metrics",
            )
            for more in (
                '"quarters": []',
                '"quarters": {"loss": 3}',
                '"quarters": {"loss": ["a"]}',
                '"train": null',
                '"train": {"loss": [1]}',
                '"train": {"loss": true}',
                '"train": {"loss": 1' + "0" * 400 + "}",
                '"eval": {"all": 1}',
                '"eval": {"all": 1, "many": 1, "medium": 1, "few": 1, "per_class": {}}',
            )
        ),
        # A last line without an end is no record, whatever it says.
        ('{"step": 7, "epoch": 1}\n{"step": 14, "epoch": "2"}', "1 records of the 2 epochs"),
    ],
)
def test_damaged_records_are_refused_and_left_as_they_are(tmp_path, text, message):
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    with pytest.raises(WorkdirError, match=message):
        Records(path, step=14, epochs=2)
    assert path.read_text() == text


def test_report_is_a_picture_with_curves_and_classes(tmp_path):
    rows = [record(1), record(2, **EVALUATION), record(3, **EVALUATION)]
    groups = {
        "many": np.array([True, False, False]),
        "medium": np.array([False, False, False]),
        "few": np.array([False, True, True]),
    }
    figure = plots.report(rows, np.array([100, 10, 5]), groups, NAMES, "title", "validation")
    losses, accuracies, classes = figure.axes
    assert accuracies.get_title("left") == "Accuracy on validation images by shot group"
    assert [line.get_label() for line in losses.lines] == ["total", "contrastive"]
    # Epochs are whole, in a short run too.
    assert all(tick.is_integer() for tick in (*losses.get_xticks(), *accuracies.get_xticks()))
    np.testing.assert_allclose(losses.lines[0].get_ydata(), [3.0, 1.5, 1.0])
    # The empty group has no curve.
    assert [line.get_label() for line in accuracies.lines] == [
        "all, mean of classes", "many", "few", "top-1, share of images",
    ]  # fmt: skip
    title = "Accuracy of 2 of 3 classes, epoch 3 (others: no test image)"
    assert classes.get_title("left") == title
    # The class without images is in no mean.
    assert [text.get_text() for text in classes.get_legend().get_texts()] == [
        "many: 60.1 (mean of 1 classes)",
        "few: 0.0 (mean of 1 of 2 classes)",
    ]
    assert {text.get_text() for text in classes.texts} == {"ant", "cow"}
    many, _, few, _ = classes.collections
    np.testing.assert_allclose(np.ma.getdata(many.get_offsets()), [[100, 60.125]])
    np.testing.assert_allclose(np.ma.getdata(few.get_offsets()), [[5, 0]])

    path = tmp_path / "report.png"
    plots.save_report(path, rows, np.array([100, 10, 5]), groups, NAMES, "title")
    with Image.open(path) as image:
        assert image.size == (1716, 484)


def test_the_picture_has_a_curve_of_the_averaged_weights_beside_each_of_the_raw_ones():
    rows = [record(1), record(2, **EVALUATION), record(3, **EVALUATION)]
    for row, accuracy in zip(rows[1:], (70.0, 80.0), strict=True):
        row["eval_ema"] = EVALUATION | {"all": accuracy}
    groups = {"many": np.array([True, False, False])}
    figure = plots.report(rows, np.array([100, 10, 5]), groups, NAMES, "title")
    _, accuracies, classes = figure.axes
    raw, averaged = (
        [line for line in accuracies.lines if line.get_linestyle() == style] for style in ("-", ":")
    )
    np.testing.assert_allclose(averaged[0].get_ydata(), [70, 80])
    np.testing.assert_allclose(raw[0].get_ydata(), [50, 50])
    # The empty group has none here either.
    assert [line.get_color() for line in averaged] == [line.get_color() for line in raw]
    assert "dotted: averaged weights" in [
        text.get_text() for text in accuracies.get_legend().get_texts()
    ]
    assert "epoch 3, raw weights" in classes.get_title("left")


def quarters(within, contrastive, classification):
    return {
        "quarters": {
            "cosine_within": within,
            "cosine_between": [value / 2 for value in within],
            "contrastive_gradient": contrastive,
            "classification_gradient": classification,
        }
    }


def test_the_picture_has_cosines_and_the_ratio_of_gradients_where_records_have_them():
    rows = [
        record(1),
        record(2) | quarters([0.8, 0.4], [1.0, 0.0], [2.0, 2.0]),
        record(3, **EVALUATION) | quarters([0.2, 0.1], [3.0, None], [1.0, 1.0]),
    ]
    groups = {"many": np.ones(3, bool)}
    figure = plots.report(rows, np.array([100, 10, 5]), groups, NAMES, "title")
    *_, cosines, ratios = figure.axes
    assert len(figure.axes) == 5
    within, between = cosines.lines
    np.testing.assert_allclose(within.get_xdata(), [1.25, 1.75, 2.25, 2.75])
    np.testing.assert_allclose(within.get_ydata(), [0.8, 0.4, 0.2, 0.1])
    np.testing.assert_allclose(between.get_ydata(), [0.4, 0.2, 0.1, 0.05])
    # A logarithmic axis has no place for a gradient of zero, and one was not finite.
    (line,) = ratios.lines
    np.testing.assert_allclose(line.get_xdata(), [1.25, 2.25])
    np.testing.assert_allclose(line.get_ydata(), [0.5, 3.0])
    assert ratios.get_yscale() == "log"


def test_without_any_gradient_above_zero_the_picture_has_the_cosines_alone():
    rows = [record(1, **EVALUATION) | quarters([0.8], [0.0], [1.0])]
    groups = {"many": np.ones(3, bool)}
    figure = plots.report(rows, np.array([100, 10, 5]), groups, NAMES, "title")
    assert [axes.get_ylabel() for axes in figure.axes][3:] == ["mean cosine"]


def test_a_run_says_at_its_start_what_it_will_do():
    config = default.get_config()
    images = np.zeros((1234, 1, 1, 3), np.uint8)
    train = Split(images, np.zeros(1234, np.int32), ("a", "b"))
    test, validation = train.take(np.arange(50)), train.take(np.arange(20))
    dataset = Dataset("cifar100", train, test, validation, notes=("3 files are no pictures.",))
    first, note, *_ = console.announcement(config, dataset, 9).splitlines()
    assert first == (
        "cifar100: 1,234 training images of 2 classes, 20 validation images; "
        "200 epochs of 9 steps, batch 128, learning rate 0.15"
    )
    assert note == "3 files are no pictures."
