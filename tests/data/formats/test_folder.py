import os
import random

import numpy as np
import pytest

from bccl_jax.data.formats import folder
from bccl_jax.errors import ConfigError, DataError
from tests.data.formats.test_listed import write

CLASSES = {f"{name}/{i}.jpg": f"{name}{i}" for name in ("cat", "dog", "owl") for i in range(5)}


def below(prefix, files):
    return {f"{prefix}/{path}": content for path, content in files.items()}


def contents(split):
    """{the bytes of an image: its class}, by which a split is known whatever its order."""
    return {split.images[i].decode(): split.class_names[split.labels[i]] for i in range(len(split))}


def test_a_folder_for_each_class(tmp_path):
    splits = folder.load(str(write(tmp_path, CLASSES)))
    assert splits.train.class_names == splits.test.class_names == ("cat", "dog", "owl")
    assert splits.validation is None
    assert splits.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert splits.test.labels.tolist() == [0, 1, 2]
    assert splits.train.labels.dtype == np.int32
    everything = contents(splits.train) | contents(splits.test)
    assert everything == {content: path.split("/")[0] for path, content in CLASSES.items()}
    assert splits.notes == (
        "3 of 15 images, a share of 0.2 of each class, were drawn as the test split",
    )


@pytest.mark.parametrize(
    ("train", "test", "validation"),
    [("train", "test", "val"), ("Training", "TEST", "valid"), ("train", "testing", "validation")],
)
def test_train_test_and_val_below_it(tmp_path, train, test, validation):
    write(tmp_path, below(train, CLASSES))
    write(tmp_path, below(test, {"owl/1.png": "tested owl", "cat/x/1.jpg": "tested cat"}))
    without = folder.load(str(tmp_path))
    assert without.validation is None
    write(tmp_path, below(validation, {"dog/1.jpg": "a dog to choose by"}))
    splits = folder.load(str(tmp_path))
    for found in (splits, without):
        assert len(found.train) == 15
        assert contents(found.test) == {"tested cat": "cat", "tested owl": "owl"}
        assert found.notes == ()
    assert contents(splits.validation) == {"a dog to choose by": "dog"}
    assert splits.test.labels.tolist() == [0, 2]


def test_images_beside_the_splits_are_left_out_and_told_of(tmp_path):
    write(tmp_path, below("train", CLASSES) | below("test", CLASSES))
    write(tmp_path, {"stray.jpg": "", "train/stray.png": "", "test/list.txt": ""})
    splits = folder.load(str(tmp_path))
    assert len(splits.train) == len(splits.test) == 15
    (note,) = splits.notes
    assert note.endswith("class: stray.jpg, test/list.txt, train/stray.png")


def test_val_without_test_is_no_test_split(tmp_path):
    write(tmp_path, below("train", CLASSES) | below("val", {"dog/1.jpg": "validated"}))
    splits = folder.load(str(tmp_path), test_fraction=0.4)
    assert contents(splits.validation) == {"validated": "dog"}
    assert len(splits.train) == 9
    assert len(splits.test) == 6


def test_a_train_may_be_a_class(tmp_path):
    files = {"train/1.jpg": "t1", "train/2.jpg": "t2", "bus/1.jpg": "b1", "bus/2.jpg": "b2"}
    splits = folder.load(str(write(tmp_path, files)), test_fraction=0.5)
    assert splits.train.class_names == ("bus", "train")
    assert len(splits.train) == len(splits.test) == 2


def test_every_kind_of_image_counts_at_any_depth_and_no_other_file(tmp_path):
    kinds = ["a.jpg", "b.JPEG", "c.Png", "d.webp", "e.bmp", "f.tif", "g.TIFF", "deep/er/h.gif"]
    write(tmp_path, below("cat", dict.fromkeys(kinds, "")) | {"dog/1.jpg": "", "dog/2.jpg": ""})
    hidden = ["dog/.DS_Store", "dog/._1.jpg", ".git/3.jpg", "dog/Thumbs.db", "__MACOSX/4.jpg"]
    write(tmp_path, dict.fromkeys([*hidden, "cat/desktop.ini"], ""))
    splits = folder.load(str(tmp_path), test_fraction=0.5)
    found = splits.train.images.paths + splits.test.images.paths
    assert sorted(found) == sorted([f"cat/{k}" for k in kinds] + ["dog/1.jpg", "dog/2.jpg"])
    assert len(splits.notes) == 1

    write(tmp_path, dict.fromkeys(["cat/deep/notes.txt", "stray.jpg", "dog/raw.nef"], ""))
    again = folder.load(str(tmp_path), test_fraction=0.5)
    assert again.train.images.paths == splits.train.images.paths
    assert again.notes[1:] == splits.notes
    assert again.notes[0].startswith(f"3 files of {tmp_path} were left out")
    assert again.notes[0].endswith("cat/deep/notes.txt, dog/raw.nef, stray.jpg")


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "9", "100", "0"], ("0", "9", "10", "100")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["02", "1", "010"], ("1", "02", "010")),
        (["-1", "-10", "3"], ("-10", "-1", "3")),
        (["b", "a", "C", "b"], ("C", "a", "b")),
    ],
)
def test_classes_are_in_the_order_of_names_or_numbers(names, ordered):
    assert folder.class_order(names) == ordered


