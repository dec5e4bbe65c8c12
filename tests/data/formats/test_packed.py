import fcntl
import json
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from bccl_jax.data.encoded import EncodedImages, FileImages
from bccl_jax.data.formats import packed, records
from bccl_jax.data.packing import packing, shards
from bccl_jax.data.photographs.decoding import PLAIN
from bccl_jax.data.split import Dataset, Split, Splits
from bccl_jax.errors import ConfigError, DataError

CLASSES = ("apple", "bär")


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """What was to be written through to the disk; a busy one would take long over it."""
    paths = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: paths.append(os.readlink(f"/proc/self/fd/{handle}"))
    )
    return paths


class Bytes(EncodedImages):
    """Images in memory, which remember what was read and may refuse one."""

    def __init__(self, contents, fails_at=None, error=OSError):
        self.contents, self.fails_at, self.error = contents, fails_at, error
        self.read = []

    def __len__(self):
        return len(self.contents)

    def __getitem__(self, index):
        self.read.append(index)
        if index == self.fails_at:
            raise self.error
        return self.contents[index]

    def name(self, index):
        return f"/images/{CLASSES[index % 2]}/{index}.jpg"

    def take(self, indices):
        return Bytes([self.contents[i] for i in indices])


def contents(number, size=100):
    rng = np.random.default_rng(number)
    return [rng.bytes(size + index) for index in range(number)]


def split(images):
    return Split(images, np.arange(len(images), dtype=np.int32) % 2, CLASSES)


def made(train=11, test=4, **train_arguments):
    return Splits(split(Bytes(contents(train), **train_arguments)), split(Bytes(contents(test))))


def pack(splits, folder, **arguments):
    packing.pack("fruit", splits, folder, **{"shard_images": 3, **arguments})


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check_equal(found, expected):
    assert len(found) == len(expected)
    assert [found.images[i] for i in range(len(found))] == expected.images.contents
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.labels.dtype == np.int32
    assert found.class_names == expected.class_names


def test_every_image_comes_back_untouched_and_in_order(tmp_path):
    expected = made()._replace(validation=split(Bytes([b"", b"x"])), notes=("drawn",))
    pack(expected, tmp_path / "new" / "fruit")
    found = packed.load(tmp_path / "new" / "fruit", "fruit")
    for part in ("train", "test", "validation"):
        check_equal(getattr(found, part), getattr(expected, part))
    assert found.notes == ("drawn",)
    assert found.train.images.name(2) == "apple/2.jpg"
    shards = sorted(path.name for path in (tmp_path / "new" / "fruit").glob("train-*"))
    assert shards == [f"train-0000{i}.array_record" for i in range(4)]
    assert not (tmp_path / "new" / "fruit" / "plan.json").exists()


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, synced):
    pack(made(), tmp_path)
    files = {name for name in tree(tmp_path) if name != "manifest.json"} | {"plan.json"}
    for name in files:
        assert synced[synced.index(f"{tmp_path}/{name}.partial") + 1] == str(tmp_path)
    assert synced[-2:] == [f"{tmp_path}/manifest.json.partial", str(tmp_path)]


def test_a_shard_ends_with_the_image_that_fills_it(tmp_path):
    pack(made(), tmp_path, shard_images=100, shard_bytes=250)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    # 100, 101, 102, ... bytes an image, so that three pass 250.
    assert [shard["images"] for shard in manifest["splits"]["train"]["shards"]] == [3, 3, 3, 2]
    options = records.open_shard(tmp_path / "train-00000.array_record").writer_options_string()
    assert "group_size:1," in options
    assert "uncompressed" in options


def test_images_can_be_taken_pickled_and_read_by_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_OPEN", 2)  # of 4 shards
    splits = made()
    pack(splits, tmp_path)
    images = packed.load(tmp_path).train.images
    order = np.array([10, 0, 7, 3, 3])
    assert images[4] == splits.train.images.contents[4]  # pickled with a file open
    taken = pickle.loads(pickle.dumps(images)).take(order)
    assert [taken[i] for i in range(5)] == [splits.train.images.contents[i] for i in order]
    assert [taken.name(i) for i in range(5)] == [images.name(i) for i in order]
    assert taken.take(np.array([2, 1]))[0] == splits.train.images.contents[7]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: images[i], list(range(11)) * 30))
    assert found == splits.train.images.contents * 30
    assert len(images._readers) == 2
    with pytest.raises(IndexError):
        images[11]


