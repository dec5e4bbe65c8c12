"""`python -m bccl_jax.predict`: what it prints, writes and ends with."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import bccl_jax
from bccl_jax import predict
from bccl_jax.commands import running


@pytest.fixture
def command(folder_run, monkeypatch, capsys, tmp_path):
    """Runs the command in a new folder; returns its exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, workdir=folder_run.workdir):
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, [workdir, *arguments])])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            running.run(predict.main)
        told = capsys.readouterr()
        if isinstance(end.value.code, str):
            return 1, told.out, f"{told.err}{end.value.code}\n"
        return end.value.code, told.out, told.err

    return run


def probabilities(folder_run, paths, **options):
    model = bccl_jax.load(folder_run.workdir)
    return model.predict_proba(paths, **options), model.classes


def test_a_line_for_each_picture_names_the_most_probable_classes(command, folder_run):
    red = folder_run.test / "red" / "00.jpg"
    code, out, err = command(red, f"{folder_run.test}/blue/*.jpg", "--top=2", red)
    paths = [red, *sorted((folder_run.test / "blue").iterdir()), red]
    found, classes = probabilities(folder_run, paths)
    wanted = []
    for path, row in zip(paths, found, strict=True):
        best = np.argsort(-row)[:2]
        wanted.append(f"{path}  " + ", ".join(f"{classes[k]} {100 * row[k]:.2f} %" for k in best))
    assert (code, out.splitlines()) == (0, wanted)
    assert "<cross_entropy on folder, two_layers, 3 classes, last checkpoint" in err


def test_a_table_has_all_that_was_asked_for(command, folder_run):
    code, out, _ = command(folder_run.test, "--output=found.csv", "--adjust=1", "--checkpoint=best")
    assert (code, out) == (0, "predictions of 24 pictures are written to found.csv\n")
    model = bccl_jax.load(folder_run.workdir, "best")
    found = model.predict_proba(folder_run.test, adjust=1)
    with open("found.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["picture"] + [
        f"{column}_{i}" for i in (1, 2, 3) for column in ("class", "probability")
    ]
    assert [row[0] for row in rows] == model.names(folder_run.test)
    assert [row[1] for row in rows] == model.predict(folder_run.test, adjust=1).tolist()
    for row, wanted in zip(rows, found, strict=True):
        assert set(row[1::2]) == set(model.classes)
        np.testing.assert_allclose(
            [float(p) for p in row[2::2]], np.sort(wanted)[::-1], rtol=1e-4, atol=1e-12
        )


def test_what_cannot_be_decoded_is_named_and_skipped(command, folder_run, tmp_path):
    good = folder_run.test / "red" / "00.jpg"
    (tmp_path / "bad.jpg").write_text("not a picture")
    (tmp_path / "list.txt").write_text(f"{good}\r\n\nnowhere.jpg\n")
    (tmp_path / "more.txt").write_text("bad.jpg\n")
    arguments = "bad.jpg", "@list.txt", "--list=more.txt", "--output=found.json"
    code, out, err = command(*arguments)
    assert code == predict.SOME_BROKEN == 3
    assert "predictions of 1 pictures are written" in out
    assert err.count("left out: bad.jpg cannot be decoded (Pillow finds no image") == 2
    assert "left out: nowhere.jpg cannot be decoded (No such file or directory)" in err
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["picture"] for row in found["pictures"]] == [str(good)]
    assert [row["picture"] for row in found["broken"]] == ["bad.jpg", "nowhere.jpg", "bad.jpg"]
    wanted, classes = probabilities(folder_run, good)
    (row,) = found["pictures"]
    assert found["classes"] == list(classes)
    assert row["classes"] == [classes[k] for k in np.argsort(-wanted[0])]
    np.testing.assert_allclose(row["probabilities"], np.sort(wanted[0])[::-1], rtol=1e-5)
    # Where nothing is left there is no file.
    code, _, err = command("bad.jpg", "--output=none.csv")
    assert (code, (tmp_path / "none.csv").exists()) == (1, False)
    assert "left out: bad.jpg" in err
    assert "error: none of the 1 pictures can be decoded" in err


