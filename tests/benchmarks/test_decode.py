import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from bccl_jax.data.photographs.crops import Crop, evaluation_crop, training_crops
from benchmarks import decode


@pytest.fixture
def written(tmp_path):
    """Runs the benchmark and returns its rows by name, and its settings."""

    def run(*arguments):
        path = tmp_path / "made" / "figures.json"
        decode.main([f"--json={path}", "--repeats=1", "--size=16", "--resize=18", *arguments])
        content = json.loads(path.read_text())
        return {row["work"]: row for row in content["rows"]}, content["settings"]

    return run


@pytest.fixture
def folder(tmp_path):
    """Five photographs in two folders, and a file that is none."""
    for index, data in enumerate(decode.photographs(5, 40, 60)):
        path = tmp_path / "photos" / f"class{index % 2}" / f"{index}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "photos" / "notes.txt").write_text("none")
    return tmp_path / "photos"


def check_rows(rows):
    for row in rows.values():
        assert math.isfinite(row["ms an image"])
        assert row["ms an image"] * row["images/s a core"] == pytest.approx(1000)
    for name in ("ours", "ours at full size", "Pillow"):
        assert f"evaluation, {name}" in rows
    assert {"header", "header and decode", "resize of one crop"} <= rows.keys()


def test_generated_photographs(written):
    rows, settings = written("--images=2", "--smallest=40", "--largest=50", "--crops=2")
    check_rows(rows)
    assert "2 crops, Pillow, a decode each" in rows
    assert settings["photographs"] == "2 generated"
    assert settings["pillow"]


def test_real_photographs(written, folder):
    rows, settings = written(f"--dir={folder}", "--images=3")
    check_rows(rows)
    assert "3 crops, ours" in rows
    assert settings["photographs"] == "3 real"
    assert 40 <= int(settings["mean_sides"].split("x")[0]) <= 60


def test_files_are_spread_over_the_folder(folder):
    everything = decode.files_below(folder, 10)
    assert len(everything) == 5
    assert decode.files_below(folder, 3) == everything[::2]


def test_folder_without_photographs_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        decode.files_below(tmp_path, 3)


@pytest.mark.parametrize("again", [False, True])
def test_all_ways_make_the_same_crops(again):
    for data in decode.photographs(3, 60, 90):
        crops = [Crop(), Crop((0.2, 1.0))]
        ours = training_crops(data, crops, 24, np.random.default_rng(1), reduced=False)
        # Pillow's way draws each box after the crop before it, from the same generator.
        pillow = decode.trained_by_pillow(data, crops, 24, np.random.default_rng(1), again=again)
        np.testing.assert_array_equal(ours, pillow)
        ours = evaluation_crop(data, 32, 28, reduced=False)
        np.testing.assert_array_equal(ours, decode.evaluated_by_pillow(data, 32, 28))


def test_a_decode_for_every_crop_reads_the_file_so_often(monkeypatch):
    opened = []
    monkeypatch.setattr(
        decode.Image, "open", lambda file, real=Image.open: opened.append(1) or real(file)
    )
    (data,) = decode.photographs(1, 30, 40)
    for again, times in ((False, 1), (True, 3)):
        opened.clear()
        decode.trained_by_pillow(data, [Crop()] * 3, 8, np.random.default_rng(0), again=again)
        assert len(opened) == times


def test_parts_do_their_part_for_every_file(monkeypatch):
    sizes = []
    files = decode.photographs(2, 30, 40)
    parts = decode.parts(files, 8)
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda *args: sizes.append(args[1]) or resize(*args))
    for name, part in parts.items():
        sizes.clear()
        part()
        assert sizes == ([(8, 8)] * 2 if name == "resize of one crop" else [])
    assert Image.open(io.BytesIO(files[0])).size[0] >= 30