def test_a_shard_that_changes_later_is_an_error_of_reading(tmp_path):
    pack(made(), tmp_path)
    images = packed.load(tmp_path).train.images
    content = (tmp_path / "train-00001.array_record").read_bytes()
    (tmp_path / "train-00001.array_record").write_bytes(content[: len(content) // 2])
    (tmp_path / "train-00002.array_record").unlink()
    (tmp_path / "train-00003.array_record").write_bytes(content)  # 3 instead of 2 records
    assert images[2] == contents(11)[2]
    for index, message in [(3, "truncated"), (6, "No such file"), (9, "3 records instead of 2")]:
        with pytest.raises(OSError, match=message):
            images[index]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_stopped_goes_on_after_the_last_whole_shard(tmp_path, error):
    pack(made(), tmp_path / "undisturbed")
    with pytest.raises(DataError if error is OSError else KeyboardInterrupt):
        pack(made(fails_at=7, error=error), tmp_path / "stopped")
    assert not list((tmp_path / "stopped").glob("*.partial"))
    with pytest.raises(DataError, match=r"not finished, 6 of 15 images are there.*--mode=pack"):
        packed.load(tmp_path / "stopped")
    again = made()
    pack(again, tmp_path / "stopped", shard_images=5)  # the plan's 3 holds
    assert min(again.train.images.read) == 6
    assert tree(tmp_path / "stopped") == tree(tmp_path / "undisturbed")


KILLED = """
import os, pathlib, sys
from bccl_jax.data.packing import packing
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.split import Split, Splits
import numpy as np

class Dying(FileImages):
    def __getitem__(self, index):
        if index == 7:
            # The reader dies only once what comes before it is being written.
            while not list(pathlib.Path(sys.argv[2]).glob("train-00002*.partial")):
                pass
            os._exit(9)
        return super().__getitem__(index)

paths = [f"{i}.jpg" for i in range(11)]
images = Dying(sys.argv[1], paths)
labels = np.zeros(11, np.int32)
names = ("one",)
splits = Splits(Split(images, labels, names), Split(FileImages(sys.argv[1], paths), labels, names))
packing.pack("fruit", splits, sys.argv[2], shard_images=3)
"""


def test_a_killed_process_leaves_what_the_next_one_completes(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for index, content in enumerate(contents(11)):
        (source / f"{index}.jpg").write_bytes(content)
    done = subprocess.run([sys.executable, "-c", KILLED, source, target], timeout=60)
    assert done.returncode == 9
    unfinished = target / "train-00002.array_record.partial"
    assert unfinished.exists()
    # The folder was moved meanwhile; its images and their names in it are the same.
    moved = source.rename(tmp_path / "moved")
    images = FileImages(moved, [f"{i}.jpg" for i in range(11)])
    part = Split(images, np.zeros(11, np.int32), ("one",))
    kept = (target / "train-00001.array_record").stat().st_mtime_ns
    pack(Splits(part, part), target)
    assert not unfinished.exists()
    assert (target / "train-00001.array_record").stat().st_mtime_ns == kept
    found = packed.load(target).train.images
    assert [found[i] for i in range(11)] == contents(11)


def test_what_is_packed_is_left_as_it_is(tmp_path):
    pack(made(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = made()
    pack(again, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert again.train.images.read == []
    (tmp_path / "train-00001.array_record").unlink()
    with pytest.raises(DataError, match=r"train-00001\.array_record is missing"):
        pack(made(), tmp_path)


@pytest.mark.parametrize("finished", [True, False])
def test_two_sources_are_never_mixed(tmp_path, finished):
    splits = made()
    if finished:
        pack(splits, tmp_path)
    else:
        with pytest.raises(DataError):
            pack(made(fails_at=7), tmp_path)
    before = tree(tmp_path)
    train = splits.train
    others = {
        "other labels": splits._replace(train=Split(train.images, 1 - train.labels, CLASSES)),
        "other classes": splits._replace(train=Split(train.images, train.labels, ("a", "b"))),
        "fewer images": splits._replace(train=train.take(np.arange(10))),
        "one split more": splits._replace(validation=splits.test),
    }
    for other in others.values():
        with pytest.raises(ConfigError, match="holds fruit of other images, labels or names"):
            pack(other, tmp_path)
    with pytest.raises(ConfigError, match="name a new folder by --output"):
        packing.pack("vegetables", splits, tmp_path)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["thesis.txt", "manifest.json", "film.partial"])
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match=f"holds something else already, {name} for one"):
        pack(made(), tmp_path)
    assert tree(tmp_path) == {name: b"{}"}


def test_two_processes_do_not_pack_into_one_folder(tmp_path):
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="another process is packing"):
        pack(made(), tmp_path)
    os.close(handle)
    pack(made(), tmp_path)
    check_equal(packed.load(tmp_path).train, made().train)


def test_a_full_disk_ends_in_one_sentence_and_leaves_no_torso(tmp_path, monkeypatch):
    def write_to_a_full_disk(path, options):
        return ArrayRecordWriter("/dev/full" if "train-00002" in path else path, options)

    monkeypatch.setattr(shards, "ArrayRecordWriter", write_to_a_full_disk)
    with pytest.raises(DataError, match="cannot be written.*No space left on device") as error:
        pack(made(), tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*.partial"))
    assert sorted(path.name for path in tmp_path.glob("*.array_record")) == [
        "train-00000.array_record",
        "train-00001.array_record",
    ]
    monkeypatch.undo()
    pack(made(), tmp_path)
    check_equal(packed.load(tmp_path).train, made().train)


def test_an_image_that_cannot_be_read_stops_with_its_name(tmp_path):
    images = FileImages(tmp_path / "source", ["a.jpg", "none\n.jpg"])
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.jpg").write_bytes(b"no image")
    splits = Splits(split(images), split(images))
    with pytest.raises(DataError, match=r"none\\n\.jpg.* cannot be read \(No such file") as error:
        pack(splits, tmp_path / "packed")
    assert "\n" not in str(error.value)


def test_images_are_decoded_while_packing_if_asked_to(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    Image.new("RGB", (4, 3), "red").save(source / "a.png")
    (source / "b.png").write_bytes(b"no image")
    images = FileImages(source, ["a.png", "b.png"])
    good = Splits(split(images.take(np.array([0]))), split(images.take(np.array([0, 0]))))
    pack(good, tmp_path / "good", verify=PLAIN)
    assert packed.load(tmp_path / "good").test.images[1] == (source / "a.png").read_bytes()
    bad = Splits(split(images), split(images))
    pack(bad, tmp_path / "unverified")
    with pytest.raises(DataError, match=r"b\.png cannot be decoded"):
        pack(bad, tmp_path / "verified", verify=PLAIN)


def test_the_command_line_packs_photographs_whole(tmp_path, capsys):
    splits = made()
    dataset = Dataset("fruit", splits.train, splits.test, notes=("drawn",))
    assert packing.pack_dataset(dataset, tmp_path / "packed") == 0
    assert f"--config.data.dir={tmp_path / 'packed'}" in capsys.readouterr().out
    assert packed.load(tmp_path / "packed").notes == ("drawn",)

    stopped = Dataset("fruit", made(fails_at=2, error=KeyboardInterrupt).train, splits.test)
    assert packing.pack_dataset(stopped, tmp_path / "stopped") == 130
    assert "the same command goes on" in capsys.readouterr().err

    part = Dataset("fruit", splits.train, splits.test, set_aside=True)
    with pytest.raises(ConfigError, match=r"config\.data\.validation_fraction"):
        packing.pack_dataset(part, tmp_path / "part")
    array = Split(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int32), CLASSES)
    with pytest.raises(ConfigError, match="digits are arrays in memory"):
        packing.pack_dataset(Dataset("digits", array, array), tmp_path / "array")
    assert not (tmp_path / "array").exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def edit(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def lose_a_shard(folder, told):
    (folder / "test-00000.array_record").unlink()
    edit(folder, lambda m: m["splits"]["test"]["shards"][0].update(bytes=told))


def spoil(path, part, other):
    content = path.read_bytes()
    assert part in content
    path.write_bytes(content.replace(part, other))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda f: (f / "manifest.json").unlink(),
            r"no data set is packed.* by --config\.data\.dir=DIR, or .*--mode=pack --output=",
        ),
        (lambda f: cut(f / "manifest.json"), r"manifest\.json cannot be read"),
        (lambda f: (f / "manifest.json").write_text("[]"), "not as --mode=pack leaves it"),
        (lambda f: edit(f, lambda m: m.pop("splits")), "not as --mode=pack leaves it"),
        (lambda f: edit(f, lambda m: m["splits"].pop("test")), "leaves it .'test'.; delete it"),
        (
            lambda f: edit(f, lambda m: m["splits"].update({"../x": m["splits"]["test"]})),
            "a split is called ../x",
        ),
        (lambda f: lose_a_shard(f, None), "a number of images or bytes is none"),
        (lambda f: lose_a_shard(f, 10**400), "a number of images or bytes is none"),
        (lambda f: edit(f, lambda m: m.update(format="9" * 5000)), "^.{,1700}; pack it anew"),
        (
            lambda f: spoil(f / "train.labels.npy", b"'<i4'", b"'<i4\\"),
            r"train\.labels\.npy cannot be read",
        ),
        (lambda f: edit(f, lambda m: m.update(format=2)), "format 2, and format 1 is known"),
        (lambda f: edit(f, lambda m: m.update(name="nuts")), "holds nuts and not fruit"),
        (lambda f: (f / "test-00001.array_record").unlink(), r"test-00001\.\w+ is missing"),
        (lambda f: cut(f / "train-00003.array_record"), r"train-00003\.\w+ has \d+ of \d+ bytes"),
        (lambda f: cut(f / "train.labels.npy"), r"train\.labels\.npy cannot be read"),
        (lambda f: cut(f / "test.names.json"), r"test\.names\.json cannot be read"),
        (lambda f: (f / "test.names.json").unlink(), r"test\.names\.json cannot be read"),
        (
            lambda f: (f / "test.names.json").write_text('["a"]'),
            "the test split .* the labels 4, the names 1 images",
        ),
        (
            lambda f: (f / "test.names.json").write_text("[1, 2, 3, 4]"),
            r"test\.names\.json is no list of names",
        ),
        (
            lambda f: (f / "test.names.json").write_text("[" * 100_000),
            r"test\.names\.json cannot be read",
        ),
        (lambda f: edit(f, lambda m: m.update(class_names=[0, 1])), "a name is no text"),
        (lambda f: edit(f, lambda m: m.update(class_names=5)), "not as --mode=pack leaves it"),
        (
            lambda f: np.save(f / "test.labels.npy", np.full(4, 2, np.int32)),
            r"test\.labels\.npy does not hold labels from 0 to 1",
        ),
        (
            lambda f: edit(f, lambda m: m["splits"]["train"]["shards"].pop()),
            "the manifest 11, the shards 9, the labels 11",
        ),
    ],
)
def test_a_damaged_folder_is_told_in_one_sentence(tmp_path, break_it, message):
    pack(made(), tmp_path)
    break_it(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        packed.load(tmp_path, "fruit")
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_threads_of_a_reader_are_done_with_when_packing_fails(tmp_path):
    before = threading.active_count()
    with pytest.raises(DataError):
        pack(made(fails_at=0), tmp_path)
    assert threading.active_count() == before


def test_a_test_split_that_is_not_there_is_told_where_it_alone_is_read(tmp_path):
    pack(made(), tmp_path)
    edit(tmp_path, lambda m: m["splits"].pop("test"))
    with pytest.raises(DataError, match="is not as --mode=pack leaves it"):
        packed.load_test(tmp_path, "fruit")


@pytest.mark.parametrize("size", ["large", 0, True, None])
def test_a_plan_that_is_damaged_is_not_gone_on_with(tmp_path, size):
    with pytest.raises(DataError):
        pack(made(fails_at=7), tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps(plan | {"shard_bytes": size}))
    with pytest.raises(ConfigError, match=r"plan\.json does not say how large shards are"):
        pack(made(), tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps(plan | {"splits": {"train": {"images": size}}}))
    if size != 0:
        with pytest.raises(DataError, match="is not as --mode=pack leaves it"):
            packed.load(tmp_path)
