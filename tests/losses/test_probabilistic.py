"""ProCo's contrast logits and loss: by loops in float64, by an integral and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import i0e

from bccl_jax.losses.classification import log_class_prior
from bccl_jax.losses.probabilistic import (
    concentrations,
    contrast_logits,
    probabilistic_contrastive_loss,
)
from tests.losses import differences, power_series

# Each in one program.
compute_logits = jax.jit(contrast_logits, static_argnames=("temperature", "largest_kappa"))
differentiate = jax.jit(
    jax.value_and_grad(probabilistic_contrastive_loss), static_argnames="temperature"
)

COUNTS = np.array([60, 25, 9, 3, 0])
LABELS = np.array([0, 2, 2, 1, 3, 0])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def spread(rng):
    """Unit embeddings in all directions, and the means of samples around others."""
    return unit(rng.normal(size=(6, 4))), rng.uniform(0.05, 0.95, (5, 1)) * unit(
        rng.normal(size=(5, 4))
    )


def close(rng):
    """Embeddings near one direction, so that every class is concentrated in it."""
    around = unit(np.ones(4) + 0.02 * rng.normal(size=(5, 8, 4)))
    return unit(np.ones(4) + 0.02 * rng.normal(size=(6, 4))), around.mean(axis=1)


def single(rng):
    """Classes of one embedding, of two opposite ones, of none and of many."""
    embeddings, means = spread(rng)
    means[0] = unit(means[0])
    means[1] = 0.0
    means[2] = embeddings[1]
    return embeddings, means


def opposite(rng):
    """An embedding that takes a class's direction off to nothing."""
    embeddings, means = spread(rng)
    # The kappa of 4 R / (1 - R^2) that 1 / tau = 10 cancels.
    length = (np.sqrt(4 + 100) - 2) / 10
    means[0] = -length * embeddings[0]
    return embeddings, means


CASES = {case.__name__: case for case in (spread, close, single, opposite)}


@pytest.fixture(params=CASES)
def case(request, rng):
    embeddings, means = CASES[request.param](rng)
    # Both sides see the float32 numbers.
    return embeddings.astype(np.float32), means.astype(np.float32)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_and_gradient_match_loops(case, temperature):
    embeddings, means = case

    def expected(z):
        return power_series.contrastive_loss(z, LABELS, means, COUNTS, temperature)

    value, gradient = differentiate(embeddings, LABELS, means, COUNTS, temperature=temperature)
    assert value.dtype == gradient.dtype == jnp.float32
    assert float(value) == pytest.approx(expected(embeddings), rel=1e-5, abs=1e-5)
    slopes = differences.slopes(expected, embeddings, step=1e-5)
    # Where classes are close it is a small rest of terms of 1 / tau.
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6 / temperature)


def test_logits_match_loops(case):
    embeddings, means = case
    kappas = [power_series.concentration(mean) for mean in means]
    found = concentrations(means)
    # Of a length near 1 float32 has 1 - R^2 to 1e-7 only.
    np.testing.assert_allclose(found, kappas, rtol=1e-3)
    expected = power_series.contrast_logits(embeddings, means, kappas, 0.1)
    logits = compute_logits(embeddings, means, temperature=0.1)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(("length", "kappa"), [(0.0, 0), (0.5, 4 / 3), (0.9, 180 / 19)])
def test_concentrations_by_hand(length, kappa):
    # p R / (1 - R^2) with p = 2.
    means = length * jnp.array([[0.6, -0.8]])
    assert float(concentrations(means)[0]) == pytest.approx(kappa, rel=1e-5)


@pytest.mark.parametrize("length", [1.0, 1 - 1e-7, 1 + 1e-6, 1.5])
def test_a_mean_on_or_beyond_the_sphere_has_the_largest_concentration(length, rng):
    means = (length * unit(rng.normal(size=(20, 32)))).astype(np.float32)
    np.testing.assert_allclose(concentrations(means), np.full(20, 1e5), rtol=1e-6)
    np.testing.assert_allclose(concentrations(means, largest=50.0), np.full(20, 50), rtol=1e-6)


