"""0 * inf is NaN: a class without images, whose log prior is -inf, spoils nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import log_class_prior, post_hoc_offset
from bccl_jax.methods.base import Batch, Context
from bccl_jax.methods.bccl import BCCL


@pytest.mark.parametrize("counts", [[3, 0, 1], [0, 0, 0], [5], [0]])
@pytest.mark.parametrize("factor", [0, 0.0, 1.0, 0.5, -2.0])
def test_the_offset_of_post_hoc_adjustment_is_never_nan(counts, factor):
    offset = post_hoc_offset(np.array(counts), factor)
    assert offset.dtype == jnp.float32
    there = np.array(counts) > 0
    expected = factor * np.asarray(log_class_prior(np.array(counts)))[there] if factor else 0.0
    np.testing.assert_allclose(offset[there], expected)
    np.testing.assert_array_equal(offset[~there], np.inf if factor else 0.0)


def test_a_term_of_the_loss_without_weight_is_left_out_even_where_it_is_infinite(rng):
    method = BCCL(
        weight_classification=0.0,
        projector_dim=4,
        projector_hidden=4,
        queue_size=4,
        num_centroids=2,
    )
    counts = np.array([2, 0])  # a label of a class without images makes the loss infinite
    state = method.init(jax.random.key(0), Context(counts, epochs=9, dtype=jnp.float32))
    embeddings = rng.normal(size=(4, 4)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    batch = Batch((jnp.zeros((2, 1, 1, 3)),) * 3, jnp.array([0, 1]))

    @jax.jit
    def loss(embeddings):
        def apply(params, forward, images):
            return (jnp.zeros((2, 2)), embeddings), {}

        value, (metrics, _, _) = method.loss(apply, None, batch, state, jax.random.key(0), None)
        return value, metrics

    value, metrics = loss(embeddings)
    assert metrics["classification_loss"] == np.inf
    assert np.isfinite(value)
    np.testing.assert_allclose(value, metrics["contrastive_loss"], rtol=1e-6)
