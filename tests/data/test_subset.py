"""A balanced part of the training split: which images it has, and who else may draw them."""

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.feeding.stream import TrainingStream
from bccl_jax.data.order import Order, Part, epoch_order
from bccl_jax.data.photographs.crops import Crop
from bccl_jax.data.subset import BalancedSubset, check, held_out, trained_counts
from bccl_jax.errors import ConfigError

LABELS = np.repeat(np.arange(4, dtype=np.int32), (40, 12, 6, 2))
COUNTS = np.bincount(LABELS)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(lambda counts: max(counts) > 1),
    st.integers(1, 15),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_each_class_gives_what_it_has_up_to_n(counts, per_class, apart, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    part = BalancedSubset(per_class, apart)
    chosen = part.choose(labels, seed)
    assert np.all(np.diff(chosen) > 0)  # none twice
    found = np.bincount(labels[chosen], minlength=len(counts))
    most = [max(count - 1, 0) if apart else count for count in counts]
    np.testing.assert_array_equal(found, np.minimum(most, per_class))
    np.testing.assert_array_equal(part.sizes(counts), found)
    np.testing.assert_array_equal(part.choose(labels, seed), chosen)
    larger = BalancedSubset(per_class + 1, apart).choose(labels, seed)
    assert set(chosen) <= set(larger)


def test_the_seed_chooses():
    part = BalancedSubset(5)
    chosen = [tuple(part.choose(LABELS, seed)) for seed in range(20)]
    assert len(set(chosen)) == 20
    # Not the first of a class more than the others.
    assert np.ptp(np.bincount(np.concatenate(chosen), minlength=60)[:40]) <= 10


def test_the_counts_of_what_is_trained_on():
    assert trained_counts(COUNTS, ("class_balanced", BalancedSubset(3, held_out=False))) is COUNTS
    assert trained_counts(COUNTS, (BalancedSubset(3),)).tolist() == [37, 9, 3, 1]
    # Parts that are held out share images: the larger one has those of the smaller one.
    both = (BalancedSubset(3), "reversed", BalancedSubset(8))
    assert held_out(both) == BalancedSubset(8)
    assert trained_counts(COUNTS, both).tolist() == [32, 4, 1, 1]


def test_what_is_held_out_is_drawn_by_its_stream_alone():
    part = BalancedSubset(4, sampler="instance_balanced")
    order = Order(LABELS, 5, 3, (Part(0, 1), Part(1, 1, "reversed")), (part, "class_balanced"))
    chosen = part.choose(LABELS, 3)
    np.testing.assert_array_equal(order.held_out, chosen)
    assert order.steps == (60 - 4 - 4 - 4 - 1) // 5
    assert order.rows == 15
    for epoch in range(2):
        rows = order(epoch)
        assert rows.shape == (order.steps, 15)
        assert rows.dtype == np.int32
        first, own, other = np.moveaxis(rows.reshape(-1, 3), 1, 0)
        assert set(own) == set(chosen)
        # 45 of 13 images in turn.
        assert np.ptp(np.bincount(own)[chosen]) <= 1
        assert not set(chosen) & (set(first) | set(other))
        assert np.ptp(np.bincount(LABELS[other])) <= 1
        np.testing.assert_array_equal(rows, order(epoch))
    trained = np.setdiff1d(np.arange(60), chosen)
    first = order(0).reshape(-1, 3)[:, 0]
    np.testing.assert_array_equal(first, trained[epoch_order(47, 5, 3, 0)].ravel())


def test_what_stays_in_changes_nothing_of_the_first_stream():
    part = BalancedSubset(4, held_out=False)
    order = Order(LABELS, 5, 3, (), (part,))
    first, own = np.moveaxis(order(2).reshape(-1, 2), 1, 0)
    np.testing.assert_array_equal(first, epoch_order(60, 5, 3, 2).ravel())
    assert set(own) <= set(part.choose(LABELS, 3))
    assert np.bincount(LABELS[own]).tolist() == [15, 15, 15, 15]
    assert len(order.held_out) == 0


class Broken(EncodedImages):
    """Images of which only some can be decoded."""

    def __init__(self, good):
        self.good = good

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, index):
        return self.good if index % 3 == 0 else b"broken"

    def name(self, index):
        return str(index)

    def take(self, indices):
        raise NotImplementedError


def test_a_broken_photograph_is_replaced_by_one_of_its_own_stream(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "x.jpg")
    part = BalancedSubset(4)
    order = Order(LABELS, 5, 3, (), (part,))
    images = Broken((tmp_path / "x.jpg").read_bytes())
    taken = []
    images_read = type(images).__getitem__

    def noted(self, index):
        taken.append(index)
        return images_read(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Broken, "__getitem__", noted)
        stream = TrainingStream(images, order, 1, range(10), crops=[Crop()], size=4)
        replaced = 0
        for position in range(len(stream)):
            taken.clear()
            found = stream[position]
            replaced += found["broken"] >= 0
            own = position % 2 == 1
            assert all((index in order.held_out) == own for index in taken)
            assert found["label"] == LABELS[taken[-1]]
    assert replaced > 20
    again = cloudpickle.loads(cloudpickle.dumps(stream))
    np.testing.assert_array_equal(again[3]["image"], stream[3]["image"])


def test_a_class_of_one_image_cannot_be_held_out_and_trained_on():
    names = ("a", "b", "c", "d")
    check((BalancedSubset(3),), np.array([5, 0, 2, 9]), names, "mine")
    check((BalancedSubset(3, held_out=False),), np.array([5, 1, 2, 9]), names, "mine")
    message = "'mine', which holds 3 images of each class out .* but b has only one image; lower"
    with pytest.raises(ConfigError, match=message):
        check((BalancedSubset(3),), np.array([5, 1, 2, 9]), names, "mine")
