"""Folders of splits and of other versions never become classes, whatever they are called."""

import pytest

from bccl_jax.data.formats import folder, mistaken
from bccl_jax.errors import DataError
from tests.data.formats.test_folder import below
from tests.data.formats.test_listed import write
from tests.data.formats.test_split_folders import CLASSES, FEWER, flat

ONE_TESTED = {path: text for path, text in CLASSES.items() if path[:3] == "cat"}


def flat_in(*folders):
    return {path: text for name in folders for path, text in flat(name).items()}


@pytest.mark.parametrize(
    "names",
    [
        "train test1",
        "train_images test_images",
        "trainA trainB testA testB",
        "training_set test_set",
        "Training holdout",
        "train held-out",
        "TrainingData ValData",
        "trainset testset",
        "train-jpg test-jpg-v2",
        "train unlabeled",
        "cat_train cat_test dog_train dog_test",
        "train1 eval",
    ],
)
def test_flat_splits_of_any_name_are_refused(tmp_path, names):
    write(tmp_path, flat_in(*names.split()) | {"train.csv": "id,label\n", "a.csv": ""})
    with pytest.raises(DataError, match="are called as splits are") as caught:
        folder.load(str(tmp_path))
    assert f"--config.data.dir=FILE.csv, perhaps {tmp_path}/train.csv; if they are" in str(
        caught.value
    )
    assert str(caught.value).endswith("config.data.train_folder=.")
    assert len(folder.load(str(tmp_path), train_folder=".").train.class_names) > 1


def test_splits_of_a_class_each_are_refused(tmp_path):
    write(tmp_path, flat_in("cats_train/a", "cats_test/a"))
    with pytest.raises(DataError, match="cats_test, cats_train, which are called as splits"):
        folder.load(str(tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        "train bus car",
        "bullet_train test_tube kettle",
        "train test_tube bus",
        "positive_test negative_test",
        "training runner walking",
        "valley devil contest",
    ],
)
def test_classes_that_are_called_a_train_or_a_test_are_classes(tmp_path, names):
    names = names.replace("training", "strength_training").split()
    assert mistaken.called_splits(names) == []
    write(tmp_path, flat_in(*names))
    assert folder.load(str(tmp_path)).train.class_names == tuple(sorted(names))


WHOLE_SETS = {
    "beside code": (
        below("Dataset/Train", CLASSES) | below("Dataset/Test", FEWER) | flat("code/x"),
        {"train_folder": "Dataset/Train", "test_folder": "Dataset/Test"},
    ),
    "deep": (
        below("a/b/c/train", CLASSES) | below("a/b/c/val", FEWER) | flat("a/d") | flat("e"),
        {"train_folder": "a/b/c/train", "validation_folder": "a/b/c/val"},
    ),
    "one class tested": (
        below("learn", CLASSES) | below("check", ONE_TESTED),
        {"train_folder": "learn"},
    ),
    "one class tested under another name": (
        below("train_0", CLASSES) | below("test_0/test", ONE_TESTED),
        {"train_folder": "train_0", "test_folder": "test_0/test"},
    ),
    "annotations without an image": (
        below("Images", CLASSES) | {f"Annotation/{path}.xml": "" for path in CLASSES},
        {"train_folder": "Images"},
    ),
    "annotations beside two versions": (
        below("color", CLASSES)
        | below("gray", CLASSES)
        | {f"annotation/{path}.xml": "" for path in CLASSES},
        {"train_folder": "color"},
    ),
}


@pytest.mark.parametrize(("files", "keys"), WHOLE_SETS.values(), ids=WHOLE_SETS)
def test_a_data_set_within_a_class_is_refused_with_keys_that_work(tmp_path, files, keys):
    write(tmp_path, files)
    with pytest.raises(DataError) as caught:
        folder.load(str(tmp_path))
    for key, path in keys.items():
        assert f"config.data.{key}={path}" in str(caught.value)
    assert folder.load(str(tmp_path), **keys).train.class_names == ("cat", "dog", "owl")


def test_a_named_folder_that_holds_splits_alone_is_refused(tmp_path):
    write(tmp_path, below("images/train", CLASSES) | below("images/test", FEWER))
    for named, start in (("images", tmp_path), (".", tmp_path / "images")):
        with pytest.raises(DataError, match=r"train_folder=(images/)?train and .*test_folder="):
            folder.load(str(start), train_folder=named)


def test_splits_without_classes_in_them_are_not_offered(tmp_path):
    write(tmp_path, flat_in("images/train", "images/val") | {"labels/train/1.txt": ""})
    with pytest.raises(
        DataError, match=r"images holds the splits train, val, .* CSV file"
    ) as caught:
        folder.load(str(tmp_path))
    assert "train_folder" not in str(caught.value)


def test_folders_without_an_image_do_not_make_classes_alike(tmp_path):
    write(tmp_path, {f"{n}/{m}/1.txt": "" for n in "ab" for m in ("box", "mask")})
    write(tmp_path, flat_in("a/box", "b/box"))
    assert folder.load(str(tmp_path)).train.class_names == ("a", "b")


def test_images_in_one_folder_and_labels_in_another_are_one_class(tmp_path):
    write(tmp_path, flat("images") | {"labels/1.txt": ""})
    with pytest.raises(DataError, match="no image in labels .* has one class alone, images; put"):
        folder.load(str(tmp_path))


@pytest.mark.parametrize("name", ["labels.csv", "Train.CSV"])
def test_one_class_beside_a_csv_file_is_told_of_it(tmp_path, name):
    write(tmp_path, flat("jpg") | {name: "image,label\n"})
    with pytest.raises(
        DataError, match=rf"perhaps {tmp_path}/{name}, by --config\.data\.dir=FILE.csv$"
    ):
        folder.load(str(tmp_path))
