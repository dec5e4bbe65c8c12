import itertools

import numpy as np
import pytest
from scipy import stats

from experiments import statistics


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


def _bootstrap_image_by_image(differences, draws):
    rng = np.random.default_rng(5)
    seeds, total = differences.shape
    means = [
        differences[rng.integers(seeds, size=seeds)][:, rng.integers(total, size=total)].mean()
        for _ in range(draws)
    ]
    return np.quantile(means, (0.025, 0.975))


def test_interval_is_that_of_seeds_and_images_drawn_one_by_one(rng, monkeypatch):
    differences = rng.choice([-1, 0, 1], size=(4, 60), p=(0.1, 0.5, 0.4))
    differences[1] = np.abs(differences[1])
    expected = _bootstrap_image_by_image(differences, 4000)
    monkeypatch.setattr(statistics, "_BLOCK", 2**12)  # several blocks
    np.testing.assert_allclose(statistics.interval(differences), expected, atol=0.02)


def test_interval_of_a_constant_difference_is_a_point():
    assert statistics.interval(np.ones((3, 20), int)) == (1.0, 1.0)


def test_interval_of_one_seed_is_that_of_images():
    differences = np.zeros((1, 400), int)
    differences[0, :100] = 1
    half = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    found = statistics.interval(differences)
    np.testing.assert_allclose(found, (0.25 - half, 0.25 + half), atol=0.006)


def test_interval_covers_the_true_difference(rng):
    # Each seed and each image has a tendency of its own about the true difference of 0.
    covered = 0
    for _ in range(60):
        tendency = 0.3 * rng.normal(size=(12, 1)) + 0.3 * rng.normal(size=(1, 100))
        differences = np.sign(tendency + rng.normal(size=(12, 100))).astype(int)
        low, high = statistics.interval(differences, draws=200)
        covered += low <= 0 <= high
    assert covered >= 52


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
