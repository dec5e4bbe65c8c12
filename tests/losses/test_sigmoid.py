"""The sigmoid loss under a class prior: against loops in float64, and by what it is a case of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.sigmoid import compensated_sigmoid_loss, log_class_odds
from tests.losses.differences import slopes

COUNTS = np.array([60, 25, 10, 5])
jitted = jax.jit(compensated_sigmoid_loss, static_argnames="factor")


def loop(logits, shares, counts, factor):
    """The formula, image by image and class by class."""
    total, images = 0.0, counts.sum()
    for row, own in zip(logits, shares, strict=True):
        for k, count in enumerate(counts):
            logit = row[k]
            if factor:
                if count in (0, images):
                    continue
                logit = logit + factor * (np.log(count) - np.log(images - count))
            probability = 1 / (1 + np.exp(-logit))
            total -= own[k] * np.log(probability) + (1 - own[k]) * np.log(1 - probability)
    return total / len(logits)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("counts", [COUNTS, np.array([60, 0, 10, 5]), np.array([0, 0, 7, 0])])
@pytest.mark.parametrize("soft", [False, True])
def test_loss_and_gradient_match_loops(rng, factor, counts, soft):
    logits = rng.normal(size=(5, 4))
    labels = rng.choice(np.flatnonzero(counts), size=5)
    shares = np.eye(4)[labels]
    if soft:
        shares = 0.7 * shares + 0.3 * np.eye(4)[np.flatnonzero(counts)[0]]
    given = jnp.asarray(shares) if soft else jnp.asarray(labels)
    value, gradient = jax.value_and_grad(jitted)(
        jnp.float32(logits), given, jnp.asarray(counts), factor=factor
    )
    assert value == pytest.approx(loop(logits, shares, counts, factor), rel=1e-5, abs=1e-6)
    expected = slopes(lambda x: loop(x, shares, counts, factor), logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_by_hand():
    # Odds of 3 and of 1/3: softplus(-log 3) + softplus(-log 3).
    loss = jitted(jnp.zeros((1, 2)), jnp.array([0]), jnp.array([3, 1]))
    assert float(loss) == pytest.approx(2 * np.log(4 / 3), rel=1e-6)
    np.testing.assert_allclose(log_class_odds(jnp.array([3, 1])), [np.log(3), -np.log(3)])


def test_at_its_optimum_the_logits_know_no_prior():
    """Two classes that look alike: the best constant logits are 0, whatever the counts."""
    counts = jnp.array([9, 1])
    labels = jnp.array([0] * 9 + [1])
    gradient = jax.grad(jitted)(jnp.zeros((10, 2)), labels, counts)
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one count a class"):
        compensated_sigmoid_loss(jnp.zeros((2, 3)), jnp.zeros(2, int), jnp.ones(4))
    with pytest.raises(ValueError, match="one count a class"):
        compensated_sigmoid_loss(jnp.zeros((2, 3)), jnp.zeros(2, int), jnp.ones((3, 1)))
    with pytest.raises(ValueError, match="shares of the classes"):
        compensated_sigmoid_loss(jnp.zeros((2, 3)), jnp.zeros(3, int), jnp.ones(3))