def test_numbered_classes_have_the_label_of_their_rank(tmp_path):
    files = {f"{k}/{i}.jpg": str(k) for k in (10, 9, 100) for i in range(2)}
    splits = folder.load(str(write(tmp_path, files)))
    assert [splits.test.images[i] for i in range(3)] == [b"9", b"10", b"100"]
    assert splits.test.labels.tolist() == [0, 1, 2]


class Shuffled:
    """What os.scandir returns, in an order that no file system keeps."""

    def __init__(self, entries, rng):
        with entries:
            self.entries = sorted(entries, key=lambda entry: entry.name)
        rng.shuffle(self.entries)

    def __enter__(self):
        return iter(self.entries)

    def __exit__(self, *error):
        pass


def test_nothing_depends_on_the_order_of_the_file_system(tmp_path, monkeypatch):
    files = {f"{name}/{sub}{i}.jpg": "" for name in "abc" for sub in ("", "x/") for i in range(6)}
    write(tmp_path, files)
    scandir, found = os.scandir, []
    for seed in range(3):
        rng = random.Random(seed)
        monkeypatch.setattr(os, "scandir", lambda path, rng=rng: Shuffled(scandir(path), rng))
        splits = folder.load(str(tmp_path), seed=7)
        found.append((splits.train.images.paths, splits.test.images.paths))
    assert found[0] == found[1] == found[2]


def test_the_test_split_is_another_one_for_another_seed(tmp_path):
    write(tmp_path, {f"{name}/{i}.jpg": "" for name in "ab" for i in range(20)})
    drawn = {tuple(folder.load(str(tmp_path), seed=s).test.images.paths) for s in range(4)}
    assert len(drawn) == 4


def test_a_class_of_one_image_keeps_it_for_training(tmp_path):
    files = {"a/1.jpg": "", "b/1.jpg": "", "b/2.jpg": ""}
    splits = folder.load(str(write(tmp_path, files)), test_fraction=0.9)
    assert splits.train.labels.tolist() == [0, 1]
    assert splits.test.labels.tolist() == [1]
    (tmp_path / "b/2.jpg").unlink()
    with pytest.raises(DataError, match="has no class of two images"):
        folder.load(str(tmp_path))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_that_draws_none_or_all_is_refused_where_one_is_drawn(tmp_path, fraction):
    write(tmp_path, below("train", CLASSES))
    with pytest.raises(ConfigError, match=r"config\.data\.test_fraction is .* no test split"):
        folder.load(str(tmp_path), test_fraction=fraction)
    write(tmp_path, below("test", CLASSES))
    assert len(folder.load(str(tmp_path), test_fraction=fraction).test) == 15


def test_class_folders_may_be_links(tmp_path):
    write(tmp_path, below("elsewhere", CLASSES))
    (tmp_path / "here").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert len(folder.load(str(tmp_path / "here")).train) == 8


CSV_FILES = {"cats/1 a.jpg": "c1", "cats/2.jpg": "c2", "d,1.jpg": "d1", "d2.jpg": "d2"}


def test_a_csv_file_without_splits(tmp_path):
    rows = 'Path, LABEL\ncats/1 a.jpg,cat\n\n"d,1.jpg",dog\ncats/./2.jpg , cat\n,\nd2.jpg,dog\n'
    write(tmp_path, CSV_FILES | {"labels.csv": "\ufeff" + rows.replace("\n", "\r\n")})
    splits = folder.load(str(tmp_path / "labels.csv"))
    assert splits.train.class_names == ("cat", "dog")
    everything = contents(splits.train) | contents(splits.test)
    assert everything == {"c1": "cat", "c2": "cat", "d1": "dog", "d2": "dog"}
    assert sorted(splits.test.labels) == [0, 1]
    assert splits.notes


def test_a_csv_file_with_splits(tmp_path, monkeypatch):
    rows = "label,split,path\n10,train,d2.jpg\n9,TRAIN,cats/2.jpg\n09,test,cats/1 a.jpg\n"
    write(tmp_path, CSV_FILES | {"labels.csv": rows + '10,val,"d,1.jpg"'})
    monkeypatch.chdir(tmp_path)
    splits = folder.load("labels.csv")
    assert splits.train.class_names == ("9", "10")
    assert contents(splits.train) == {"d2": "10", "c2": "9"}
    assert contents(splits.test) == {"c1": "9"}
    assert contents(splits.validation) == {"d1": "10"}
    assert splits.notes == ()
