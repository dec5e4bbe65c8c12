from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccl_jax.clustering.queue import contents, filled_mask, init_queue, push

NUM_CLASSES, DIM = 3, 2
push_jitted = jax.jit(push)


def numbered(start, count):
    """Features that tell where in the stream they come from."""
    numbers = np.arange(start, start + count, dtype=np.float32)
    return np.stack([numbers, -numbers], axis=1)


def assert_holds(queue, expected):
    for k, entries in enumerate(expected):
        np.testing.assert_array_equal(
            contents(queue, k), np.array(list(entries), np.float32).reshape(-1, DIM)
        )


# Labels of one class fill a batch often enough to overrun every size; -1 and 3 are padding.
labels_of_batch = st.sampled_from([0, 3, 7]).flatmap(
    lambda size: st.lists(st.integers(-1, NUM_CLASSES), min_size=size, max_size=size)
)
one_class_batch = st.integers(-1, NUM_CLASSES).map(lambda label: [label] * 7)


@given(
    size=st.integers(1, 5),
    batches=st.lists(labels_of_batch | one_class_batch, min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_push_keeps_the_newest_m_per_class(size, batches):
    queue = init_queue(NUM_CLASSES, size, DIM)
    expected = [deque(maxlen=size) for _ in range(NUM_CLASSES)]
    pushed = 0
    for labels in batches:
        features = numbered(pushed, len(labels))
        pushed += len(labels)
        queue = push_jitted(queue, features, np.array(labels, np.int32))
        for feature, label in zip(features, labels, strict=True):
            if 0 <= label < NUM_CLASSES:
                expected[label].append(feature)
        assert_holds(queue, expected)
        np.testing.assert_array_equal(filled_mask(queue).sum(axis=1), [len(e) for e in expected])


@given(
    size=st.integers(1, 4),
    batches=st.lists(labels_of_batch | one_class_batch, min_size=1, max_size=5),
    since=st.integers(0, 5),
)
@settings(max_examples=30, deadline=None)
def test_stamps_follow_their_features_and_leave_the_older_ones_out(size, batches, since):
    queue = init_queue(NUM_CLASSES, size, DIM, stamped=True)
    expected = [deque(maxlen=size) for _ in range(NUM_CLASSES)]
    for stamp, labels in enumerate(batches):
        features = numbered(100 * stamp, len(labels))
        queue = push_jitted(queue, features, np.array(labels, np.int32), stamp)
        for feature, label in zip(features, labels, strict=True):
            if 0 <= label < NUM_CLASSES:
                expected[label].append((stamp, *feature))
    mask = np.asarray(filled_mask(queue, since))
    for k, entries in enumerate(expected):
        found = np.asarray(queue.features[k])[mask[k]]
        young = [entry[1:] for entry in entries if entry[0] >= since]
        assert sorted(map(tuple, found)) == sorted(young)


def test_a_stamp_is_given_where_stamps_are_kept_and_only_there():
    for queue, stamp in ((init_queue(2, 3, DIM), 0), (init_queue(2, 3, DIM, stamped=True), None)):
        with pytest.raises(ValueError, match="stamp if and only if"):
            push(queue, numbered(1, 2), np.array([0, 1]), stamp)


def test_a_fresh_queue_is_empty():
    queue = init_queue(NUM_CLASSES, 4, DIM)
    assert_holds(queue, [[], [], []])
    assert not np.any(filled_mask(queue))


def test_filled_mask_marks_the_slots_that_hold_features():
    queue = push_jitted(init_queue(2, 3, DIM), numbered(1, 6), np.array([0, 1, 1, 1, 1, 0]))
    np.testing.assert_array_equal(filled_mask(queue), [[True, True, False], [True, True, True]])
    np.testing.assert_array_equal(queue.features[0], [[1, -1], [6, -6], [0, 0]])


def test_padding_alone_leaves_the_queue_as_it_is():
    queue = push_jitted(init_queue(2, 3, DIM), numbered(1, 2), np.array([0, 1]))
    after = push_jitted(queue, np.full((3, DIM), np.nan, np.float32), np.array([-1, 2, 99]))
    jax.tree.map(np.testing.assert_array_equal, queue, after)


def test_features_take_the_queue_dtype():
    queue = push_jitted(init_queue(1, 2, DIM, jnp.bfloat16), numbered(1, 1), np.array([0]))
    assert queue.features.dtype == jnp.bfloat16
    np.testing.assert_array_equal(contents(queue, 0).astype(np.float32), [[1, -1]])


@pytest.mark.parametrize(("dtype", "label"), [(np.uint8, 255), (np.int8, 127), (np.int64, 299)])
def test_labels_of_any_integer_type_reach_their_class_and_padding_none(dtype, label):
    labels = np.array([label, -1]).astype(dtype)
    expected = init_queue(300, 1, DIM).features.at[label, 0].set(jnp.array([7.0, -7.0]))
    num_samples = 1 if dtype == np.uint8 else 2  # -1 is no label of an unsigned type
    queue = push_jitted(init_queue(300, 1, DIM), numbered(7, num_samples), labels[:num_samples])
    np.testing.assert_array_equal(queue.features, expected)


def test_no_gradient_passes_through_the_queue():
    queue = init_queue(2, 3, DIM)

    def read_back(features):
        return jnp.sum(push(queue, features, np.array([0, 1, 0])).features ** 2)

    value, gradient = jax.jit(jax.value_and_grad(read_back))(numbered(1, 3))
    assert value > 0
    np.testing.assert_array_equal(gradient, np.zeros((3, DIM)))


def test_shapes_and_classes_that_do_not_fit_are_named():
    queue = init_queue(2, 3, DIM)
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4,\).*\(2, 3, 2\)"):
        push(queue, jnp.zeros((4, 5)), jnp.zeros(4, int))
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(3,\)"):
        push(queue, jnp.zeros((4, 2)), jnp.zeros(3, int))
    with pytest.raises(ValueError, match="size=0"):
        init_queue(2, 0, DIM)
    with pytest.raises(IndexError, match="class 2"):
        contents(queue, 2)
