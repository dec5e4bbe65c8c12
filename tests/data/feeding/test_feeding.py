import contextlib
import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.feeding.pipeline import read_batches
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.data.feeding.stream import EvaluationStream, TrainingStream
from bccl_jax.data.order import Order, epoch_order
from bccl_jax.data.photographs.crops import Crop
from bccl_jax.data.split import Split
from bccl_jax.errors import DataError
from tests.tiny import ROOT

CROPS = (Crop(), Crop(), Crop((0.2, 1.0)))
SIZE = 8


class Memory(EncodedImages):
    """Encoded images in memory."""

    def __init__(self, files):
        self.files = list(files)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return self.files[index]

    def name(self, index):
        return f"picture {index}"

    def take(self, indices):
        return Memory(self.files[i] for i in indices)


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (23, 4, 4, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, 23).astype(np.int32)
    return Split(images=images, labels=labels, class_names=("a", "b", "c"))


def flat_pictures():
    """Flat pictures, the grey level of which is their index times ten; number 3 is broken."""
    files = []
    for index in range(13):
        encoded = io.BytesIO()
        Image.new("RGB", (20 + index, 30), (10 * index,) * 3).save(encoded, "PNG")
        files.append(encoded.getvalue())
    files[3] = files[3][:-30]
    return Split(Memory(files), np.arange(13, dtype=np.int32), tuple("abcdefghijklm"))


@pytest.fixture(scope="module")
def photographs():
    return flat_pictures()


def stream_of(split, first_step=0, rows=range(5), seed=1, epochs=3, crops=CROPS):
    order = Order(split.labels, 5, seed)
    return TrainingStream(split.images, order, epochs, rows, first_step, crops, SIZE)


def read(stream, rows=5, workers=0, threads=2):
    with contextlib.closing(read_batches(stream, rows, workers, threads)) as batches:
        return list(batches)


