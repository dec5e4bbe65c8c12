import itertools

import numpy as np
import pytest
from scipy import stats

from bccl_jax.evaluation import statistics


def test_mean_and_sample_deviation():
    found = statistics.spread([1.0, 2.0, 6.0])
    assert found == (3.0, pytest.approx(np.sqrt(7.0)), 3)


def test_a_single_value_has_no_deviation_and_a_missing_one_no_mean():
    assert statistics.spread([4.0]) == (4.0, None, 1)
    assert statistics.spread([4.0, None]) is None
    assert statistics.spread([]) is None


def test_paired_t_is_scipys(rng):
    first, second = rng.normal(size=(2, 5))
    expected = stats.ttest_rel(first, second).pvalue
    assert statistics.paired_t(first - second) == pytest.approx(expected)


@pytest.mark.parametrize("differences", [[1.0], [0.5, 0.5, 0.5], [0.0, 0.0]])
def test_paired_t_says_nothing_where_seeds_tell_nothing(differences):
    assert statistics.paired_t(np.array(differences)) is None


def test_sign_flips_are_those_that_all_signs_give(rng):
    differences = rng.integers(-1, 2, size=(3, 11))
    differences[:, :5] = 1
    of_image = differences.sum(axis=0)
    signs = np.array(list(itertools.product((-1, 1), repeat=11)))
    exact = np.mean(np.abs(signs @ of_image) >= abs(of_image.sum()))
    assert 0.005 < exact < 0.3
    assert statistics.sign_flip(differences) == pytest.approx(exact, rel=0.05)


def test_equal_rows_are_no_find():
    assert statistics.sign_flip(np.zeros((2, 9), int)) == 1.0


def test_a_find_is_never_surer_than_the_number_of_flips():
    assert statistics.sign_flip(np.ones((1, 500), int), flips=999) == 1 / 1000


def test_interval_of_a_constant_difference_is_a_point():
    assert statistics.interval(np.ones((3, 20), int)) == (1.0, 1.0)


def test_interval_of_one_seed_is_that_of_images():
    differences = np.zeros((1, 400), int)
    differences[0, :100] = 1
    half = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    found = statistics.interval(differences)
    np.testing.assert_allclose(found, (0.25 - half, 0.25 + half), atol=3e-4)


@pytest.mark.parametrize(("of_seeds", "of_images"), [(0.0, 0.5), (0.1, 0.1), (0.5, 0.0)])
def test_interval_covers_the_true_difference_as_often_as_it_says(rng, of_seeds, of_images):
    # Each seed and each image has a tendency of its own about the true difference of 0.
    rounds, covered = 600, 0
    for _ in range(rounds):
        tendency = of_seeds * rng.normal(size=(4, 1)) + of_images * rng.normal(size=(1, 150))
        differences = np.sign(tendency + rng.normal(size=(4, 150))).astype(int)
        low, high = statistics.interval(differences)
        covered += low <= 0 <= high
    assert 0.92 < covered / rounds < 0.985


def test_interval_widens_with_what_varies(rng):
    same = np.tile(rng.choice([-1, 0, 1], size=500), (3, 1))
    shifted = same.copy()
    shifted[0, :300] = 1
    low, high = statistics.interval(same)
    wider = statistics.interval(shifted)
    assert wider[1] - wider[0] > 3 * (high - low)
    # Seeds that agree on every image leave the images alone: the interval of one of them.
    np.testing.assert_allclose((low, high), statistics.interval(same[:1]), rtol=1e-2)


def test_holm_adjusts_step_down_and_leaves_out_what_was_not_tested():
    found = statistics.holm([0.01, 0.04, None, 0.03, 0.005])
    assert found == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
        pytest.approx(0.02),
    ]
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


def test_kendall_tau_counts_pairs_in_the_same_order():
    # Of six pairs one is the other way round.
    assert statistics.kendall_tau([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(4 / 6)
    assert statistics.kendall_tau([1], [1]) is None
    assert statistics.kendall_tau([1, 2], [5, 5]) is None
