"""The test split alone is the one that `load_dataset` gives, once the training images are gone."""

import shutil

import numpy as np
import pytest

from bccl_jax.data.packing import packing
from bccl_jax.data.sources import load_dataset
from bccl_jax.data.tested import load_test_split
from bccl_jax.errors import DataError
from tests.data.formats.test_listed import write
from tests.data.test_sources import cifar10  # noqa: F401

CLASSES = ("ant", "bee", "cat")


def contents(split):
    images = [split.images[i] for i in range(len(split))]
    return [bytes(np.asarray(image)) if not split.encoded else image for image in images]


def assert_alike(alone, whole):
    assert alone.train is None
    assert list(alone.splits) == ["test"]
    assert alone.num_classes == len(alone.test.class_names)
    assert alone.test.class_names == whole.class_names
    np.testing.assert_array_equal(alone.test.labels, whole.labels)
    assert contents(alone.test) == contents(whole)


@pytest.mark.parametrize("changes", [{}, {"classes": 3}, {"pixels": 8}])
def test_of_cifar(cifar10, changes):  # noqa: F811
    folder, _, _ = cifar10
    whole = load_dataset("cifar10", data_dir=str(folder.parent), imbalance=0.0, **changes).test
    for i in range(5):
        (folder / f"data_batch_{i + 1}").unlink()
    alone = load_test_split("cifar10", whole.class_names, data_dir=str(folder.parent), **changes)
    assert_alike(alone, whole)


def pictures(*parts):
    return {
        f"{part}/{name}/{n}.jpg": f"{part} {name} {n}".encode()
        for part in parts
        for number, name in enumerate(CLASSES)
        for n in range(number + 2)
    }


@pytest.mark.parametrize(
    ("train", "test", "keys"),
    [
        ("train", "test", {}),
        ("Training", "Testing", {}),
        ("mine", "other", {"train_folder": "mine", "test_folder": "other"}),
        ("mine", "test", {"train_folder": "mine"}),
    ],
)
def test_of_a_folder(tmp_path, train, test, keys):
    write(tmp_path, pictures(train, test))
    whole = load_dataset("folder", data_dir=str(tmp_path), imbalance=0.0, **keys).test
    shutil.rmtree(tmp_path / train)
    assert_alike(load_test_split("folder", CLASSES, data_dir=str(tmp_path), **keys), whole)


def test_of_a_folder_that_has_none_is_a_part_of_the_training_split(tmp_path):
    write(tmp_path, pictures("train"))
    assert load_test_split("folder", CLASSES, data_dir=str(tmp_path)) is None
    write(tmp_path / "classes", pictures("."))
    assert load_test_split("folder", CLASSES, data_dir=str(tmp_path / "classes")) is None
    # There, a folder called test would be a class.
    write(tmp_path / "odd", pictures("test"))
    folder = str(tmp_path / "odd")
    assert load_test_split("folder", CLASSES, data_dir=folder, train_folder=".") is None


def test_a_part_that_was_set_aside_is_not_the_test_split(tmp_path):
    write(tmp_path, pictures("train", "test"))
    assert load_test_split("folder", CLASSES, data_dir=str(tmp_path), set_aside=True) is None


def test_a_class_that_the_run_has_not_is_named(tmp_path):
    write(tmp_path, pictures("test"))
    with pytest.raises(DataError, match="test has classes that the run was not trained on, cat"):
        load_test_split("folder", CLASSES[:2], data_dir=str(tmp_path))


@pytest.mark.parametrize("labels", [CLASSES, ("7", "10", "0011")])
def test_of_a_csv_file(tmp_path, labels):
    rows = ["path,label,split"]
    for part in ("train", "test"):
        for path, content in pictures(part).items():
            write(tmp_path, {path: content})
            rows.append(f"{path},{labels[CLASSES.index(path.split('/')[1])]},{part}")
    file = tmp_path / "list.csv"
    file.write_text("\n".join(rows) + "\n")
    whole = load_dataset("folder", data_dir=str(file), imbalance=0.0).test
    shutil.rmtree(tmp_path / "train")
    assert_alike(load_test_split("folder", whole.class_names, data_dir=str(file)), whole)
    with pytest.raises(DataError, match=r"list.csv, line \d+: the run was not trained on"):
        load_test_split("folder", ("ant", "dog"), data_dir=str(file))
    file.write_text("\n".join(row for row in rows if not row.endswith("test")) + "\n")
    assert load_test_split("folder", whole.class_names, data_dir=str(file)) is None


def test_of_lists(tmp_path):
    files = pictures("train", "test")
    lists = {}
    for part in ("train", "test"):
        lines = [
            f"{path} {CLASSES.index(path.split('/')[1])}" for path in files if path.startswith(part)
        ]
        lists[f"ImageNet_LT_{part}.txt"] = "\n".join(lines)
    lists["ImageNet_LT_val.txt"] = lists["ImageNet_LT_test.txt"].replace("test/", "val/")
    write(tmp_path, files | pictures("val") | {n: t.encode() for n, t in lists.items()})
    keys = {"data_dir": str(tmp_path), "check_totals": False}
    whole = load_dataset("imagenet_lt", imbalance=0.0, **keys).test
    for gone in ("train", "val"):
        shutil.rmtree(tmp_path / gone)
        (tmp_path / f"ImageNet_LT_{gone}.txt").unlink()
    assert_alike(load_test_split("imagenet_lt", whole.class_names, **keys), whole)


def test_of_a_packed_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(packing.os, "fsync", lambda handle: None)
    write(tmp_path / "photos", pictures("train", "test"))
    dataset = load_dataset("folder", data_dir=str(tmp_path / "photos"), imbalance=0.0)
    packing.pack_dataset(dataset, tmp_path / "packed")
    for path in (tmp_path / "packed").glob("train*"):
        path.unlink()
    keys = {"source": "packed", "data_dir": str(tmp_path / "packed")}
    assert_alike(load_test_split("folder", CLASSES, **keys), dataset.test)
    with pytest.raises(DataError, match="has other classes than the run, ant, dog"):
        load_test_split("folder", ("dog", "bee", "cat"), **keys)


def test_of_digits():
    whole = load_dataset("digits", imbalance=20.0).test
    assert_alike(load_test_split("digits", whole.class_names), whole)
