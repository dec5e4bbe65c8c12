"""Splits under names of their own: never classes, refused with the keys that mend it."""

import re

import numpy as np
import pytest

from bccl_jax.config import get_config
from bccl_jax.config.dataset import load_data
from bccl_jax.data.sources import load_dataset
from bccl_jax.errors import ConfigError, DataError
from tests.data.formats.test_folder import below, contents
from tests.data.formats.test_listed import write

CLASSES = {f"{name}/{i}.jpg": f"{name}{i}" for name in ("cat", "dog", "owl") for i in range(4)}
FEWER = {path: f"tested {text}" for path, text in CLASSES.items() if path[:3] != "owl"}


def flat(folder, count=3):
    return {f"{folder}/{i}.jpg": "" for i in range(count)}


def data_of(root, **keys):
    return load_dataset("folder", data_dir=str(root), imbalance=0, **keys)


# Name: the files, and what is to be written.
MISTAKEN = {
    "seg_train and seg_test": (
        below("seg_train", CLASSES) | below("seg_test", CLASSES),
        {"train_folder": "seg_train", "test_folder": "seg_test"},
    ),
    "each in a folder of its name, and pictures without classes": (
        below("seg_train/seg_train", CLASSES)
        | below("seg_test/seg_test", CLASSES)
        | flat("seg_pred/seg_pred"),
        {"train_folder": "seg_train/seg_train", "test_folder": "seg_test/seg_test"},
    ),
    "training_set and test_set": (
        below("training_set", CLASSES) | below("test_set", FEWER),
        {"train_folder": "training_set", "test_folder": "test_set"},
    ),
    "Train_set and Test_set": (
        below("Train_set", CLASSES) | below("Test_set", CLASSES) | {"Train_set/sample.jpg": ""},
        {"train_folder": "Train_set", "test_folder": "Test_set"},
    ),
    "capitals of the classes": (
        below("train_data", CLASSES)
        | below("val_data", {f"C{p[1:]}": t for p, t in FEWER.items()}),
        {"train_folder": "train_data", "test_folder": "val_data"},
    ),
    "three versions of a data set": (
        below("color", CLASSES) | below("grayscale", CLASSES) | below("segmented", CLASSES),
        {"train_folder": "color"},
    ),
    "a test split without classes": (
        below("alphabet_train/alphabet_train", CLASSES) | flat("alphabet_test/alphabet_test"),
        {
            "train_folder": "alphabet_train/alphabet_train",
            "test_folder": "alphabet_test/alphabet_test",
        },
    ),
    "versions within train": (
        below("train/color", CLASSES) | below("train/gray", CLASSES) | below("test", CLASSES),
        {"train_folder": "train/color"},
    ),
}


@pytest.mark.parametrize(("files", "keys"), MISTAKEN.values(), ids=MISTAKEN)
def test_splits_under_other_names_are_refused_with_the_keys_that_mend_it(tmp_path, files, keys):
    write(tmp_path, files)
    with pytest.raises(DataError) as caught:
        data_of(tmp_path)
    said = str(caught.value)
    assert said.isprintable()
    for key, folder in keys.items():
        assert f"config.data.{key}={folder}" in said
    assert "config.data.test_folder" in said
    assert re.search(r"if they are the classes, write config\.data\.train_folder=(\.|train)$", said)


@pytest.mark.parametrize(
    "name", [n for n in MISTAKEN if "without" not in n and "capitals" not in n]
)
def test_what_the_message_offers_works(tmp_path, name):
    files, keys = MISTAKEN[name]
    write(tmp_path, files)
    dataset = data_of(tmp_path, **keys)
    assert dataset.train.class_names == ("cat", "dog", "owl")
    inside = {path.removeprefix(f"{keys['train_folder']}/"): text for path, text in files.items()}
    everything = contents(dataset.train)
    if "test_folder" in keys or name == "versions within train":
        assert len(dataset.train) == 12
    else:
        everything |= contents(dataset.test)
    assert everything == {text: path[:3] for path, text in inside.items() if path in CLASSES}


def test_what_is_left_beside_named_splits_is_told(tmp_path):
    files, keys = MISTAKEN["each in a folder of its name, and pictures without classes"]
    dataset = data_of(write(tmp_path, files | {"stray.jpg": ""}), **keys)
    assert len(dataset.train) == len(dataset.test) == 12
    assert any("stray.jpg" in note for note in dataset.notes)
    assert any("no split and were left out: seg_pred" in note for note in dataset.notes)


def test_folders_that_are_classes_all_the_same_are_trained_on_if_the_key_says_so(tmp_path):
    write(tmp_path, below("left", CLASSES) | below("right", CLASSES))
    dataset = data_of(tmp_path, train_folder=".")
    assert dataset.train.class_names == ("left", "right")
    assert len(dataset.train) + len(dataset.test) == 24


CLASSES_AFTER_ALL = {
    "a folder of images in each": {f"{n}/images/{i}.jpg": "" for n in "abc" for i in range(3)},
    "images and folders": {
        f"{n}/{sub}{i}.jpg": "" for n in "abc" for sub in ("", "x/", "y/") for i in range(3)
    },
    "kinds of their own": {
        f"{n}/{n}{sub}/{i}.jpg": "" for n in "abc" for sub in "xy" for i in range(3)
    },
    "two of many": flat("a") | flat("b") | flat("c/x") | flat("c/y") | flat("d/x") | flat("d/y"),
    "one shared kind": {
        f"{n}/{sub}/{i}.jpg": "" for n, s in (("a", "ox"), ("b", "oy")) for sub in s for i in "12"
    },
}


