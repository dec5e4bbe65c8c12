"""What a comparison shows beside accuracy: other test distributions, calibration, LaTeX."""

import csv

import numpy as np
import pytest

from bccl_jax.reporting.palette import SHOTS
from experiments.designing.catalogue import EXPERIMENTS
from experiments.figures.accuracies import accuracies
from experiments.figures.drawing import draw
from experiments.figures.few_against_many import few_against_many
from experiments.records import gathering
from experiments.tables.latex import latex
from tests.drawn import faults
from tests.experiments.made_up import SMALL, a_record, by_row
from tests.experiments.reporting.reports import FLAGS, cells_of, run, write

PRIORS = ("forward_50", "forward_10", "uniform", "backward_10", "backward_50")


def told(record, first, images=(10, 0, 20)):
    """The record with accuracies of `first` and more under five priors, corrected 0.5 above."""
    record["last"]["test_priors"] = {
        name: {"as_is": first + i, "corrected": first + i + 0.5} for i, name in enumerate(PRIORS)
    }
    record["last"]["reliability"] = {
        "images": list(images),
        "confidence": [0.2 if images[0] else None, None, 0.9],
        "accuracy": [0.1 if images[0] else None, None, 0.6],
    }
    record["last"]["calibration_error"] = 23.3
    return record


@pytest.fixture
def records():
    rows = by_row()
    return [
        told(a_record(rows["BCCL"][0], (9, 8, 7)), 60),
        told(a_record(rows["BCCL"][1], (8, 8, 8)), 62, images=(0, 0, 10)),
        a_record(rows["L_SCL"][0], (9, 5, 1)),
    ]


def section_of(records):
    return gathering.gather(EXPERIMENTS["table4"], SMALL, records, "here")[0]


def test_other_test_distributions_stand_in_table_and_file(records, tmp_path, capsys, no_pictures):
    write(tmp_path, records)
    markdown = run(tmp_path, capsys, "table4", *FLAGS).out
    shifted = markdown[markdown.index("### Other test distributions") :]
    assert cells_of(shifted, "row") == ["row", *(name.replace("_", " ") for name in PRIORS)]
    assert cells_of(shifted, "**BCCL**")[1:3] == ["61.00 → 61.50", "62.00 → 62.50"]
    # A record of older code has none of them.
    assert "| L_SCL |" not in shifted[: shifted.index("### Feature space")]
    with (tmp_path / "report" / "table4-cifar100_small.csv").open() as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    assert float(lines["BCCL"]["backward_50_corrected"]) == 65.5
    assert float(lines["BCCL"]["backward_50_corrected_std"]) == pytest.approx(np.sqrt(2))
    assert lines["L_SCL"]["backward_50_corrected"] == ""


def test_without_the_figures_nothing_is_said(tmp_path, capsys, no_pictures):
    write(tmp_path, [a_record(by_row()["BCCL"][0], (9, 8, 7))])
    assert "Other test distributions" not in run(tmp_path, capsys, "table4", *FLAGS).out


def test_points_and_lines_are_where_the_figures_are(records):
    section = section_of(records)
    drawn = draw(section)
    (few,) = drawn["few_against_many"].axes
    points = [container.lines[0].get_xydata()[0].tolist() for container in few.containers]
    assert points == [[85, 75], [90, 10]]
    # Two seeds with many-shot classes at 90 and 80, and one seed, whose deviation nobody knows.
    bars = [line.get_segments()[0] for line in few.containers[0].lines[2]]
    np.testing.assert_allclose(np.ptp(bars[0], axis=0), [2 * 50**0.5, 0], atol=1e-9)
    assert not few.containers[1].lines[2]
    (shift,) = drawn["label_shift"].axes
    corrected, as_is = (line.get_ydata().tolist() for line in shift.lines)
    assert corrected == [61.5, 62.5, 63.5, 64.5, 65.5]
    assert as_is == [61, 62, 63, 64, 65]
    panel = drawn["reliability"].axes[0]
    # Of ten images one in ten is right, of thirty three in five; the bin between has none.
    np.testing.assert_allclose(panel.collections[0].get_offsets(), [[20, 10], [90, 60]])
    assert panel.get_title("left") == "BCCL\nECE 23.3"


def test_the_table_for_tex_is_whole_and_escaped(records, tmp_path, capsys, no_pictures):
    write(tmp_path, records)
    run(tmp_path, capsys, "table4", *FLAGS)
    text = (tmp_path / "report" / "table4-cifar100_small.tex").read_text()
    assert text == latex(section_of(records))
    lines = text.splitlines()
    assert "cifar100\\_small" in lines[0]
    assert lines[2] == "\\begin{tabular}{lrrrrrr}"
    assert lines[4] == " & seeds & all & many & medium & few & printed \\\\"
    (bccl,) = (line for line in lines if line.startswith("BCCL &"))
    assert bccl == (
        "BCCL & 2 & \\textbf{80.00} $\\pm$ 0.00 & 85.00 $\\pm$ 7.07 & "
        "\\textbf{80.00} $\\pm$ 0.00 & \\textbf{75.00} $\\pm$ 7.07 & 52.55 \\\\"
    )
    (scl,) = (line for line in lines if line.startswith("L\\_SCL &"))
    assert scl.startswith("L\\_SCL & 1 & 50.00 & \\textbf{90.00} & 50.00 & 10.00 & ")
    (missing,) = (line for line in lines if line.startswith("L\\_SCL + L\\_LC &"))
    assert missing.count("--") == 5
    columns = {line.count(" & ") for line in lines if line.endswith("\\\\")}
    assert columns == {6}
    assert lines[-2:] == ["\\bottomrule", "\\end{tabular}"]


def test_a_row_of_the_tests_of_tex_knows_every_row_that_there_is():
    for experiment in EXPERIMENTS.values():
        for row in experiment.rows:
            for character in row.name:
                assert character.isascii() or character in "–−±γτ", row.name


def test_text_of_every_picture_is_within_it_and_on_nothing_else(records):
    for suffix, figure in draw(section_of(records)).items():
        assert (suffix, faults(figure)) == (suffix, [])


def test_many_rows_have_a_line_each_with_the_shot_groups_colours():
    rows = by_row("all_methods")
    records = [a_record(cells[0], (9, 5, k % 9)) for k, cells in enumerate(rows.values())]
    (section,) = gathering.gather(EXPERIMENTS["all_methods"], SMALL, records, "here")
    figure = accuracies(section)
    axes, differences = figure.axes
    assert faults(figure) == []
    assert [text.get_text() for text in axes.get_yticklabels()] == list(rows)
    points = {bars.get_label(): bars.lines[0] for bars in axes.containers}
    for shot, label in {"all": "all, mean of classes", "few": "few"}.items():
        assert points[label].get_color() == SHOTS[shot]
        expected = [section.finished[k].accuracy(shot).mean for k in range(len(rows))]
        assert points[label].get_xdata().tolist() == pytest.approx(expected)
        assert points[label].get_ydata().tolist() == list(range(len(rows)))
    # A difference stands on the line of its row.
    places = {line.get_ydata()[0] for line in differences.lines if line.get_marker() == "o"}
    assert len(places) == len(rows) - 1
    few = few_against_many(section)
    assert faults(few) == []
