import csv
import dataclasses
import re

import numpy as np
import pytest

from experiments.designing.catalogue import EXPERIMENTS
from experiments.designing.design import Scale
from experiments.figures.accuracies import accuracies
from experiments.records import gathering
from experiments.reporting import writing
from tests.experiments.made_up import SMALL, a_record, by_row
from tests.experiments.reporting.reports import FLAGS, cells_of, run, write


def test_report_of_a_table(tmp_path, capsys, monkeypatch):
    rows = by_row()
    write(
        tmp_path,
        [
            a_record(rows["BCCL"][0], (9, 8, 7)),
            a_record(rows["BCCL"][1], (8, 8, 8)),
            a_record(rows["L_SCL"][0], (9, 5, 1)),
            a_record(rows["L_SCL"][1], (9, 6, 3)),
            a_record(rows["L_SCL + L_CL"][0], (10, 7, 7)),
        ],
    )
    drawn, save = {}, writing.save

    def save_one(figure, stem):
        drawn[stem.name] = figure
        return save(figure, stem) if stem.name == "table4-cifar100_small" else []

    monkeypatch.setattr(writing, "save", save_one)
    markdown = run(tmp_path, capsys, "table4", *FLAGS).out
    folder = tmp_path / "report"
    assert (folder / "table4-cifar100_small.md").read_text() == markdown[:-1]

    bccl = cells_of(markdown, "**BCCL**")
    assert bccl[1:4] == ["2", "80.00 ± 0.00", "80.00 ± 0.00"]  # top-1 and all
    assert bccl[4] == "85.00 ± 7.07"  # many: 90 and 80
    assert bccl[-2:] == ["81.00 ± 0.00", "52.55"]
    assert cells_of(markdown, "L_SCL")[2] == "55.00 ± 7.07"  # 50 and 60
    assert cells_of(markdown, "L_SCL + L_CL")[1:3] == ["1 of 2", "80.00"]
    assert cells_of(markdown, "L_SCL + L_LC")[1:3] == ["–", "not run"]
    assert "best epoch (chosen on the test set)" in markdown
    assert "paper, cifar100, resnet32, 200 epochs" in markdown
    assert "minus the paper's" not in markdown
    assert "only the order of the rows may be compared" in markdown
    assert "L_SCL + L_CL seed 1; L_SCL + L_LC seeds 0, 1" in markdown

    against = next(line for line in markdown.splitlines() if line.startswith("| L_SCL | 2 | −25"))
    # Differences of -30 and -20: t = -5 of one degree of freedom, p = 2 atan(1 / 5) / pi = 0.1257.
    assert " 0.126 " in against
    assert "Kendall's tau of the two: 0.82" in markdown  # one tie in three pairs

    assert (folder / "table4-cifar100_small.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "table4-cifar100_small.svg").read_text().startswith("<?xml")
    suffixes = {name.removeprefix("table4-cifar100_small") for name in drawn}
    assert suffixes == {"", "_backbone", "_classes", "_curves", "_few_against_many"}
    assert set(re.findall(r"\]\((.*?)\.png\)", markdown)) == set(drawn)
    heights = [bar.get_height() for bar in drawn["table4-cifar100_small"].axes[0].patches]
    np.testing.assert_allclose(heights[:4], [80, 85, 80, 75])
    with (folder / "table4-cifar100_small.csv").open() as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    assert float(lines["L_SCL"]["difference"]) == pytest.approx(-25)
    assert float(lines["L_SCL"]["p_seeds"]) == pytest.approx(2 * np.arctan(1 / 5) / np.pi)
    assert lines["L_SCL + L_LC"]["status"] == "not run"
    assert lines["L_SCL + L_LC"]["last_all"] == ""


def test_feature_space_by_shot_group(tmp_path, capsys, no_pictures):
    write(tmp_path, [a_record(by_row()["BCCL"][0], (9, 8, 7))])
    markdown = run(tmp_path, capsys, "table4", *FLAGS).out
    line = next(line for line in markdown.splitlines() if line.startswith("| nearest class |"))
    assert line == "| nearest class | BCCL | 2.00 | 1.00 | 2.00 | 3.00 | 2.00 |"
    assert "| rank of means | BCCL | 1.50 | – | – | – | – |" in markdown


def test_versions_of_the_code_are_never_mixed(tmp_path, capsys, no_pictures):
    bccl, scl = by_row()["BCCL"], by_row()["L_SCL"]
    write(
        tmp_path,
        [
            a_record(bccl[0], (9, 9, 9), "older", finished="2024-01-01T00:00:00"),
            a_record(bccl[1], (9, 9, 9), "older", finished="2024-01-01T00:00:00"),
            a_record(scl[0], (1, 1, 1), "newer", finished="2024-06-01T00:00:00"),
        ],
    )
    newest = run(tmp_path, capsys, "table4", *FLAGS).out
    assert "Made by code `newer`; what is checked out is `here`." in newest
    assert cells_of(newest, "L_SCL")[2] == "10.00"
    assert cells_of(newest, "**BCCL**")[2] == "not run"
    chosen = run(tmp_path, capsys, "table4", *FLAGS, "--code=older").out
    assert cells_of(chosen, "**BCCL**")[1:3] == ["2", "90.00 ± 0.00"]
    assert cells_of(chosen, "L_SCL")[2] == "not run"
    write(tmp_path, [a_record(bccl[0], (5, 5, 5))])
    here = run(tmp_path, capsys, "table4", *FLAGS).out
    assert cells_of(here, "**BCCL**")[1:3] == ["1 of 2", "50.00"]
    assert "Made by code" not in here
    error = run(tmp_path, capsys, "table4", *FLAGS, "--code=none", code=1).err
    assert "by code none; there are some of older, newer, here" in error


def test_a_study_says_that_it_is_of_the_validation_part(tmp_path, capsys, no_pictures):
    cell = by_row("weights")["BCCL"][0]
    write(tmp_path, [a_record(cell, (9, 8, 7))])
    markdown = run(tmp_path, capsys, "weights", *FLAGS).out
    assert "in percent on a validation part of the training split" in markdown
    assert "best epoch (chosen on this part)" in markdown
    assert "test s" not in markdown


def test_paper_is_compared_at_its_size_alone(tmp_path, capsys, no_pictures, monkeypatch):
    scale = Scale(seeds=1, datasets=("cifar100",))
    # As if the harness did not have it.
    rows = [
        dataclasses.replace(row, method=None) if row.name == "DRO-LT" else row
        for row in EXPERIMENTS["table2"].rows
    ]
    table = dataclasses.replace(EXPERIMENTS["table2"], rows=tuple(rows))
    monkeypatch.setitem(EXPERIMENTS, "table2", table)
    write(tmp_path, [a_record(by_row("table2", scale)["BCCL"][0], (6, 6, 3))])
    markdown = run(tmp_path, capsys, "table2", "--seeds=1").out
    assert cells_of(markdown, "**BCCL**")[-2:] == ["52.55 (68.1 / 53.9 / 34.5)", "−2.55"]
    missing = cells_of(markdown, "DRO-LT")
    assert missing[2] == "not in this harness yet"
    assert missing[-2:] == ["47.3 (64.7 / 50.0 / 23.8)", "–"]
    assert "of BCCL average to 53.05 over the classes, not to the 52.55" in markdown
    assert markdown.count("average to") == 1


def test_runs_of_different_devices_are_told(tmp_path, capsys, no_pictures):
    bccl = by_row()["BCCL"]
    write(tmp_path, [a_record(bccl[0], (9, 8, 7)), a_record(bccl[1], (9, 8, 7), device="GPU")])
    markdown = run(tmp_path, capsys, "table4", *FLAGS).out
    assert "**Runs of this table have different devices**: CPU, GPU" in markdown
    assert "different package versions" not in markdown
    assert "different numbers" not in markdown


def test_runs_of_different_images_are_told(tmp_path, capsys, no_pictures):
    bccl = by_row()["BCCL"]
    grown = a_record(bccl[1], (9, 8, 7), class_counts=[600, 50, 5])
    write(tmp_path, [a_record(bccl[0], (9, 8, 7)), grown])
    markdown = run(tmp_path, capsys, "table4", *FLAGS).out
    assert "**Runs of this table have different numbers of training images**: 555, 655" in markdown


def test_bars_of_a_sweep_stand_in_numeric_order_about_the_reference():
    rows = by_row("figure3")
    records = [a_record(cells[0], (i, i, i)) for i, cells in enumerate(rows.values(), 1)]
    (section,) = gathering.gather(EXPERIMENTS["figure3"], SMALL, records, "here")
    bars, differences = accuracies(section).axes
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["1", "3", "5", "7", "9"]
    # The reference, 5, is the first row.
    heights = [bar.get_height() for bar in bars.patches]
    np.testing.assert_allclose(heights, [20, 30, 10, 40, 50])
    assert [tick.get_text() for tick in differences.get_yticklabels()] == ["1", "3", "7", "9"]


def test_other_images_are_not_paired(tmp_path):
    rows = by_row()
    records = [
        a_record(rows["BCCL"][0], (9, 8, 7)),
        a_record(rows["L_SCL"][0], (9, 5, 1), images=29),
    ]
    (section,) = gathering.gather(EXPERIMENTS["table4"], SMALL, records, "here")
    (found,) = section.against_reference
    assert (found.difference, found.low, found.p_images) == (pytest.approx(-30), None, None)
    assert not section.equal_classes


def test_without_records_the_command_that_makes_them_is_told(tmp_path, capsys):
    error = run(tmp_path, capsys, "table4", *FLAGS, "--epochs=3", code=1).err
    assert error.count("\n") == 1
    assert "no record of these runs" in error
    command = "python -m experiments.run table4 --seeds=2 --dataset=cifar100_small --epochs=3"
    assert command in error