@pytest.mark.parametrize("files", CLASSES_AFTER_ALL.values(), ids=CLASSES_AFTER_ALL)
def test_classes_with_folders_in_them_are_classes(tmp_path, files):
    dataset = data_of(write(tmp_path, files))
    assert dataset.train.class_names == tuple(sorted({path[0] for path in files}))
    assert len(dataset.train) + len(dataset.test) == len(files)


def test_splits_below_the_classes_are_refused(tmp_path):
    """Test images would be trained on."""
    write(tmp_path, {f"{n}/{s}/{i}.jpg": "" for n in "ab" for s in ("train", "test") for i in "12"})
    with pytest.raises(DataError, match="a, b in .* hold test, train each, so that test images"):
        data_of(tmp_path)


NAMED = {
    "all three": {"train_folder": "a", "test_folder": "b", "validation_folder": "deep/c"},
    "with dots and slashes": {"train_folder": "./a/", "test_folder": "deep/../b//"},
    "the test split alone": {"test_folder": "b"},
}


@pytest.mark.parametrize("keys", NAMED.values(), ids=NAMED)
def test_named_folders_are_the_splits(tmp_path, keys):
    train = "a" if "train_folder" in keys else "Training"
    write(tmp_path, below(train, CLASSES) | below("b", FEWER) | below("deep/c", FEWER))
    dataset = data_of(tmp_path, **keys)
    assert contents(dataset.train) == {text: path[:3] for path, text in CLASSES.items()}
    assert contents(dataset.test) == {text: path[:3] for path, text in FEWER.items()}
    assert (dataset.validation is None) == ("validation_folder" not in keys)


def test_a_test_split_may_lie_among_the_classes_or_elsewhere(tmp_path):
    write(tmp_path, below("set", CLASSES) | below("set/held out", FEWER) | below("other", FEWER))
    write(tmp_path, below("plain", CLASSES))
    for folder, test_folder in (
        ("set", "held out"),
        ("plain", "../other"),
        ("plain", str(tmp_path / "other")),
    ):
        dataset = data_of(tmp_path / folder, train_folder=".", test_folder=test_folder)
        assert contents(dataset.train) == {text: path[:3] for path, text in CLASSES.items()}
        assert contents(dataset.test) == {text: path[:3] for path, text in FEWER.items()}


WRONG = {
    "a folder that is not there": (
        {"train_folder": "seg_trian"},
        r"train_folder is seg_trian, .*a, b",
    ),
    "a file": ({"test_folder": "a/cat/0.jpg"}, r"config\.data\.test_folder is a/cat/0\.jpg, which"),
    "one folder twice": (
        {"train_folder": "a", "test_folder": "./a"},
        r"config\.data\.test_folder is \./a, the folder of config\.data\.train_folder too",
    ),
    "no training split": (
        {"test_folder": "b"},
        r"has no train beside b; .*config\.data\.train_fol",
    ),
    "no training split in the root": ({"test_folder": "."}, r"has no train; name the folder"),
    "one floor too high": (
        {"train_folder": "up"},
        "one class alone, a; .*train_folder, perhaps up/a",
    ),
    "tested one floor too high": (
        {"train_folder": "a", "test_folder": "up"},
        r"/up has classes that a lacks, a; .*write up/a as config\.data\.test_folder",
    ),
}


@pytest.mark.parametrize(("keys", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_folder_is_refused_by_its_key(tmp_path, keys, message):
    write(tmp_path, below("a", CLASSES) | below("b", FEWER) | below("up/a", CLASSES))
    with pytest.raises(DataError, match=message) as caught:
        data_of(tmp_path, **keys)
    assert str(caught.value).isprintable()


def test_splits_of_known_names_in_folders_of_their_own_names(tmp_path):
    write(tmp_path, below("train/train", CLASSES) | below("test/test", CLASSES))
    with pytest.raises(DataError, match=r"by config\.data\.train_folder, perhaps train/train$"):
        data_of(tmp_path)


def test_known_splits_beside_something_else_are_mended_by_the_keys(tmp_path):
    write(tmp_path, below("train", CLASSES) | below("test", FEWER) | {"labels/1.txt": ""})
    with pytest.raises(DataError, match=r"also labels; .*config\.data\.train_folder and"):
        data_of(tmp_path)
    dataset = data_of(tmp_path, train_folder="train")
    assert (len(dataset.train), len(dataset.test)) == (12, 8)


def test_a_name_with_a_blank_at_its_end_is_quoted(tmp_path):
    write(tmp_path, below("train ", CLASSES) | below("test", FEWER))
    with pytest.raises(DataError, match="holds test and also 'train ';"):
        data_of(tmp_path)


def test_keys_of_a_folder_and_of_a_csv_file_are_told_apart(tmp_path):
    write(tmp_path, CLASSES | {"set.csv": "path,label\n"})
    with pytest.raises(
        ConfigError, match=r"config\.data\.test_folder names a folder, but .*set\.csv"
    ):
        data_of(tmp_path / "set.csv", test_folder="b")
    with pytest.raises(ConfigError, match=r"config\.data\.label_column names a column, but"):
        data_of(tmp_path, label_column="species")
    with pytest.raises(
        ConfigError, match=r"config\.data\.train_folder is for pictures of one's own"
    ):
        load_dataset("digits", train_folder="train")


def test_the_config_has_the_keys(tmp_path):
    write(tmp_path, below("seg_train/seg_train", CLASSES) | below("seg_test/seg_test", FEWER))
    config = get_config()
    config.data.name, config.data.dir, config.data.imbalance = "folder", str(tmp_path), 0.0
    config.data.train_folder = "seg_train/seg_train"
    config.data.test_folder = "seg_test/seg_test"
    dataset = load_data(config)
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), [4, 4, 4])
    assert len(dataset.test) == 8
