"""Targets spread on the sphere: how evenly, and which class takes which."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from bccl_jax.clustering.targets import (
    largest_cosine,
    largest_cosine_bound,
    match_targets,
    spread_targets,
)
from tests.losses import public


def objective(vectors, temperature=0.07):
    """What the authors minimise, in float64."""
    vectors = np.float64(vectors)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.mean(np.log(np.exp(vectors @ vectors.T / temperature).sum(axis=1)))


@pytest.mark.parametrize(("num", "dim"), [(1, 4), (2, 1), (3, 2), (10, 16), (17, 16), (100, 128)])
def test_up_to_one_more_than_dimensions_they_are_a_simplex(num, dim):
    found = spread_targets(num, dim)
    assert (found.shape, found.dtype) == ((num, dim), np.float32)
    cosines = np.float64(found) @ np.float64(found).T
    expected = np.full((num, num), -1 / max(num - 1, 1))
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(cosines, expected, atol=1e-6)
    if num > 1:
        assert largest_cosine_bound(num, dim) == pytest.approx(-1 / (num - 1))
        assert largest_cosine(found) == pytest.approx(-1 / (num - 1), abs=1e-6)


def test_they_are_more_even_than_those_of_public_code():
    vectors = public.load("targeted_supcon")
    ten, twenty = spread_targets(10, 16), spread_targets(20, 8)
    exact = float(vectors["targets_objective_simplex_exact"])
    assert objective(ten) == pytest.approx(exact, abs=1e-9)
    assert objective(ten) < float(vectors["targets_objective"])
    assert objective(vectors["targets_N20_M8"]) == pytest.approx(
        float(vectors["targets_N20_M8_objective"]), abs=1e-9
    )
    assert objective(twenty) < float(vectors["targets_N20_M8_objective"])
    assert largest_cosine(twenty) < largest_cosine(vectors["targets_N20_M8"])


@pytest.mark.parametrize(
    ("num", "dim", "best"),
    [
        # Known to be the best: a hexagon, a decagon, the octahedron, the icosahedron.
        (6, 2, np.cos(np.pi / 3)),
        (10, 2, np.cos(np.pi / 5)),
        (6, 3, 0.0),
        (12, 3, 5**-0.5),
    ],
)
def test_beyond_a_simplex_they_are_the_best_known_codes(num, dim, best):
    found = spread_targets(num, dim)
    np.testing.assert_allclose(np.linalg.norm(np.float64(found), axis=1), 1, atol=1e-6)
    assert largest_cosine(found) == pytest.approx(best, abs=2e-3)
    assert largest_cosine_bound(num, dim) <= best + 1e-12


def test_many_of_them_are_near_the_bound():
    found = spread_targets(100, 64)
    bound = largest_cosine_bound(100, 64)
    random = np.random.default_rng(0).normal(size=(100, 64))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    assert bound == 0
    assert bound < largest_cosine(found) < 0.01
    assert largest_cosine(random) > 0.3


@pytest.mark.parametrize(
    ("num", "dim", "cosine"),
    [
        # Sharp codes, of which the largest cosine is known to be the least there can be (Cohn &
        # Kumar 2007, Table 1).
        (8, 4, 0.0),
        (112, 21, 1 / 9),
        (162, 21, 1 / 7),
        (16, 5, 1 / 5),
        (27, 6, 1 / 4),
        (56, 7, 1 / 3),
        (240, 8, 1 / 2),
    ],
)
def test_the_bound_is_no_larger_than_the_best_codes(num, dim, cosine):
    bound = largest_cosine_bound(num, dim)
    assert 0 <= bound <= cosine + 1e-9
    if num <= dim * (dim + 3) // 2:
        # Designs of strength 3 or 4, which meet it.
        assert bound == pytest.approx(cosine, abs=1e-9)


def test_the_bound_never_falls_with_more_of_them():
    bounds = [largest_cosine_bound(num, 8) for num in range(2, 200)]
    assert np.all(np.diff(bounds) >= 0)


def test_the_same_are_found_again_and_cannot_be_written_to():
    spread_targets.cache_clear()
    first = spread_targets(20, 8)
    assert spread_targets(20, 8) is first
    spread_targets.cache_clear()
    again = spread_targets(20, 8)
    assert again is not first
    assert again.tobytes() == first.tobytes()
    assert spread_targets(5, 8).tobytes() == spread_targets(5, 8, seed=0).tobytes()
    assert not np.allclose(spread_targets(5, 8), spread_targets(5, 8, seed=1))
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


@pytest.mark.parametrize("num", [1, 4, 6])
@pytest.mark.parametrize("shared", [0.0, 30.0])
def test_no_other_matching_is_better(rng, num, shared):
    directions = rng.normal(size=(num, 3)) + shared * rng.normal(size=3)
    targets = spread_targets(6, 3)
    found = match_targets(directions, targets)
    best = max(
        sum(directions[c] @ targets[t] for c, t in enumerate(order))
        for order in itertools.permutations(range(6), num)
    )
    assert len(set(found.tolist())) == num
    assert np.sum(directions * targets[found]) == pytest.approx(best)


def test_the_matching_is_that_of_scipy_and_of_public_code(rng):
    directions = rng.normal(size=(40, 64))
    targets = spread_targets(40, 64)
    _, expected = linear_sum_assignment(-(directions @ np.float64(targets).T))
    np.testing.assert_array_equal(match_targets(directions, targets), expected)
    vectors = public.load("targeted_supcon")
    found = match_targets(
        vectors["ordinary_tsc6_sep_class_centroid_after"], vectors["targets_unit"]
    )
    np.testing.assert_array_equal(found, vectors["ordinary_tsc6_sep_assignment"])


def test_classes_without_a_direction_take_what_is_left(rng):
    targets = spread_targets(6, 5)
    directions = np.zeros((6, 5))
    directions[[1, 4]] = targets[[5, 2]]
    directions[3] = np.nan
    found = match_targets(directions, targets)
    assert (found[1], found[4]) == (5, 2)
    assert sorted(found) == list(range(6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spread_targets(0, 3), "num_classes=0, dim=3"),
        (lambda: spread_targets(3, 0), "num_classes=3, dim=0"),
        (lambda: largest_cosine_bound(1, 3), "pass at least 2 and 1"),
        (lambda: match_targets(np.ones((2, 3)), np.ones((2, 4))), r"shape \(2, 3\) and targets"),
        (lambda: match_targets(np.ones((3, 4)), np.ones((2, 4))), "2 targets for 3 classes"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
