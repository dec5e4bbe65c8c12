import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccl_jax.data.order import epoch_order
from bccl_jax.data.pipeline import create_iterator
from bccl_jax.data.resident import put_on_device
from bccl_jax.data.sources import Split


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (23, 4, 4, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, 23).astype(np.int32)
    return Split(images=images, labels=labels, class_names=("a", "b", "c"))


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
    iterator = create_iterator(split, batch_size=5, seed=1, epochs=3, threads=2)
    fed = list(iterator)
    iterator.close()
    rows = [row for epoch in range(3) for row in epoch_order(23, 5, 1, epoch)]
    assert len(fed) == len(rows) == 12
    for batch, row in zip(fed, rows, strict=True):
        expected = jax.device_get(resident.batch(row))
        np.testing.assert_array_equal(batch["image"], expected["image"])
        np.testing.assert_array_equal(batch["label"], expected["label"])
        assert batch["image"].dtype == np.uint8
        assert batch["label"].dtype == np.int32


def test_a_restored_iterator_gives_the_very_next_batch(split):
    iterator = create_iterator(split, batch_size=5, seed=1, epochs=3, threads=2)
    for _ in range(6):
        next(iterator)
    saved = iterator.get_state()
    expected = [batch["image"] for batch in iterator]
    iterator.close()
    again = create_iterator(split, batch_size=5, seed=1, epochs=3, threads=2)
    again.set_state(saved)
    found = [batch["image"] for batch in again]
    again.close()
    np.testing.assert_array_equal(found, expected)
