"""A run goes on with the very images that it was begun with, or says which split has others."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from bccl_jax.config.dataset import load_data
from bccl_jax.data import encoded, fingerprint
from bccl_jax.data.fingerprint import warnings
from bccl_jax.data.formats.digits import load as load_digits
from bccl_jax.data.formats.packed import load as load_packed
from bccl_jax.data.packing import packing
from bccl_jax.data.split import Dataset, Split, Splits
from bccl_jax.errors import ConfigError, DataError, WorkdirError
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from bccl_jax.workdir.directory import Workdir
from tests.data.test_sources import cifar10, dump  # noqa: F401
from tests.tiny import shipped_config

RECORD = "images.npz"


def look(config):
    dataset = load_data(config)
    return dataset, fingerprint.fingerprint(dataset)


def begin(config, path):
    """What a run leaves after its first epoch, as far as it tells a run that goes on."""
    dataset, numbers = look(config)
    with Workdir(path).claimed(config, config, dataset, numbers):
        (path / "metrics.jsonl").write_text("{}\n")
        (path / "checkpoints" / "1").mkdir(parents=True)


def go_on(config, path):
    dataset, numbers = look(config)
    directory = Workdir(path)
    directory.check_classes(dataset)
    said = directory.check_images(dataset, numbers)
    with directory.claimed(config, config, dataset, numbers):
        return said


@pytest.fixture
def cifar(cifar10, tmp_path):  # noqa: F811
    config = shipped_config("cifar10_lt", "cross_entropy")
    config.update_from_flattened_dict({
        "data.dir": str(tmp_path), "data.imbalance": 4.0, "batch_size": 8, "epochs": 9,
        "model.backbone": "resnet8",
    })  # fmt: skip
    begin(config, tmp_path / "run")
    return config, cifar10[0], cifar10[1], cifar10[2]


def write_training(folder, data, labels):
    for i in range(5):
        part = slice(16 * i, 16 * (i + 1))
        dump(
            folder / f"data_batch_{i + 1}",
            {b"data": data[part], b"labels": labels[part].tolist()},
        )


def invert(folder, data, labels):
    write_training(folder, 255 - data, labels)


def one_pixel(folder, data, labels):
    data = data.copy()
    data[np.flatnonzero(labels == 0)[3], 1000] ^= 1
    write_training(folder, data, labels)


def permute_labels(folder, data, labels):
    write_training(folder, data, np.roll(labels, 16))


def swap_images(folder, data, labels):
    """The same images in the same classes, two of them in another order."""
    data = data.copy()
    both = np.flatnonzero(labels == 0)[:2]
    data[both] = data[both[::-1]]
    write_training(folder, data, labels)


def training_pixels_to_test_on(folder, data, labels):
    dump(folder / "test_batch", {b"data": data[:20], b"labels": [*range(10)] * 2})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (invert, r"40 of 40 train images, the first train image 0 \(class0\), have other content"),
        (one_pixel, r"1 of 40 train images, the first train image \d+ \(class0\), have other"),
        (permute_labels, r"\d+ of 40 train images, .* have other content"),
        (swap_images, "2 of 40 train images, .* have other content"),
        (training_pixels_to_test_on, "20 of 20 test images, .* have other content"),
    ],
)
def test_other_pixels_under_the_same_labels_are_refused(cifar, tmp_path, change, message):
    config, folder, data, labels = cifar
    change(folder, data, labels)
    with pytest.raises(WorkdirError, match=message) as error:
        go_on(config, tmp_path / "run")
    assert "restore them or name another directory" in str(error.value)
    assert "\n" not in str(error.value)


def test_training_and_evaluation_ask(cifar, tmp_path):
    config, folder, data, labels = cifar
    training_pixels_to_test_on(folder, data, labels)
    for call in (train_and_evaluate, evaluate_checkpoints):
        with pytest.raises(WorkdirError, match="20 of 20 test images, .* have other content"):
            call(config, tmp_path / "run")


def test_what_a_run_of_an_earlier_time_trained_on_is_told_once(cifar, tmp_path):
    config, folder, data, labels = cifar
    (tmp_path / "run" / RECORD).unlink()
    assert "no record of what its images contained" in go_on(config, tmp_path / "run")
    assert go_on(config, tmp_path / "run") is None
    invert(folder, data, labels)
    with pytest.raises(WorkdirError, match="train images"):
        go_on(config, tmp_path / "run")


def test_a_data_directory_may_move_and_nothing_is_written_anew(cifar, tmp_path):
    config, folder, _, _ = cifar
    before = (tmp_path / "run" / RECORD).stat().st_mtime_ns
    (tmp_path / "elsewhere").mkdir()
    shutil.move(folder, tmp_path / "elsewhere")
    config.data.dir = str(tmp_path / "elsewhere")
    assert go_on(config, tmp_path / "run") is None
    assert (tmp_path / "run" / RECORD).stat().st_mtime_ns == before


def test_a_damaged_record_is_told(cifar, tmp_path):
    (tmp_path / "run" / RECORD).write_bytes(b"PK")
    with pytest.raises(WorkdirError, match="not the record of images.*delete it to go on"):
        go_on(cifar[0], tmp_path / "run")


def test_test_images_that_are_training_images_are_told(cifar):
    config, folder, data, labels = cifar
    dataset, numbers = look(config)
    assert warnings(dataset, numbers) == []
    kept = dataset.train.images[[0, 7]].transpose(0, 3, 1, 2).reshape(2, -1)
    rows = np.concatenate([255 - data[:18], kept])
    dump(folder / "test_batch", {b"data": rows, b"labels": [*range(10)] * 2})
    (said,) = warnings(*look(config))
    assert "2 of 20 test images are training images too" in said
    assert "the first test image 18 (class8) = training image 0 (class0)" in said


def noise(index):
    rng = np.random.default_rng(index)
    file = io.BytesIO()
    # Without compression: every picture has as many bytes.
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(file, "BMP")
    return file.getvalue()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for part, name, first, count in (
        ("train", "cat", 0, 4), ("train", "dog", 10, 3), ("test", "cat", 20, 2),
        ("val", "dog", 30, 2),
    ):  # fmt: skip
        (folder / part / name).mkdir(parents=True)
        for index in range(count):
            (folder / part / name / f"{index}.bmp").write_bytes(noise(first + index))
    config = shipped_config("folder", "cross_entropy")
    config.data.dir = str(folder)
    begin(config, tmp_path / "run")
    return config, folder


@pytest.mark.parametrize(
    ("part", "name"),
    [("train", "train/dog/2"), ("test", "test/cat/0"), ("validation", "val/dog/1")],
)
def test_a_photograph_replaced_under_its_own_name_is_refused(photos, tmp_path, part, name):
    config, folder = photos
    path = folder / f"{name}.bmp"
    size = path.stat().st_size
    path.write_bytes(noise(99))
    assert path.stat().st_size == size > 3 * encoded.PIECE
    with pytest.raises(WorkdirError, match=rf"1 of \d {part} images, .*{name}\.bmp, have other"):
        go_on(config, tmp_path / "run")


def test_photographs_that_moved_go_on_and_mended_ones_too(photos, tmp_path):
    config, folder = photos
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "train" / "cat" / "1.bmp").write_bytes(noise(50))
    config.data.dir = str(tmp_path / "copy")
    with pytest.raises(WorkdirError, match=r"cat/1\.bmp, have other content"):
        go_on(config, tmp_path / "run")
    (tmp_path / "run" / "broken.txt").write_text(f"{folder}/train/cat/1.bmp\n")
    assert go_on(config, tmp_path / "run") is None
    # From now on that one is what it must be.
    (tmp_path / "run" / "broken.txt").unlink()
    assert go_on(config, tmp_path / "run") is None


@pytest.mark.parametrize(("part", "name"), [("test", "test/cat/0"), ("validation", "val/dog/1")])
def test_a_picture_to_evaluate_on_that_was_broken_may_be_mended(photos, tmp_path, part, name):
    config, folder = photos
    (tmp_path / "run").rename(tmp_path / "old")
    sound = (folder / f"{name}.bmp").read_bytes()
    (folder / f"{name}.bmp").write_bytes(b"not a picture")
    begin(config, tmp_path / "run")
    dataset, _ = look(config)
    split = dataset.splits[part]
    index = [split.images.name(i) for i in range(len(split))].index(f"{folder}/{name}.bmp")
    for _ in range(2):
        Workdir(tmp_path / "run").note_broken(dataset, split, [index])
    assert (tmp_path / "run" / f"broken_{part}.txt").read_text() == f"{folder}/{name}.bmp\n"
    (folder / f"{name}.bmp").write_bytes(sound)
    assert go_on(config, tmp_path / "run") is None


def test_a_photograph_that_cannot_be_read_is_left_to_training(photos, tmp_path):
    config, folder = photos
    dataset, numbers = look(config)
    (folder / "train" / "cat" / "1.bmp").unlink()
    found = fingerprint.fingerprint(dataset)
    assert found["train"][1] == fingerprint.UNREADABLE
    directory = Workdir(tmp_path / "run")
    assert directory.check_images(dataset, found) is None
    # The record keeps what it was.
    with directory.claimed(config, config, dataset, found):
        pass
    (folder / "train" / "cat" / "1.bmp").write_bytes(noise(77))
    with pytest.raises(WorkdirError, match=r"cat/1\.bmp"):
        go_on(config, tmp_path / "run")


def test_a_photograph_that_broke_since_is_left_to_training_too(photos, tmp_path):
    config, folder = photos
    before = (tmp_path / "run" / RECORD).read_bytes()
    (folder / "train" / "cat" / "1.bmp").write_bytes(b"not a picture")
    (folder / "test" / "cat" / "1.bmp").write_bytes(b"")
    assert go_on(config, tmp_path / "run") is None
    assert (tmp_path / "run" / RECORD).read_bytes() == before
    (folder / "train" / "cat" / "2.bmp").write_bytes(noise(70))
    with pytest.raises(WorkdirError, match=r"2 of 7 train images, the first .*cat/2\.bmp, have"):
        go_on(config, tmp_path / "run")


def test_a_photograph_in_two_splits_is_told_by_name(photos):
    config, folder = photos
    shutil.copy(folder / "train" / "cat" / "3.bmp", folder / "test" / "cat" / "new.bmp")
    (said,) = warnings(*look(config))
    assert "1 of 3 test images are training images too" in said
    assert "cat/new.bmp = " in said
    assert "--mode=inspect --verify" in said


def test_packed_photographs_have_the_numbers_of_their_files(photos, tmp_path):
    config, _ = photos
    dataset, numbers = look(config)
    packing.pack_dataset(dataset, tmp_path / "packed")
    splits = load_packed(tmp_path / "packed")
    found = fingerprint.fingerprint(Dataset("folder", *splits[:3]))
    for part, expected in numbers.items():
        np.testing.assert_array_equal(found[part], expected)


def test_large_shards_are_looked_at_as_files(photos, tmp_path, monkeypatch):
    config, folder = photos
    packing.pack_dataset(load_data(config), tmp_path / "packed")
    monkeypatch.setattr(fingerprint, "RECORDS_BELOW", 0)
    monkeypatch.setattr(fingerprint, "STRIDE", 2 * encoded.PIECE)
    config.data.source = "packed"
    config.data.dir = str(tmp_path / "packed")
    begin(config, tmp_path / "large")
    dataset, numbers = look(config)
    assert [len(found) for found in numbers.values()] == [1, 1, 1]
    assert warnings(dataset, numbers) == []
    assert go_on(config, tmp_path / "large") is None
    (folder / "train" / "cat" / "3.bmp").write_bytes(noise(98))
    config.data.source, config.data.dir = "original", str(folder)
    packing.pack_dataset(load_data(config), tmp_path / "anew")
    config.data.source, config.data.dir = "packed", str(tmp_path / "anew")
    with pytest.raises(WorkdirError, match="1 of 1 train files of images have other content"):
        go_on(config, tmp_path / "large")


def test_every_part_of_an_image_in_memory_counts(rng):
    images = rng.integers(0, 256, (5, 4, 4, 3), np.uint8)
    split = Split(images, np.zeros(5, np.int32), ("a",))
    dataset = Dataset("mini", split, split)
    before = fingerprint.fingerprint(dataset)["train"]
    assert len(set(before.tolist())) == 5
    for place in np.ndindex(4, 4, 3):
        images[(2, *place)] ^= 1
        after = fingerprint.fingerprint(dataset)["train"]
        assert [int(i) for i in np.flatnonzero(before != after)] == [2]
        images[(2, *place)] ^= 1


def test_digits_share_no_image():
    dataset = Dataset("digits", *load_digits())
    assert warnings(dataset, fingerprint.fingerprint(dataset)) == []


def test_packing_goes_on_with_the_images_that_it_began_with(photos, tmp_path):
    config, folder = photos
    dataset = load_data(config)
    splits = Splits(dataset.train, dataset.test, dataset.validation)

    def pack():
        packing.pack("folder", splits, tmp_path / "packed", shard_images=2)

    packed = folder / "train" / "cat" / "0.bmp"
    (folder / "train" / "dog" / "1.bmp").rename(tmp_path / "kept")
    with pytest.raises(DataError, match=r"dog/1\.bmp cannot be read"):
        pack()
    # What is not packed yet may be mended; what is packed must be the same.
    (folder / "train" / "dog" / "1.bmp").write_bytes(noise(60))
    packed.write_bytes(noise(61))
    with pytest.raises(ConfigError, match=r"1 of 7 train ones, the first .*cat/0\.bmp; restore"):
        pack()
    packed.write_bytes(noise(0))
    pack()
    assert load_packed(tmp_path / "packed").train.images[5] == noise(60)
    (folder / "test" / "cat" / "1.bmp").write_bytes(noise(62))
    with pytest.raises(ConfigError, match=r"1 of 2 test ones, the first .*cat/1\.bmp; restore"):
        pack()
    (tmp_path / "packed" / "test.numbers.npy").unlink()
    pack()
