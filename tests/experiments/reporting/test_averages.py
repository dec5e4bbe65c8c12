"""What a report shows of runs that keep an average of their weights."""

import csv

import numpy as np

from experiments.designing.catalogue import EXPERIMENTS
from experiments.figures.curves import curves
from experiments.records import gathering
from tests.experiments.made_up import SMALL, a_record, by_row
from tests.experiments.reporting.reports import FLAGS, cells_of, run, write


def averaged_record(cell, raw, averaged):
    """Of a run that got the first so many images of each class right."""
    record, other = a_record(cell, raw), a_record(cell, averaged)
    record["ema"] = {which: other[which] for which in ("last", "best")}
    for point, of_average in zip(record["curve"], other["curve"], strict=True):
        point["ema"] = {k: v for k, v in of_average.items() if k not in ("epoch", "train")}
    return record


def records():
    rows = by_row()
    return [
        averaged_record(rows["BCCL"][0], (9, 8, 1), (9, 9, 0)),
        averaged_record(rows["BCCL"][1], (9, 8, 1), (9, 9, 9)),
        a_record(rows["L_SCL"][0], (9, 5, 1)),
        averaged_record(rows["L_SCL"][1], (9, 5, 1), (9, 9, 9)),
    ]


def test_averaged_weights_have_a_row_of_their_own_where_every_run_has_them(
    tmp_path, capsys, no_pictures
):
    write(tmp_path, records())
    markdown = run(tmp_path, capsys, "table4", *FLAGS).out
    raw, averaged = (cells_of(markdown, name) for name in ("**BCCL**", "BCCL, averaged weights"))
    assert raw[3] == "60.00 ± 0.00"
    assert averaged[1] == "2"
    # Means of 90, 90, 0 and of 90, 90, 90; the best epoch of a made-up record has one more.
    assert averaged[3] == "75.00 ± 21.21"
    assert averaged[7] == "76.00 ± 21.21"
    assert len(averaged) == len(raw)
    # Of the two seeds of this row one has none.
    assert "| L_SCL, averaged weights |" not in markdown
    assert "The raw weights choose the best epoch" in markdown
    low = [line for line in markdown.splitlines() if line.startswith("| BCCL, averaged weights |")]
    assert low[1].endswith("| 0.5 ± 0.7 |")  # lost classes: one and none
    with (tmp_path / "report" / "table4-cifar100_small.csv").open() as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    assert float(lines["BCCL"]["last_averaged_all"]) == 75
    assert float(lines["BCCL"]["last_all"]) == 60
    assert lines["L_SCL"]["last_averaged_all"] == ""


def test_a_report_without_any_says_nothing_of_them(tmp_path, capsys, no_pictures):
    write(tmp_path, [a_record(by_row()["BCCL"][0], (9, 8, 7))])
    assert "averaged" not in run(tmp_path, capsys, "table4", *FLAGS).out


def test_their_accuracies_are_dotted_curves_beside_the_raw_ones():
    (section,) = gathering.gather(EXPERIMENTS["table4"], SMALL, records(), "here")
    figure = curves(section)
    accuracies, few, losses, *_ = figure.axes
    (dotted,) = [line for line in accuracies.lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(dotted.get_ydata(), [75, 75])
    assert dotted.get_color() == accuracies.lines[0].get_color()
    assert sum(line.get_linestyle() == ":" for line in few.lines) == 1
    assert not any(line.get_linestyle() == ":" for line in losses.lines)
    assert "averaged weights" in [text.get_text() for text in figure.legends[0].get_texts()]
