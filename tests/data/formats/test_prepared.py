import io
import os
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from bccl_jax.data.formats import prepared
from bccl_jax.errors import DataError


def picture(number):
    """The bytes of a picture like no other; of a list they stand for the list's JPEG files."""
    file = io.BytesIO()
    Image.new("RGB", (5 + number, 7), (number, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def prepare(tfds_name, data_dir, name_feature, sizes):
    """Writes what tensorflow-datasets would, from pictures of its own; needs no TensorFlow.

    Returns split -> name -> (bytes, label).
    """
    import tensorflow_datasets as tfds

    pictures, number = {}, 0
    for split, size in sizes.items():
        pictures[split] = {}
        for _ in range(size):
            pictures[split][f"{split}_{number}.JPEG"] = (picture(number), number % 3)
            number += 1

    with tfds.core.registered.skip_registration():

        class Tiny(tfds.core.GeneratorBasedBuilder):
            name = tfds_name
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                features = {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(num_classes=3),
                    name_feature: tfds.features.Text(),
                }
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(split) for split in pictures}

            def _generate_examples(self, split):
                for name, (content, label) in pictures[split].items():
                    row = {"image": io.BytesIO(content), "label": label, name_feature: name}
                    yield name, row

    Tiny(data_dir=data_dir, file_format="array_record").download_and_prepare()
    return pictures


@pytest.fixture(scope="module")
def imagenet_lt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    sizes = {"train": 20, "validation": 4, "test": 6}
    return folder, prepare("imagenet_lt", folder, "file_name", sizes)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bccl_jax" / "labels"


def check(split, pictures):
    assert len(split) == len(pictures) == len(split.images)
    for index, label in enumerate(split.labels):
        content, expected = pictures.pop(split.images.name(index))
        assert split.images[index] == content
        assert label == expected
    assert split.labels.dtype == np.int32


def test_imagenet_lt_has_the_bytes_labels_and_names_of_its_three_splits(imagenet_lt):
    folder, pictures = imagenet_lt
    splits = prepared.load_encoded("imagenet_lt", str(folder))
    for part in ("train", "test", "validation"):
        check(getattr(splits, part), dict(pictures[part]))
    assert splits.train.class_names[:2] == ("n01440764", "n01443537")
    assert len(splits.test.class_names) == 1000


def test_inaturalist_is_tested_on_its_validation_split(tmp_path):
    sizes = {"train": 5, "validation": 4, "test": 2}
    pictures = prepare("i_naturalist2018", tmp_path / "tfds", "id", sizes)
    splits = prepared.load_encoded("i_naturalist2018", str(tmp_path / "tfds"))
    check(splits.train, dict(pictures["train"]))
    check(splits.test, dict(pictures["validation"]))
    assert splits.validation is None
    assert len(splits.train.class_names) == 8142


def test_images_can_be_taken_and_pickled(imagenet_lt):
    images = prepared.load_encoded("imagenet_lt", str(imagenet_lt[0])).train.images
    order = np.array([7, 0, 7])
    taken = pickle.loads(pickle.dumps(images)).take(order)
    assert [taken[i] for i in range(3)] == [images[i] for i in order]
    assert [taken.name(i) for i in range(3)] == [images.name(i) for i in order]
    assert taken.take(np.array([1]))[0] == images[0]
    with pytest.raises(IndexError):
        taken[3]


def labels_of(folder):
    return prepared.load_encoded("imagenet_lt", str(folder)).train


def test_labels_are_read_once(imagenet_lt, cache, monkeypatch):
    first = labels_of(imagenet_lt[0])
    assert len(list(cache.iterdir())) == 3

    def read_again(*_):
        raise AssertionError("labels are read again")

    monkeypatch.setattr(prepared, "ThreadPoolExecutor", read_again)
    second = labels_of(imagenet_lt[0])
    np.testing.assert_array_equal(second.labels, first.labels)
    assert second.images.names == first.images.names
    # A file that was written anew may hold anything.
    os.utime(next(imagenet_lt[0].rglob("*train.array_record*")), ns=(0, 0))
    with pytest.raises(AssertionError, match="read again"):
        labels_of(imagenet_lt[0])


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_a_broken_cache_is_made_anew(imagenet_lt, cache, content, monkeypatch):
    expected = labels_of(imagenet_lt[0])
    for file in cache.iterdir():
        if content is None:  # of other labels: too few
            np.savez(file, labels=np.zeros(1, np.int32), names=np.array([b"a"]))
        else:
            file.write_bytes(content)
    np.testing.assert_array_equal(labels_of(imagenet_lt[0]).labels, expected.labels)
    monkeypatch.setattr(prepared, "ThreadPoolExecutor", None)
    np.testing.assert_array_equal(labels_of(imagenet_lt[0]).labels, expected.labels)


def test_a_home_that_cannot_be_written_does_without_a_cache(imagenet_lt, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check(labels_of(imagenet_lt[0]), dict(imagenet_lt[1]["train"]))


def test_what_is_not_prepared_is_answered_by_the_command(tmp_path):
    with pytest.raises(
        DataError,
        match=r"imagenet_lt is not prepared.* --config\.data\.dir=DIR, or .*"
        r"ILSVRC2012_img_train\.tar.*"
        r"tfds\.builder\('imagenet_lt'.*download_and_prepare\(\)",
    ) as error:
        prepared.load_encoded("imagenet_lt", str(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_file_is_told_in_one_sentence(tmp_path, damage):
    prepare("imagenet_lt", tmp_path, "file_name", {"train": 3, "validation": 3, "test": 3})
    images = prepared.load_encoded("imagenet_lt", str(tmp_path)).test.images
    file = next(tmp_path.rglob("*test.array_record*"))
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    else:
        file.unlink()
    with pytest.raises(
        DataError, match="the test split of imagenet_lt .* prepare it anew"
    ) as error:
        prepared.load_encoded("imagenet_lt", str(tmp_path))
    assert "\n" not in str(error.value)
    with pytest.raises(OSError, match=re.escape(file.name)):
        pickle.loads(pickle.dumps(images))[0]