def test_on_the_circle_a_logit_is_the_log_of_an_integral():
    # exp(z.z' / tau) averaged over the density exp(kappa cos) on the circle, 4,096 points of it.
    angles = np.arange(4096) * 2 * np.pi / 4096
    kappa, direction, at, temperature = 4 / 3, 0.7, 2.9, 0.4
    density = np.exp(kappa * np.cos(angles - direction))
    expected = np.log(np.sum(density * np.exp(np.cos(angles - at) / temperature)) / np.sum(density))
    found = compute_logits(
        jnp.array([[np.cos(at), np.sin(at)]]),
        0.5 * jnp.array([[np.cos(direction), np.sin(direction)]]),
        temperature=temperature,
    )
    assert float(found[0, 0]) == pytest.approx(expected, rel=1e-5)


def test_in_three_dimensions_a_logit_by_hand():
    # kappa 4 along the x axis (R = 1/2 gives 3 / 2 / (3 / 4) = 2), 1 / tau = 2 along the y axis.
    joined = np.sqrt(2**2 + 2**2)
    expected = np.log(2 / np.sinh(2)) - np.log(joined / np.sinh(joined))
    found = compute_logits(
        jnp.array([[0.0, 1.0, 0.0]]), jnp.array([[0.5, 0.0, 0.0]]), temperature=0.5
    )
    assert float(found[0, 0]) == pytest.approx(expected, rel=1e-5)


def test_of_classes_that_nothing_is_known_of_the_prior_is_all_there_is(rng):
    embeddings = unit(rng.normal(size=(6, 4))).astype(np.float32)
    nothing = jnp.zeros((5, 4))
    logits = compute_logits(embeddings, nothing, temperature=0.1)
    uniform = power_series.log_growth(10, 4)
    np.testing.assert_allclose(logits, np.full((6, 5), uniform), rtol=1e-6)
    loss, gradient = differentiate(embeddings, LABELS, nothing, COUNTS, temperature=0.1)
    prior = np.asarray(log_class_prior(COUNTS), np.float64)
    assert float(loss) == pytest.approx(-prior[LABELS].mean(), rel=1e-6)
    np.testing.assert_allclose(gradient, np.zeros((6, 4)), atol=1e-6)


def test_the_smaller_kappa_the_nearer_the_prior(rng):
    embeddings, directions = unit(rng.normal(size=(6, 4))), unit(rng.normal(size=(5, 4)))
    farthest = []
    for length in (1e-1, 1e-3, 1e-5):
        logits = compute_logits(
            jnp.float32(embeddings), jnp.float32(length * directions), temperature=1.0
        )
        farthest.append(float(jnp.max(logits) - jnp.min(logits)))
    assert farthest[0] > 50 * farthest[1] > 2500 * farthest[2]
    assert farthest[2] < 3e-5


def test_of_single_embeddings_it_is_a_softmax_over_them(rng):
    # The largest kappa makes a point of each, but for terms of (p + 1 / tau) / kappa.
    embeddings, means = unit(rng.normal(size=(6, 4))), unit(rng.normal(size=(5, 4)))
    logits = compute_logits(jnp.float32(embeddings), jnp.float32(means), temperature=0.1)
    np.testing.assert_allclose(logits, embeddings @ means.T / 0.1, atol=10 * (4 + 10) / 2e5)


def test_on_the_circle_beside_scipys_bessel_function(rng):
    embeddings, means = unit(rng.normal(size=(6, 2))), 0.5 * unit(rng.normal(size=(5, 2)))
    joined = np.linalg.norm(4 / 3 * unit(means) + embeddings[:, None] / 0.1, axis=-1)
    expected = np.log(i0e(joined)) + joined - np.log(i0e(4 / 3)) - 4 / 3
    found = compute_logits(jnp.float32(embeddings), jnp.float32(means), temperature=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_large_dimension_and_hundreds_of_classes_stay_finite(rng):
    embeddings = jnp.asarray(unit(rng.normal(size=(4, 2048))), jnp.bfloat16)
    means = unit(rng.normal(size=(300, 2048))) * rng.uniform(0, 1.001, (300, 1))
    loss, gradient = differentiate(
        embeddings, np.arange(4), jnp.float32(means), np.ones(300), temperature=0.01
    )
    assert loss.dtype == jnp.float32
    assert np.isfinite(float(loss))
    assert np.all(np.isfinite(np.asarray(gradient, np.float32)))


def test_shapes_that_do_not_fit_are_named():
    for embeddings, means in (((2, 3), (4, 2)), ((3,), (4, 3)), ((2, 3), (4, 3, 1))):
        with pytest.raises(ValueError, match=r"embeddings have shape .* and means .* pass"):
            contrast_logits(jnp.zeros(embeddings), jnp.zeros(means), temperature=1.0)