def joined(batches):
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 50), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_takes_each_image_at_most_once(num_examples, batch_size, seed, epoch):
    batch_size = min(batch_size, num_examples)
    order = epoch_order(num_examples, batch_size, seed, epoch)
    assert order.shape == (num_examples // batch_size, batch_size)
    assert len(set(order.ravel())) == order.size
    assert order.min() >= 0
    assert order.max() < num_examples


def test_order_depends_on_seed_and_epoch_and_nothing_else():
    base = epoch_order(100, 10, 3, 7)
    np.testing.assert_array_equal(base, epoch_order(100, 10, 3, 7))
    assert (base != epoch_order(100, 10, 3, 8)).any()
    assert (base != epoch_order(100, 10, 4, 7)).any()


def test_the_grain_pipeline_gives_the_batches_of_the_resident_path(split):
    resident = put_on_device(split)
    fed = read(stream_of(split))
    rows = [row for epoch in range(3) for row in epoch_order(23, 5, 1, epoch)]
    assert len(fed) == len(rows) == 12
    for batch, row in zip(fed, rows, strict=True):
        expected = jax.device_get(resident.batch(row))
        np.testing.assert_array_equal(batch["image"], expected["image"])
        np.testing.assert_array_equal(batch["label"], expected["label"])
        np.testing.assert_array_equal(batch["index"], row)
        np.testing.assert_array_equal(expected["index"], row)
        assert batch["image"].dtype == np.uint8
        assert batch["label"].dtype == batch["index"].dtype == np.int32


def test_a_stream_from_a_step_on_gives_the_very_next_batch(split, photographs):
    for each in (split, photographs):
        whole, rest = joined(read(stream_of(each))), joined(read(stream_of(each, first_step=4)))
        for name, values in rest.items():
            np.testing.assert_array_equal(values, whole[name][20:])


def test_processes_read_contiguous_parts_of_the_same_batches(photographs):
    whole = read(stream_of(photographs))
    parts = [read(stream_of(photographs, rows=rows), len(rows)) for rows in (range(2), range(2, 5))]
    for batch, *own in zip(whole, *parts, strict=True):
        for name, values in joined(own).items():
            np.testing.assert_array_equal(values, batch[name])


def test_any_number_of_readers_gives_the_same_batches(photographs):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    alone = joined(read(stream_of(photographs, epochs=2), threads=1))
    for options in ({"threads": 4}, {"workers": 2}):
        for name, values in joined(read(stream_of(photographs, epochs=2), **options)).items():
            np.testing.assert_array_equal(values, alone[name])


# A script as a user may write it, all at the top level, and given through a pipe.
READERS = """
import os, signal, subprocess
from bccl_jax.data.feeding.pipeline import read_batches
from bccl_jax.system.processes import REQUESTS
from bccl_jax.data.split import Split
from bccl_jax.inspecting.verification import verify_images
from tests.data.feeding.test_feeding import Memory, flat_pictures, stream_of

class Own(Memory):
    pass

def readers():
    listed = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]

def ask_the_whole_group_to_stop():
    for signum in REQUESTS:
        signal.signal(signum, lambda *_: None)
        os.killpg(0, signum)

print("begun")
split = flat_pictures()
split = Split(Own(split.images.files), split.labels, split.class_names)
assert len(verify_images({"train": split}, 1).broken) == 1
batches = read_batches(stream_of(split, epochs=1000), 5, 1, 1)
ask_the_whole_group_to_stop()
next(batches)
ask_the_whole_group_to_stop()
for _ in range(100):
    next(batches)
print(*readers(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_reader_processes_hear_their_parent_alone_and_never_run_its_script():
    """Signals to the whole group leave them reading; with their parent they are gone."""
    done = subprocess.run(
        [sys.executable, "-"],
        input=READERS,
        cwd=ROOT,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "Traceback" not in done.stderr
    begun, left = done.stdout.splitlines()
    assert begun == "begun"
    left = {int(pid) for pid in left.split()}
    assert left
    end = time.monotonic() + 30
    while left and time.monotonic() < end:
        left = {pid for pid in left if running(pid)}
        time.sleep(0.05)
    assert not left


def running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_each_view_has_a_crop_of_its_own_and_each_epoch_new_ones():
    rng = np.random.default_rng(0)
    encoded = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(encoded, "PNG")
    split = Split(Memory([encoded.getvalue()] * 5), np.zeros(5, np.int32), ("a",))
    crops = joined(read(stream_of(split)))["image"]
    assert crops.shape == (15, 3, SIZE, SIZE, 3)
    assert len({crop.tobytes() for crop in crops.reshape(45, -1)}) == 45


def test_a_broken_picture_is_replaced_by_a_sound_one_of_its_own_label(photographs):
    found = joined(read(stream_of(photographs, epochs=20)))
    replaced = found["broken"] >= 0
    assert set(found["broken"][replaced]) == {3}
    # 2 of 13 pictures are left out of an epoch.
    assert 10 <= replaced.sum() <= 20
    assert 3 not in found["label"]
    # Each picture is of a class of its own, whose number is the picture's.
    np.testing.assert_array_equal(found["index"], found["label"])
    np.testing.assert_array_equal(found["image"][:, 0, 0, 0, 0], 10 * found["label"])


def test_nothing_but_broken_pictures_is_one_sentence():
    split = Split(Memory([b"not a picture"] * 9), np.zeros(9, np.int32), ("a",))
    with pytest.raises(DataError, match=r"picture \d the last; --mode=inspect --verify"):
        stream_of(split)[0]


def test_evaluation_reads_every_picture_once_and_marks_the_broken(photographs):
    for workers in (0, 1):
        parts = []
        for rows in (range(2), range(2, 4)) if not workers else (range(4),):
            stream = EvaluationStream(photographs.images, 4, rows, resize=10, size=SIZE)
            parts.append(read(stream, len(rows), workers))
        found = joined([joined(own) for own in zip(*parts, strict=True)])
        assert found["image"].shape == (16, SIZE, SIZE, 3)
        decoded = np.arange(16) < 13
        decoded[3] = False
        np.testing.assert_array_equal(found["decoded"], decoded)
        levels = np.where(decoded, 10 * np.arange(16), 0)
        np.testing.assert_array_equal(found["image"][:, 0, 0, 0], levels)