def test_a_picture_of_too_many_pixels_is_left_out(command, folder_run, tmp_path):
    good = folder_run.test / "red" / "00.jpg"
    with Image.open(good) as image:
        pixels = image.width * image.height
    code, _, err = command(good, f"--max_pixels={pixels - 1}")
    assert code == 1
    assert f"it has {pixels} pixels, more than config.data.max_pixels={pixels - 1} allows" in err
    assert command(good, f"--max_pixels={pixels}")[0] == 0
    code, _, err = command(good, "--max_pixels=0")
    assert (code, "error: max_pixels is 0; it must be" in err) == (1, True)


def test_odd_names_are_shown_and_written(command, folder_run, tmp_path):
    names = ["two\nlines.jpg", "r\udcf6t.jpg", 'a "b", c.jpg']
    for name in names:
        shutil.copy(folder_run.test / "red" / "00.jpg", tmp_path / name)
    code, out, _ = command(*names)
    starts = [r"'two\nlines.jpg'  ", r"'r\udcf6t.jpg'  ", 'a "b", c.jpg  ']
    assert code == 0
    assert [line.startswith(start) for line, start in zip(out.splitlines(), starts, strict=True)]
    for output in ("found.csv", "found.json"):
        assert command(*names, f"--output={output}")[0] == 0
    with open("found.csv", newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1:] == [start.rstrip() for start in starts]
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [row["picture"] for row in found["pictures"]] == [start.rstrip() for start in starts]


def test_a_file_that_is_there_is_kept_unless_it_may_go(command, folder_run, tmp_path):
    kept = tmp_path / "found.csv"
    kept.write_text("mine")
    code, _, err = command(folder_run.test, "--output=found.csv")
    assert code == 1
    assert "error: --output=found.csv is there already; name another file or say --over" in err
    assert kept.read_text() == "mine"
    assert command(folder_run.test, "--output=found.csv", "--overwrite")[0] == 0
    assert kept.read_text().startswith("picture,class_1,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no picture is named; write files, folders"),
        (["nowhere.jpg"], "there is no file nowhere.jpg"),
        (["@nowhere.txt"], "nowhere.txt cannot be read (No such file"),
        (["@empty.txt"], "the list empty.txt names no file"),
        (["*.gif"], "no file is named like *.gif"),
        (["a.jpg", "--top=0"], "--top is 0; it must be at least 1"),
        (["a.jpg", "--top=x"], "argument --top: invalid int value: 'x'"),
        (["a.jpg", "--tops=3"], "unrecognized arguments: --tops=3; did you mean --top?"),
        (["a.jpg", "--output=found.txt"], "does not end in .csv or .json"),
        (["a.jpg", "--output=no/found.csv"], "lies in no folder; make no first"),
        (["a.jpg", "--output=folder.csv"], "--output=folder.csv is a folder; name a file"),
        (["a.jpg", "--checkpoint=7"], "no checkpoint '7'"),
        (["a.jpg", "--adjust=1000"], "adjust is 1000.0; it must be a number from -100 to 100"),
        (["a.jpg", "--batch_size=0"], "batch_size is 0; it must be a whole number"),
        (["a.jpg", "--average"], "keeps no average of its weights"),
    ],
)
def test_mistakes_end_in_one_sentence(command, folder_run, tmp_path, arguments, message):
    shutil.copy(folder_run.test / "red" / "00.jpg", tmp_path / "a.jpg")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder.csv").mkdir()
    code, out, err = command(*arguments)
    assert (code, out) == (1, "")
    assert [message in line for line in err.splitlines() if line.startswith("error: ")] == [True]


def test_a_directory_without_a_run_is_named(command, tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "empty").mkdir()
    code, _, err = command("a.jpg", workdir=tmp_path / "empty")
    assert code == 1
    assert f"error: {tmp_path}/empty holds no run (no config.json); name the directory" in err


def test_a_run_that_is_not_there_is_told_as_such(command, tmp_path):
    (tmp_path / "a.jpg").touch()
    for name in ("nowhere", "nowhere.safetensors"):
        code, _, err = command("a.jpg", workdir=tmp_path / name)
        assert code == 1
        assert f"error: {tmp_path}/{name} is not there; correct the path, which is that of a" in err
