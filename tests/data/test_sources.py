import io
import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from bccl_jax.data.encoded import EncodedImages, FileImages
from bccl_jax.data.formats import packed, prepared
from bccl_jax.data.long_tail import class_counts, subset_indices
from bccl_jax.data.sources import DATASETS, SOURCES, load_dataset
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import ConfigError, DataError
from faults.disk import within
from tests.data.formats.test_listed import write

NAMES10 = [f"class{i}".encode() for i in range(10)]


def pixels(rng, n):
    return rng.integers(0, 256, (n, 3072), dtype=np.uint8)


def dump(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def cifar10(tmp_path, rng):
    """A miniature of the original files, 8 training images a class; returns the folder and rows."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    data, labels = pixels(rng, 80), rng.permutation(np.repeat(np.arange(10), 8))
    for i in range(5):
        part = slice(16 * i, 16 * (i + 1))
        dump(
            folder / f"data_batch_{i + 1}",
            {b"data": data[part], b"labels": labels[part].tolist()},
        )
    dump(folder / "test_batch", {b"data": pixels(rng, 20), b"labels": [*range(10)] * 2})
    dump(folder / "batches.meta", {b"label_names": NAMES10})
    return folder, data, labels


def load(folder, **changes):
    arguments = {"data_dir": str(folder.parent), "imbalance": 4.0, **changes}
    return load_dataset("cifar10", **arguments)


def test_cifar10_is_ldams_subset_of_the_files_in_order(cifar10):
    folder, data, labels = cifar10
    dataset = load(folder)
    chosen = subset_indices(labels, class_counts(10, 8, 4.0))
    np.testing.assert_array_equal(dataset.train.labels, labels[chosen])
    # A row is the red, green and blue plane: pixel (y, x) of channel c is byte c*1024 + y*32 + x.
    for position, y, x, c in [(0, 0, 0, 0), (3, 5, 31, 1), (7, 31, 2, 2)]:
        expected = data[chosen[position]][c * 1024 + y * 32 + x]
        assert dataset.train.images[position, y, x, c] == expected
    assert dataset.test.images.shape == (20, 32, 32, 3)
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels.dtype == np.int32
    assert dataset.num_classes == 10


def test_the_folder_itself_may_be_named(cifar10):
    folder, _, _ = cifar10
    dataset = load(folder, data_dir=str(folder))
    np.testing.assert_array_equal(dataset.train.images, load(folder).train.images)


def test_the_folder_may_have_another_name_or_be_the_current_one(cifar10, monkeypatch):
    folder, _, _ = cifar10
    expected = load(folder).train.images
    renamed = folder.rename(folder.with_name("renamed"))
    monkeypatch.chdir(renamed)
    for data_dir in (str(renamed), "."):
        np.testing.assert_array_equal(load(folder, data_dir=data_dir).train.images, expected)


def test_cifar100_takes_the_fine_labels(tmp_path, rng):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    fine = np.repeat(np.arange(100), 2)
    for name in ("train", "test"):
        content = {b"fine_labels": fine.tolist(), b"coarse_labels": [0] * 200}
        dump(folder / name, {b"data": pixels(rng, 200), **content})
    dump(folder / "meta", {b"fine_label_names": [b"%d" % i for i in range(100)]})
    dataset = load_dataset("cifar100", data_dir=str(tmp_path), imbalance=2.0)
    assert dataset.num_classes == 100
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), class_counts(100, 2, 2.0))


def test_a_validation_part_is_set_aside_before_the_draw_and_replaces_the_test_split(cifar10):
    folder, data, labels = cifar10
    dataset = load(folder, validation_fraction=0.25)
    np.testing.assert_array_equal(np.bincount(dataset.test.labels), [2] * 10)
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), class_counts(10, 6, 4.0))
    train = {image.tobytes() for image in dataset.train.images}
    assert train.isdisjoint(image.tobytes() for image in dataset.test.images)


def test_a_split_that_is_long_tailed_already_is_taken_as_given(cifar10, rng):
    folder, _, _ = cifar10
    labels = np.repeat(np.arange(10), class_counts(10, 8, 4.0))
    data = pixels(rng, len(labels))
    for i, rows in enumerate(np.array_split(np.arange(len(labels)), 5), 1):
        dump(folder / f"data_batch_{i}", {b"data": data[rows], b"labels": labels[rows].tolist()})
    np.testing.assert_array_equal(load(folder).train.labels, labels)
    with pytest.raises(DataError, match=r"long-tailed already.*= 4.*config\.data\.imbalance=100"):
        load(folder, imbalance=100.0)


@pytest.mark.parametrize("imbalance", [2.5, 3.0, 5.0, 7.0])
def test_a_given_split_of_a_rounded_profile_has_the_factor_it_was_made_by(cifar10, rng, imbalance):
    folder, _, _ = cifar10
    labels = np.repeat(np.arange(10), class_counts(10, 8, imbalance))
    for i, rows in enumerate(np.array_split(labels, 5), 1):
        content = {b"data": pixels(rng, len(rows)), b"labels": rows.tolist()}
        dump(folder / f"data_batch_{i}", content)
    np.testing.assert_array_equal(load(folder, imbalance=imbalance).train.labels, labels)
    with pytest.raises(DataError, match="long-tailed already"):
        load(folder, imbalance=1.5)


def test_only_the_archive_that_was_asked_for_is_to_be_unpacked(tmp_path):
    (tmp_path / "cifar-100-python.tar.gz").touch()
    with pytest.raises(DataError, match="no folder .*cifar-10-batches-py"):
        load_dataset("cifar10", data_dir=str(tmp_path))
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is still packed"):
        load_dataset("cifar10", data_dir=str(tmp_path))


def test_a_missing_file_of_the_folder_itself_is_named(cifar10):
    folder, _, _ = cifar10
    (folder / "data_batch_1").unlink()
    with pytest.raises(DataError, match="no file .*data_batch_1"):
        load(folder, data_dir=str(folder))


def test_an_unknown_data_set_is_answered_by_the_known_ones():
    with pytest.raises(ConfigError, match=r"config\.data\.name is 'cifar'.*digits, cifar10"):
        load_dataset("cifar")


TWO = np.zeros((2, 3072), np.uint8)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "data_batch_3").unlink(), "no file .*data_batch_3"),
        (lambda f: (f / "data_batch_2").write_bytes(b""), "data_batch_2 is truncated"),
        (
            lambda f: (f / "test_batch").write_bytes((f / "test_batch").read_bytes()[:1000]),
            "test_batch is truncated",
        ),
        (lambda f: (f / "test_batch").write_text("<html>404</html>"), "test_batch is truncated"),
        (lambda f: dump(f / "test_batch", [1, 2]), "test_batch is not an original"),
        (lambda f: dump(f / "test_batch", {b"labels": []}), "test_batch has no entry data"),
        (
            lambda f: dump(
                f / "test_batch", {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}
            ),
            "test_batch has 2 images and 1 labels",
        ),
        (
            lambda f: dump(
                f / "test_batch", {b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}
            ),
            "labels from 10 to 10, outside 0 to 9",
        ),
        (
            lambda f: dump(
                f / "test_batch", {b"data": np.zeros((1, 99), np.uint8), b"labels": [1]}
            ),
            r"uint8 \[1, 99\] instead of uint8 \[N, 3072\]",
        ),
        (lambda f: dump(f / "batches.meta", {b"label_names": NAMES10[:9]}), "names 9 classes"),
        (lambda f: dump(f / "test_batch", Malicious()), "it asks for .*mkdir"),
        *(
            (
                lambda f, labels=labels: dump(f / "test_batch", {b"data": TWO, b"labels": labels}),
                "test_batch has labels that are not integers",
            )
            for labels in (["a", "b"], [0.5, 1.5], [None, None], [1, [2]])
        ),
        *(
            (
                lambda f, names=names: dump(f / "batches.meta", {b"label_names": names}),
                r"batches\.meta has no list of names",
            )
            for names in (5, list("0123456789"))
        ),
    ],
)
def test_a_broken_file_is_named_in_one_sentence(cifar10, monkeypatch, break_it, message):
    folder, _, _ = cifar10
    monkeypatch.chdir(folder)
    break_it(folder)
    with pytest.raises(DataError, match=message) as error:
        load(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (folder / "executed").exists()


def as_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def nested(path):
    """A list of 2**50 numbers, in a file of some hundred bytes."""
    labels = [1]
    for _ in range(50):
        labels = [labels, labels]
    dump(path, {b"data": TWO, b"labels": labels})


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (as_a_pipe, "test_batch cannot be read .it is no regular file"),
        (nested, "test_batch has labels that are not integers"),
    ],
)
def test_a_file_that_never_ends_is_no_hang(cifar10, break_it, message):
    folder, _, _ = cifar10
    break_it(folder / "test_batch")
    with within(20), pytest.raises(DataError, match=message):
        load(folder)


def test_a_picture_that_is_a_pipe_is_a_broken_one_and_no_hang(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    images = FileImages(tmp_path, ["a.jpg"])
    for read in (images.__getitem__, images.excerpt):
        with within(20), pytest.raises(OSError, match="no regular file"):
            read(0)


def test_missing_data_says_where_to_get_it_and_which_key_names_it(tmp_path):
    with pytest.raises(DataError, match=r"bccl_jax\.datasets cifar100 .*config\.data\.dir"):
        load_dataset("cifar100", data_dir=str(tmp_path))
    (tmp_path / "cifar-100-python.tar.gz").touch()
    with pytest.raises(DataError, match=r"cifar-100-python\.tar\.gz is still packed; python"):
        load_dataset("cifar100", data_dir=str(tmp_path))


def test_an_imbalance_beyond_the_largest_class_is_refused(cifar10):
    with pytest.raises(
        ConfigError, match=r"config\.data\.imbalance is 9, .* lower it to at most 8"
    ):
        load(cifar10[0], imbalance=9.0)


def test_digits_are_long_tailed_by_the_profile():
    dataset = load_dataset("digits", imbalance=20.0)
    counts = np.bincount(dataset.train.labels)
    np.testing.assert_array_equal(counts, [100, 71, 51, 36, 26, 18, 13, 9, 6, 5])
    assert len(dataset.test) == 797
    assert dataset.train.images.shape[1:] == (8, 8, 3)
    assert dataset.train.images.max() == 255
    test = {image.tobytes() for image in dataset.test.images}
    assert sum(image.tobytes() in test for image in dataset.train.images) == 0


def test_digits_do_not_come_from_tfds():
    with pytest.raises(ConfigError, match=r"config\.data\.source is 'tfds'.*digits"):
        load_dataset("digits", source="tfds")


def test_tfds_not_prepared_says_how_to_prepare_it(tmp_path):
    with pytest.raises(DataError, match=r"not prepared.*download_and_prepare\(\)"):
        load_dataset("cifar10", source="tfds", data_dir=str(tmp_path))


def test_tfds_not_installed_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match="pip install tensorflow-datasets"):
        load_dataset("cifar10", source="tfds", data_dir=str(tmp_path))


def prepare_like_tfds(data_dir, images, labels):
    """Writes what tensorflow-datasets prepares of CIFAR-10, shuffled by its own hashing."""
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Cifar10(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("3.0.2")

            def _info(self):
                features = {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(32, 32, 3)),
                    "label": tfds.features.ClassLabel(names=[n.decode() for n in NAMES10]),
                }
                return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

            def _split_generators(self, dl_manager):
                return {
                    "train": self._generate_examples("train_"),
                    "test": self._generate_examples("test_"),
                }

            def _generate_examples(self, prefix):
                for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                    # Encoded bytes: encoding an array would need TensorFlow.
                    file = io.BytesIO()
                    Image.fromarray(image).save(file, "PNG")
                    row = {"id": f"{prefix}{index:05d}", "image": file, "label": int(label)}
                    file.seek(0)
                    yield index, row

    Cifar10(data_dir=data_dir, file_format="array_record").download_and_prepare()


def test_tfds_gives_the_very_split_of_the_original_files(cifar10, tmp_path):
    folder, data, labels = cifar10
    images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    prepare_like_tfds(tmp_path / "tfds", images, labels)
    found = load(folder, source="tfds", data_dir=str(tmp_path / "tfds")).train
    expected = load(folder).train
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_an_imbalance_of_zero_takes_the_training_split_as_it_is(cifar10, rng):
    folder, data, labels = cifar10
    dataset = load(folder, imbalance=0)
    np.testing.assert_array_equal(dataset.train.labels, labels)
    rows = dataset.train.images.transpose(0, 3, 1, 2).reshape(80, 3072)
    np.testing.assert_array_equal(rows, data)
    given = np.repeat(np.arange(10), class_counts(10, 8, 7.0))
    for i, part in enumerate(np.array_split(given, 5), 1):
        content = {b"data": pixels(rng, len(part)), b"labels": part.tolist()}
        dump(folder / f"data_batch_{i}", content)
    np.testing.assert_array_equal(load(folder, imbalance=0.0).train.labels, given)
    with pytest.raises(DataError, match="write the factor that it has, or 0 to take it as it is"):
        load(folder, imbalance=2.0)


def test_every_data_set_has_known_sources():
    assert {source for sources in DATASETS.values() for source in sources} == set(SOURCES)
    assert all("original" in sources for sources in DATASETS.values())


@pytest.fixture(scope="module")
def inaturalist(tmp_path_factory):
    """A miniature of iNaturalist 2018 with all of its classes: 1 to 3 images of each."""
    root = tmp_path_factory.mktemp("inaturalist")
    train, test = [], []
    for label in range(8142):
        folder = f"train_val2018/Group{label % 14}"
        images = 1 + (label < 200) + (label < 50)
        train += [f"{folder}/{label} {i}.jpg {label}" for i in range(images)]
        if label % 30 == 0:
            test.append(f"{folder}/{label}_tested.jpg {label}")
    for group in range(14):
        (root / f"train_val2018/Group{group}").mkdir(parents=True)
    for line in train + test:
        os.close(os.open(root / line.rsplit(" ", 1)[0], os.O_CREAT | os.O_WRONLY))
    texts = {"iNaturalist18_train.txt": train[::-1], "iNaturalist18_val.txt": test}
    write(root, {file: "\n".join(lines) for file, lines in texts.items()})
    return root, train[::-1], test


def test_a_list_of_8142_classes(inaturalist):
    root, train, test = inaturalist
    dataset = load_dataset("inaturalist2018", data_dir=str(root), check_totals=False, imbalance=0)
    assert dataset.num_classes == 8142
    assert len(dataset.train.class_names) == 8142
    for split, lines in ((dataset.train, train), (dataset.test, test)):
        found = zip(split.images.paths, split.labels, strict=True)
        assert [f"{path} {label}" for path, label in found] == lines
    assert np.bincount(dataset.train.labels).tolist() == [3] * 50 + [2] * 150 + [1] * 7942
    assert dataset.validation is None


def test_a_long_tailed_list_may_be_checked_by_its_factor_and_has_a_holdout(inaturalist):
    root, train, _ = inaturalist
    arguments = {"data_dir": str(root), "check_totals": False}
    checked = load_dataset("inaturalist2018", imbalance=3, validation_fraction=0.5, **arguments)
    assert np.bincount(checked.train.labels).tolist() == [2] * 50 + [1] * 8092
    assert np.bincount(checked.test.labels).tolist() == [1] * 200
    with pytest.raises(DataError, match=r"long-tailed already, by 3 / 1 = 3"):
        load_dataset("inaturalist2018", imbalance=1.2, **arguments)


def test_the_public_lists_are_wanted_unless_told_otherwise(inaturalist):
    with pytest.raises(DataError, match="has 8392 images and .* which has 437513;"):
        load_dataset("inaturalist2018", data_dir=str(inaturalist[0]), imbalance=0)


class Named(EncodedImages):
    def __init__(self, names):
        self.names = names

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return self.names[index].encode()

    def name(self, index):
        return self.names[index]

    def take(self, indices):
        return Named([self.names[i] for i in indices])


def named_splits(train=("a0", "a1", "b0"), test=("c0",), validation=("v0",)):
    parts = (
        Split(Named(list(names)), np.arange(len(names), dtype=np.int32) % 2, ("x", "y"))
        for names in (train, test, validation)
    )
    return Splits(*parts, notes=("told",))


@pytest.mark.parametrize(
    ("name", "source", "asked"),
    [
        ("imagenet_lt", "tfds", ("imagenet_lt", "there")),
        ("inaturalist2018", "tfds", ("i_naturalist2018", "there")),
        ("places_lt", "packed", ("there", "places_lt")),
        ("folder", "packed", ("there", "folder")),
    ],
)
def test_other_sources_are_asked_by_their_names_and_checked_alike(monkeypatch, name, source, asked):
    calls, given = [], named_splits()
    for module, function in ((prepared, "load_encoded"), (packed, "load")):
        monkeypatch.setattr(module, function, lambda *args: calls.append(args) or given)
    arguments = {"source": source, "data_dir": "there", "imbalance": 0, "check_totals": False}
    dataset = load_dataset(name, **arguments)
    assert calls == [asked]
    assert dataset.train is given.train
    assert dataset.test is given.test
    assert dataset.validation is given.validation
    assert dataset.notes == ("told",)
    if name != "folder":
        with pytest.raises(DataError, match=f"there has 2 classes where {name} has"):
            load_dataset(name, **arguments | {"check_totals": True})

    given = named_splits(train=("a0", "c0", "b0"))
    with pytest.raises(DataError, match=f"1 of 1 images of the test split of {name} are in the tr"):
        load_dataset(name, **arguments)
    given = named_splits(test=("v0", "c0"))
    with pytest.raises(DataError, match=r"1 of 2 images .* are in the validation split too.* v0;"):
        load_dataset(name, **arguments)
    given = named_splits(train=("a0",))
    with pytest.raises(DataError, match=r"1 of 2 classes .* no training image, 1 \(y\);"):
        load_dataset(name, **arguments)


def test_a_balanced_folder_is_made_long_tailed_after_its_test_split_is_drawn(tmp_path):
    write(tmp_path, {f"{name}/{i}.jpg": "" for name in "abc" for i in range(20)})
    dataset = load_dataset("folder", data_dir=str(tmp_path), imbalance=4, test_fraction=0.2)
    assert np.bincount(dataset.train.labels).tolist() == [16, 8, 4]
    assert np.bincount(dataset.test.labels).tolist() == [4, 4, 4]
    assert not set(dataset.train.images.paths) & set(dataset.test.images.paths)
    assert len(dataset.notes) == 1


def test_a_part_of_the_classes_is_evenly_spaced_and_numbered_anew(cifar10):
    folder, data, labels = cifar10
    dataset = load(folder, classes=4)
    assert dataset.train.class_names == ("class0", "class2", "class5", "class7")
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), class_counts(4, 8, 4.0))
    kept = np.isin(labels, [0, 2, 5, 7])
    renumbered = {0: 0, 2: 1, 5: 2, 7: 3}
    expected = [renumbered[label] for label in labels[kept]]
    whole = load(folder, classes=4, imbalance=0)
    np.testing.assert_array_equal(whole.train.labels, expected)
    reds = whole.train.images[:, 0, 0, 0]
    np.testing.assert_array_equal(reds, data[kept][:, 0])
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2, 2]
    assert load(folder, classes=10).train.class_names == load(folder).train.class_names


def test_reduced_images_are_means_of_squares_rounded_half_up(cifar10):
    folder, *_ = cifar10
    original, reduced = load(folder).train.images, load(folder, pixels=8).train.images
    assert reduced.shape == (len(original), 8, 8, 3)
    for n, y, x, c in [(0, 0, 0, 0), (5, 7, 1, 2), (11, 3, 6, 1)]:
        square = original[n, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4, c]
        assert reduced[n, y, x, c] == int(np.floor(square.astype(float).mean() + 0.5))
    whites = Split(np.full((1, 4, 4, 3), 255, np.uint8), np.zeros(1, np.int32), ("white",))
    assert whites.reduced(2).images.min() == 255


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 11}, "config.data.classes is 11 and cifar10 has 10"),
        ({"classes": 1}, "config.data.classes is 1"),
        ({"pixels": 5}, "config.data.pixels is 5, which does not divide the 32 pixels"),
        ({"pixels": 64}, "config.data.pixels is 64"),
    ],
)
def test_impossible_parts_are_refused(cifar10, changes, message):
    with pytest.raises(ConfigError, match=message):
        load(cifar10[0], **changes)
