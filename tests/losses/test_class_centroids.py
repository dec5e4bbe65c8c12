"""Classification by centroids: against loops in float64, and by what it is a case of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.class_centroids import centroid_classification_loss
from bccl_jax.losses.classification import logit_compensation_loss
from tests.losses.differences import slopes

COUNTS = np.array([60, 25, 10, 5])
jitted = jax.jit(centroid_classification_loss, static_argnames=("temperature", "factor"))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def loop(embeddings, labels, centroids, mask, counts, temperature, factor):
    """The formula, anchor by anchor and class by class."""
    terms = []
    for z, label in zip(embeddings, labels, strict=True):
        if not mask[label].any():
            continue
        weights = {}
        for k in range(len(centroids)):
            near = np.exp(centroids[k][mask[k]] @ z / temperature)
            if len(near):
                weights[k] = np.mean(near) * (counts[k] / counts.sum()) ** factor
        terms.append(np.log(sum(weights.values())) - np.log(weights[label]))
    return np.mean(terms) if terms else 0.0


@pytest.fixture
def made(rng):
    embeddings, centroids = unit(rng.normal(size=(6, 5))), unit(rng.normal(size=(4, 3, 5)))
    return embeddings, np.array([0, 0, 1, 2, 3, 3]), centroids


MASKS = {
    "all": np.ones((4, 3), bool),
    "some": np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]], bool),
    "a class without": np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1], [0, 0, 0]], bool),
    "none": np.zeros((4, 3), bool),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_loss_and_gradient_match_loops(made, mask, factor):
    embeddings, labels, centroids = made
    # What an invalid centroid holds is never read.
    held = np.where(MASKS[mask][..., None], centroids, np.nan)
    value, gradient = jax.value_and_grad(jitted)(
        jnp.float32(embeddings),
        jnp.asarray(labels),
        jnp.float32(held),
        jnp.asarray(MASKS[mask]),
        jnp.asarray(COUNTS),
        temperature=0.3,
        factor=factor,
    )
    settings = labels, centroids, MASKS[mask], COUNTS, 0.3, factor
    assert value == pytest.approx(loop(embeddings, *settings), rel=1e-5, abs=1e-6)
    expected = slopes(lambda x: loop(x, *settings), embeddings)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)


def test_of_one_centroid_a_class_it_is_logit_compensation(made):
    embeddings, labels, centroids = map(jnp.asarray, made)
    loss = jitted(embeddings, labels, centroids[:, :1], None, jnp.asarray(COUNTS), temperature=0.1)
    logits = embeddings @ centroids[:, 0].T / 0.1
    expected = logit_compensation_loss(logits, labels, jnp.asarray(COUNTS))
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_a_class_without_images_does_not_enter(made):
    embeddings, _, centroids = map(jnp.asarray, made)
    counts, labels = jnp.array([60, 0, 10, 5]), jnp.array([0, 0, 0, 2, 3, 3])
    there = jnp.ones((4, 3), bool)
    loss = jitted(embeddings, labels, centroids, there, counts, temperature=0.3)
    without = jitted(embeddings, labels, centroids, there.at[1].set(False), counts, temperature=0.3)
    assert float(loss) == pytest.approx(float(without), rel=1e-6)


def test_centroids_carry_no_gradient(made):
    embeddings, labels, centroids = map(jnp.asarray, made)

    def loss(centroids):
        return jitted(embeddings, labels, centroids, None, jnp.asarray(COUNTS), temperature=0.3)

    assert not np.any(jax.grad(loss)(centroids))


def test_shapes_that_do_not_fit_are_refused(made):
    embeddings, labels, centroids = map(jnp.asarray, made)
    with pytest.raises(ValueError, match="one count a class"):
        centroid_classification_loss(
            embeddings, labels, centroids, None, jnp.ones(3), temperature=0.3
        )
