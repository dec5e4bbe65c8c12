"""Samplers: shares of classes by their formulas, and draws that keep to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccl_jax.data.order import Order, Part, epoch_order
from bccl_jax.data.sampling import SAMPLERS, class_shares, draw, is_sampler, power_sampler

COUNTS = np.array([100, 25, 4, 1])


def normalized(values):
    return np.array(values, np.float64) / sum(values)


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ("instance_balanced", COUNTS),
        ("class_balanced", [1, 1, 1, 1]),
        ("square_root", [10, 5, 2, 1]),
        ("reversed", [1 / 100, 1 / 25, 1 / 4, 1]),
        ("effective_number", [n * (1 - 0.9999) / (1 - 0.9999**n) for n in (100, 25, 4, 1)]),
    ],
)
def test_shares_are_those_of_the_papers(sampler, expected):
    np.testing.assert_allclose(class_shares(sampler, COUNTS), normalized(expected), rtol=1e-9)


def test_progressive_goes_from_instances_to_classes():
    start, middle, end = (class_shares("progressive", COUNTS, t) for t in (0.0, 0.25, 1.0))
    np.testing.assert_allclose(start, COUNTS / 130)
    np.testing.assert_allclose(middle, 0.75 * COUNTS / 130 + 0.25 / 4)
    np.testing.assert_allclose(end, np.full(4, 1 / 4))


@pytest.mark.parametrize("weight", [0.0, 0.2, 1 / 3, 1.5])
def test_images_drawn_by_a_power_of_their_class_count_make_its_shares(weight):
    of_image = np.repeat(COUNTS, COUNTS) ** -weight
    labels = np.repeat(np.arange(len(COUNTS)), COUNTS)
    expected = np.bincount(labels, of_image) / of_image.sum()
    found = class_shares(power_sampler(1 - weight), COUNTS)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("power", "name"),
    [(1.0, "instance_balanced"), (0.0, "class_balanced"), (0.5, "square_root"), (-1.0, "reversed")],
)
def test_a_power_that_has_a_name_is_the_same_sampler(power, name):
    counts = np.array([7, 0, 3, 1])
    np.testing.assert_allclose(
        class_shares(power_sampler(power), counts), class_shares(name, counts), rtol=1e-12
    )


def test_what_is_a_sampler():
    assert all(map(is_sampler, [*SAMPLERS, power_sampler(0.8), power_sampler(-1)]))
    assert not any(map(is_sampler, ["balanced", "power:", "power:x", "power:inf", "", None, 0.5]))


@pytest.mark.parametrize("sampler", [*SAMPLERS, power_sampler(0.8)])
def test_a_class_without_images_is_never_drawn(sampler):
    shares = class_shares(sampler, np.array([5, 0, 2]), 0.5)
    assert shares[1] == 0
    assert shares.sum() == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(any),
    st.sampled_from(SAMPLERS),
    st.integers(1, 400),
    st.integers(0, 2**32 - 1),
)
def test_classes_come_by_their_shares_and_their_images_in_turn(counts, sampler, number, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    shares = class_shares(sampler, np.array(counts), 0.3)
    drawn = draw(labels, shares, number, rng)
    assert drawn.shape == (number,)
    times = np.bincount(labels[drawn], minlength=len(counts))
    assert np.all(np.abs(times - number * shares) < 1 + 1e-6)
    of_image = np.bincount(drawn, minlength=len(labels))
    for label in np.flatnonzero(counts):
        assert np.ptp(of_image[labels == label]) <= 1


def test_rounding_favours_no_class():
    labels = np.repeat(np.arange(3), 5)
    shares = class_shares("class_balanced", np.array([5, 5, 5]))
    draws = [draw(labels, shares, 4, np.random.default_rng(seed)) for seed in range(3000)]
    times = np.bincount(labels[np.concatenate(draws)])
    # 4 / 3 each; a standard deviation of the mean is below 0.01.
    np.testing.assert_allclose(times / 3000, 4 / 3, atol=0.05)


def test_an_order_has_the_sampler_of_each_of_its_parts():
    labels = np.repeat(np.arange(3, dtype=np.int32), (40, 8, 2))
    order = Order(labels, 10, 7, (Part(0, 2), Part(2, 3, "class_balanced"), Part(5, 1)))
    for epoch in (0, 1, 5, 6):
        np.testing.assert_array_equal(order(epoch), epoch_order(50, 10, 7, epoch))
    for epoch in (2, 3, 4):
        rows = order(epoch)
        assert rows.shape == (5, 10)
        assert rows.dtype == np.int32
        assert set(np.bincount(labels[rows.ravel()])) <= {16, 17}
        np.testing.assert_array_equal(rows, order(epoch))
    assert not np.array_equal(order(2), order(3))
    assert not np.array_equal(order(2), Order(labels, 10, 8, order.parts)(2))


def test_what_is_progressive_is_so_over_its_own_part():
    labels = np.repeat(np.arange(2, dtype=np.int32), (90, 10))
    order = Order(labels, 100, 0, (Part(0, 4), Part(4, 5, "progressive")))
    of_tail = [np.bincount(labels[order(epoch).ravel()])[1] for epoch in range(4, 9)]
    assert of_tail == [10, 20, 30, 40, 50]


def test_further_streams_lie_beside_each_image():
    labels = np.repeat(np.arange(3, dtype=np.int32), (40, 8, 2))
    alone = Order(labels, 10, 7)
    order = Order(labels, 10, 7, (Part(0, 4),), ("class_balanced", "reversed"))
    assert order.rows == 30
    rows = order(1)
    assert rows.shape == (5, 30)
    assert rows.dtype == np.int32
    streams = rows.reshape(5, 10, 3)
    np.testing.assert_array_equal(streams[..., 0], alone(1))
    assert np.ptp(np.bincount(labels[streams[..., 1].ravel()])) <= 1
    # In proportion to 1 / 40, 1 / 8 and 1 / 2.
    np.testing.assert_allclose(
        np.bincount(labels[streams[..., 2].ravel()]),
        50 * normalized([1 / 40, 1 / 8, 1 / 2]),
        atol=1,
    )
    np.testing.assert_array_equal(rows, order(1))
    two = Order(labels, 10, 7, (Part(0, 4),), ("class_balanced", "class_balanced"))(1)
    assert not np.array_equal(two[:, 1::3], two[:, 2::3])
