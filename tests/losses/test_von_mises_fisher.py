"""The normaliser and its slope beside a power series in float64, over dimensions and kappas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ive

from bccl_jax.losses.von_mises_fisher import (
    log_normalizer,
    log_normalizer_drop,
    mean_resultant_length,
)
from tests.losses import power_series, public

# Odd ones and small ones, which are reached from a larger order, the first that is not, 26, and
# all of the recipes.
DIMS = (1, 2, 3, 5, 16, 25, 26, 64, 127, 128, 512, 1024, 2048)
KAPPAS = np.concatenate([[0], np.geomspace(1e-3, 1e5, 41), [7.5, 61, 606.3, 1e6]])
KAPPAS = KAPPAS.astype(np.float32)
VECTORS = public.load("proco")


@functools.cache
def exact(dim):
    """Log of the normaliser and the resultant length, in float64."""
    values = [power_series.log_normalizer(kappa, dim) for kappa in KAPPAS]
    lengths = [power_series.mean_resultant_length(float(kappa), dim) for kappa in KAPPAS]
    return np.array(values), np.array(lengths)


@pytest.mark.parametrize("dim", DIMS)
def test_values_and_slopes_are_exact_over_all_kappas(dim):
    @jax.jit
    def compute(kappas):
        slope = jax.vmap(jax.grad(lambda kappa: log_normalizer(kappa, dim)))
        return log_normalizer(kappas, dim), slope(kappas), mean_resultant_length(kappas, dim)

    found, slope, length = compute(KAPPAS)
    values, lengths = exact(dim)
    assert found.dtype == slope.dtype == length.dtype == jnp.float32
    # Of two parts of opposite sign: that of kappa 0 and what is lost from there.
    parts = np.abs(values[0]) + np.abs(values - values[0])
    assert np.all(np.abs(found - values) <= 1e-6 * np.maximum(parts, 1))
    np.testing.assert_allclose(length, lengths, rtol=1e-6)
    np.testing.assert_allclose(-slope, lengths, rtol=1e-6)
    assert np.max(length) <= 1


def test_the_series_is_scipys_where_that_does_not_underflow():
    for dim, kappa in ((16, 0.5), (16, 1e5), (128, 50.0), (128, 606.3), (2048, 4e3)):
        order = dim / 2 - 1
        of_scipy = np.log(ive(order, kappa)) + kappa - order * np.log(kappa)
        found = -power_series.log_normalizer(kappa, dim) - dim / 2 * np.log(2 * np.pi)
        assert found == pytest.approx(of_scipy, rel=1e-11)
        ratio = ive(order + 1, kappa) / ive(order, kappa)
        assert power_series.mean_resultant_length(kappa, dim) == pytest.approx(ratio, rel=1e-9)


def test_three_dimensions_by_hand():
    # kappa / (4 pi sinh kappa), and coth kappa - 1 / kappa.
    kappa = np.array([0.5, 2.0, 9.0])
    np.testing.assert_allclose(
        log_normalizer(kappa, 3), np.log(kappa / (4 * np.pi * np.sinh(kappa))), rtol=1e-6
    )
    np.testing.assert_allclose(
        mean_resultant_length(kappa, 3), 1 / np.tanh(kappa) - 1 / kappa, rtol=1e-6
    )
    assert float(log_normalizer(0.0, 3)) == pytest.approx(-np.log(4 * np.pi))


@functools.partial(jax.jit, static_argnames="dim")
def compute_drop(squared, change, dim):
    """The difference, and its slopes in both."""

    def drop(squared, change):
        return log_normalizer_drop(squared, change, dim)

    return drop(squared, change), *jax.vmap(jax.grad(drop, argnums=(0, 1)))(squared, change)


@pytest.mark.parametrize("dim", [2, 16, 128, 2048])
@pytest.mark.parametrize("far", [10.0, 14.3, 200.0])
def test_a_difference_is_exact_where_both_normalizers_are_large(dim, far, rng):
    kappas = np.repeat(KAPPAS[KAPPAS <= 1e5][::4], 4).astype(np.float64)
    cosines = rng.uniform(-1, 1, len(kappas))
    cosines[:2] = 1, -1
    squared = (kappas**2).astype(np.float32)
    change = (2 * kappas * far * cosines + far**2).astype(np.float32)

    found, of_squared, of_change = compute_drop(squared, change, dim)
    start = np.sqrt(squared.astype(np.float64))
    end = np.sqrt(np.maximum(squared.astype(np.float64) + change, 0))
    expected = [
        power_series.log_growth(b, dim) - power_series.log_growth(a, dim)
        for a, b in zip(start, end, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)

    def slope(x):
        return power_series.mean_resultant_length(x, dim) / (2 * x) if x else 1 / (2 * dim)

    slopes = np.array([[slope(a), slope(b)] for a, b in zip(start, end, strict=True)])
    np.testing.assert_allclose(of_change, slopes[:, 1], rtol=1e-5)
    np.testing.assert_allclose(
        of_squared, slopes[:, 1] - slopes[:, 0], rtol=1e-5, atol=2e-7 * slopes.max()
    )


def test_opposite_vectors_of_one_length_leave_the_uniform_distribution():
    drop = jax.value_and_grad(lambda change: log_normalizer_drop(jnp.float32(100), change, 16))
    at_zero = -power_series.log_growth(10, 16)
    for change in (-100.0, -100.00001):
        value, slope = drop(jnp.float32(change))
        assert float(value) == pytest.approx(at_zero, rel=1e-6)
        assert float(slope) == pytest.approx(1 / 32, rel=1e-6)


@pytest.mark.parametrize(("dim", "last"), [(16, 8), (32, 50), (64, 200), (128, 800), (512, 15_000)])
def test_public_code_has_the_same_up_to_the_kappa_where_its_recurrence_fails(dim, last):
    grid = VECTORS["kappa_grid"]
    right = grid < last
    # Theirs is without the powers of 2 pi.
    found = -np.asarray(log_normalizer(grid, dim), np.float64) - dim / 2 * np.log(2 * np.pi)
    stored = VECTORS[f"D{dim}_logc"]
    difference = np.abs(found - stored)
    scale = np.abs(stored) + dim / 2 * np.log(2 * np.pi)
    assert np.all(difference[right] < 1e-6 * scale[right])
    ratio, theirs = mean_resultant_length(grid, dim), VECTORS[f"D{dim}_bessel_ratio"]
    np.testing.assert_allclose(np.asarray(ratio)[right], theirs[right], rtol=2e-6)
    # At the largest kappa theirs is the length of no mean any more.
    assert theirs.max() > 1
    assert difference.max() > 0.2


@pytest.mark.parametrize("function", [log_normalizer, mean_resultant_length])
def test_a_dimension_below_one_is_named(function):
    with pytest.raises(ValueError, match="dim is 0; pass the dimension"):
        function(1.0, 0)
    with pytest.raises(ValueError, match="dim is -1; pass the dimension"):
        log_normalizer_drop(1.0, 1.0, -1)
