import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccl_jax.data.long_tail import (
    class_counts,
    draw_test_split,
    holdout_split,
    imbalance_factor,
    shot_groups,
    subset_indices,
)
from bccl_jax.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("num_classes", "max_count", "factor", "total"),
    [
        (100, 500, 100, 10_847),
        (100, 500, 50, 12_608),
        (100, 500, 10, 19_573),
        (10, 5000, 100, 12_406),
        (10, 5000, 50, 13_996),
        (10, 5000, 10, 20_431),
    ],
)
def test_cifar_lt_has_the_totals_of_the_field(num_classes, max_count, factor, total):
    counts = class_counts(num_classes, max_count, factor)
    assert counts.sum() == total
    assert counts[0] == max_count
    assert counts[-1] == max_count // factor


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50), st.integers(1, 1000), st.floats(1, 500))
def test_counts_fall_from_the_largest_class(num_classes, max_count, factor):
    counts = class_counts(num_classes, max_count, factor)
    assert counts.shape == (num_classes,)
    assert counts[0] == max_count
    assert (np.diff(counts) <= 0).all()


@pytest.mark.parametrize("factor", [0.99, 0.0, -3.0, float("nan")])
def test_an_imbalance_below_one_is_refused(factor):
    with pytest.raises(ConfigError, match=r"config\.data\.imbalance"):
        class_counts(10, 100, factor)


def ldam_recipe(targets, img_num_per_cls):
    """What LDAM-DRW does, class by class, in plain NumPy."""
    np.random.seed(0)
    chosen = []
    for the_class, the_count in enumerate(img_num_per_cls):
        idx = np.where(targets == the_class)[0]
        np.random.shuffle(idx)
        chosen.extend(idx[:the_count].tolist())
    return chosen


def test_the_subset_is_ldams_image_for_image(rng):
    labels = rng.permutation(np.repeat(np.arange(7), 40))
    counts = class_counts(7, 40, 8)
    assert subset_indices(labels, counts).tolist() == ldam_recipe(labels, counts)
    other = subset_indices(labels, counts, seed=1)
    assert other.tolist() != ldam_recipe(labels, counts)
    np.testing.assert_array_equal(np.bincount(labels[other]), counts)


def test_a_class_too_small_for_the_profile_is_named():
    with pytest.raises(DataError, match="class 1 has 2 images, fewer than the 3"):
        subset_indices(np.array([0, 0, 0, 1, 1]), np.array([3, 3]))


def test_shot_groups_have_the_protocols_bounds():
    groups = shot_groups(np.array([101, 100, 20, 19]))
    assert groups["many"].tolist() == [True, False, False, False]
    assert groups["medium"].tolist() == [False, True, True, False]
    assert groups["few"].tolist() == [False, False, False, True]


def test_bounds_that_put_a_class_in_two_groups_are_refused():
    with pytest.raises(ValueError, match="few_below is 20 and many_above 10"):
        shot_groups(np.array([15]), many_above=10, few_below=20)


def test_cifar100_lt_at_100_has_groups_of_35_35_30():
    groups = shot_groups(class_counts(100, 500, 100))
    assert [int(groups[name].sum()) for name in ("many", "medium", "few")] == [35, 35, 30]


def test_imbalance_factor_is_largest_over_smallest():
    assert imbalance_factor(np.array([50, 5, 10])) == 10
    assert imbalance_factor(np.array([50, 0])) == float("inf")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0, 0.99))
def test_a_holdout_takes_the_share_of_each_class_from_its_end(labels, fraction):
    labels = np.array(labels)
    remaining, aside = holdout_split(labels, fraction)
    assert sorted([*remaining, *aside]) == list(range(len(labels)))
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        kept, taken = remaining[labels[remaining] == label], aside[labels[aside] == label]
        assert len(taken) == int(len(mine) * fraction + 1e-6)
        assert [*kept, *taken] == list(mine)


@pytest.mark.parametrize("fraction", [-0.5, 1.0, 1.5, float("nan")])
def test_a_holdout_that_cannot_be_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"config\.data\.validation_fraction"):
        holdout_split(np.zeros(10, int), fraction)


def test_labels_may_be_a_list():
    assert sorted(subset_indices([1, 0, 1], [1, 2])) == [0, 1, 2]
    assert [part.tolist() for part in holdout_split([1, 0, 1, 0], 0.5)] == [[0, 1], [2, 3]]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.integers(1, 99),
    st.integers(0, 2**32 - 1),
)
def test_a_test_split_takes_its_share_of_each_class_and_leaves_one_image(labels, percent, seed):
    labels = np.array(labels)
    train, test = draw_test_split(labels, percent / 100, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    for label in np.unique(labels):
        total, drawn = (labels == label).sum(), (labels[test] == label).sum()
        assert drawn == (0 if total == 1 else np.clip(total * percent // 100, 1, total - 1))


def test_a_test_split_of_one_class_does_not_depend_on_the_others():
    labels = np.repeat([0, 1, 2], [40, 40, 20])
    _, test = draw_test_split(labels, 0.25, seed=3)
    _, alone = draw_test_split(labels[:80], 0.25, seed=3)
    np.testing.assert_array_equal(test[labels[test] < 2], alone)
    ranks = [set(test[labels[test] == label] - start) for label, start in ((0, 0), (1, 40))]
    assert ranks[0] != ranks[1]


def test_every_image_of_a_class_is_as_likely_to_be_tested_on():
    labels = np.repeat([0, 1], [10, 10])
    drawn = np.zeros(20)
    for seed in range(500):
        drawn[draw_test_split(labels, 0.3, seed)[1]] += 1
    # 150 of 500 are expected of each image, with a standard deviation of 10.
    assert drawn.sum() == 500 * 6
    assert np.abs(drawn - 150).max() < 45
