import io
import json
import subprocess
import sys

import ml_collections
import numpy as np
import pytest
from PIL import Image

from bccl_jax.data.encoded import FileImages
from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import DataError
from bccl_jax.inspecting import inspection, verification

CLASSES = ("cat", "dog", "newt")


def config(workers=0):
    data = {"workers": workers, "background": (255, 255, 255), "max_pixels": 2000}
    return ml_collections.ConfigDict({"eval": {"many_above": 5, "few_below": 3}, "data": data})


def encoded(color):
    file = io.BytesIO()
    Image.new("RGB", (6, 5), color).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def photographs(tmp_path):
    """6 cats, 3 dogs and 1 newt to train on, 1 of each to test on."""
    labels = np.array([0, 1, 0, 0, 2, 0, 1, 0, 1, 0], np.int32)
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(10):
        (folder / f"train{index}.png").write_bytes(encoded((index, 0, 0)))
    for index in range(3):
        (folder / f"test{index}.png").write_bytes(encoded((0, index + 1, 0)))
    train = FileImages(folder, [f"train{index}.png" for index in range(10)])
    test = FileImages(folder, [f"test{index}.png" for index in range(3)])
    return Dataset(
        "animals",
        Split(train, labels, CLASSES),
        Split(test, np.arange(3, dtype=np.int32), CLASSES),
        notes=("2 files were left out",),
    )


@pytest.fixture
def damaged(photographs, tmp_path):
    folder = tmp_path / "images"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG")
    (folder / "train3.png").write_bytes(file.getvalue()[:-500])
    (folder / "train8.png").unlink()
    (folder / "test1.png").write_bytes(b"<html>404</html>")
    (folder / "test2.png").write_bytes((folder / "train4.png").read_bytes())
    return photographs


def test_a_summary_counts_classes_and_shot_groups(photographs):
    summary = inspection.summarize(photographs, many_above=5, few_below=3)
    assert list(summary.counts) == ["train", "test"]
    np.testing.assert_array_equal(summary.counts["train"], [6, 3, 1])
    np.testing.assert_array_equal(summary.counts["test"], [1, 1, 1])
    assert {shot: group.tolist() for shot, group in summary.groups.items()} == {
        "many": [True, False, False],
        "medium": [False, True, False],
        "few": [False, False, True],
    }
    expected = """
        animals: 10 training images, 3 classes, imbalance factor 6
        split images classes largest class smallest class imbalance
        train 10 3 0 (cat): 6 2 (newt): 1 6
        test 3 3 0 (cat): 1 0 (cat): 1 1
        shot group training images of a class classes images
        many more than 5 1 6
        medium 3 to 5 1 3
        few fewer than 3 1 1
        label class train test
        0 cat 6 1
        1 dog 3 1
        2 newt 1 1
    """
    found = [line.split() for line in inspection.as_text(summary).splitlines() if line]
    assert found == [line.split() for line in expected.splitlines() if line.strip()]


def test_many_classes_are_shown_by_the_first_of_them():
    labels = np.arange(3000, dtype=np.int32)
    split = Split(np.zeros((3000, 1, 1, 3), np.uint8), labels, tuple(map(str, labels)))
    text = inspection.as_text(inspection.summarize(Dataset("many", split, split, split)))
    assert text.splitlines()[-2].split() == ["4", "4", "1", "1", "1"]
    assert text.splitlines()[-1].split() == ["...", "2,995", "more"]


def test_whole_photographs_pass(photographs, tmp_path, capsys):
    output = tmp_path / "new" / "output"
    assert inspection.run(photographs, config(), output, verify=True) == 0
    printed = capsys.readouterr().out
    assert "animals: 10 training images" in printed
    assert "2 files were left out" in printed
    assert "none of 13 images are broken" in printed
    assert sorted(path.name for path in output.iterdir()) == ["class_counts.png"]
    with Image.open(output / "class_counts.png") as picture:
        assert picture.width > 900


def test_what_cannot_be_decoded_is_named_only_if_asked_for(damaged, tmp_path, capsys):
    assert inspection.run(damaged, config(), tmp_path / "output") == 0
    told = capsys.readouterr().out
    assert "broken" not in told
    assert "3 of 13 images cannot be decoded; --verify names all of them" in told
    assert not (tmp_path / "output" / "broken_images.txt").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_images_and_duplicates_are_found(damaged, tmp_path, workers, capsys, monkeypatch):
    monkeypatch.setattr(verification, "CHUNK", 4)
    output = tmp_path / "output"
    assert inspection.run(damaged, config(workers), output, verify=True) == 1
    broken = (output / "broken_images.txt").read_text().splitlines()
    folder = tmp_path / "images"
    assert [line.split(": ")[0] for line in broken] == [
        f"{folder}/train3.png",
        f"{folder}/train8.png",
        f"{folder}/test1.png",
    ]
    assert "truncated" in broken[0]
    assert "No such file" in broken[1]
    assert (output / "duplicates.txt").read_text() == (
        f"{folder}/test2.png = {folder}/train4.png\n"
    )
    printed = capsys.readouterr().out
    assert f"3 of 13 images are broken: {output / 'broken_images.txt'}" in printed
    assert f"  {folder}/train8.png: No such file" in printed
    assert "1 of 3 images outside the training split" in printed


def test_lists_of_an_earlier_look_are_not_left(damaged, tmp_path):
    output, folder = tmp_path / "output", tmp_path / "images"
    inspection.run(damaged, config(), output, verify=True)
    for name in ("train3", "train8", "test1", "test2"):
        (folder / f"{name}.png").write_bytes(encoded((len(name), 7, ord(name[-1]))))
    assert inspection.run(damaged, config(), output, verify=True) == 0
    assert [path.name for path in output.iterdir()] == ["class_counts.png"]


def test_a_long_list_is_told_by_its_first_lines(photographs, tmp_path, capsys):
    for file in (tmp_path / "images").iterdir():
        file.write_bytes(b"")
    assert inspection.run(photographs, config(), tmp_path / "output", verify=True) == 1
    assert len((tmp_path / "output" / "broken_images.txt").read_text().splitlines()) == 13
    assert capsys.readouterr().out.count("the file is empty") == 10


def test_images_in_memory_have_nothing_to_verify(tmp_path, capsys):
    split = Split(np.zeros((3, 8, 8, 3), np.uint8), np.arange(3, dtype=np.int32), CLASSES)
    assert inspection.run(Dataset("digits", split, split), config(), tmp_path, verify=True) == 0
    assert "the images of digits are arrays in memory" in capsys.readouterr().out


def test_images_in_memory_that_two_splits_share_are_listed(tmp_path, capsys, rng):
    images = rng.integers(0, 256, (6, 4, 4, 3), np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2], np.int32)
    train = Split(images[:4], labels[:4], CLASSES)
    dataset = Dataset("mini", train, Split(images[3:], labels[3:], CLASSES))
    assert inspection.run(dataset, config(), tmp_path, verify=True) == 0
    assert (tmp_path / "duplicates.txt").read_text() == (
        "test image 0 (cat) = training image 3 (cat)\n"
    )
    assert "1 of 3 images outside the training split are in it too" in capsys.readouterr().out


def test_the_fingerprint_in_full_tells_one_byte(photographs, tmp_path, capsys):
    def look():
        inspection.run(photographs, config(), tmp_path / "output", verify=True)
        (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("fingerprint")]
        return dict(part.split() for part in line.removeprefix("fingerprint").split(","))

    before = look()
    assert look() == before
    assert list(before) == ["train", "test"]
    with (tmp_path / "images" / "test1.png").open("r+b") as file:
        file.seek(20)
        file.write(b"\xff")
    after = look()
    assert (after["train"], after["test"] == before["test"]) == (before["train"], False)


def test_ctrl_c_ends_a_verification(photographs, tmp_path, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(verification, "decode", stop)
    assert inspection.run(photographs, config(), tmp_path / "output", verify=True) == 130
    assert "stopped before every image was read" in capsys.readouterr().err


def test_a_verification_that_is_stopped_leaves_no_list_of_an_earlier_one(
    damaged, tmp_path, monkeypatch
):
    def stop(*_):
        raise KeyboardInterrupt

    inspection.run(damaged, config(), tmp_path / "output", verify=True)
    monkeypatch.setattr(verification, "decode", stop)
    assert inspection.run(damaged, config(), tmp_path / "output", verify=True) == 130
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["class_counts.png"]


class Killing(FileImages):
    def __getitem__(self, index):
        import os

        os._exit(9)


def test_a_killed_worker_is_told_in_one_sentence(photographs, tmp_path):
    images = Killing(tmp_path / "images", photographs.test.images.paths)
    killing = Split(images, photographs.test.labels, CLASSES)
    with pytest.raises(DataError, match=r"was killed.*config\.data\.workers") as error:
        verification.verify_images({"test": killing}, workers=1)
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_written_is_named(photographs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/output cannot be written"):
        inspection.run(photographs, config(), tmp_path / "file" / "output")


def test_processes_that_read_images_import_no_jax():
    program = (
        "import json, sys, bccl_jax.inspecting.inspection;"
        "import bccl_jax.data.formats.packed, bccl_jax.data.formats.prepared;"
        "print(json.dumps([name for name in ('jax', 'tensorflow') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(done.stdout) == []
