"""Three classes, four images and a network that is not run: what losses make of its outputs."""

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.methods.base import Batch, Context, Progress

COUNTS = np.array([40, 20, 10])
LABELS = jnp.array([0, 0, 1, 2])
CONTEXT = Context(COUNTS, epochs=100, dtype=jnp.float32)
SMALL = {"projector_dim": 6, "projector_hidden": 5, "queue_size": 8, "num_centroids": 2}


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def loss_of(method, outputs, state, epoch=None, targets=None):
    """Loss, metrics and new state for outputs of the network, whatever images it saw."""

    def apply(params, forward, images):
        assert images.shape == (4 * len(method.views), 2, 2, 3)
        return outputs, "renewed statistics"

    @jax.jit
    def compute(views, state, when):
        # The stage stays a Python number.
        progress = when and Progress(*when)
        loss, (metrics, state, batch_stats) = method.loss(
            apply, None, Batch(views, LABELS, targets), state, jax.random.key(0), progress
        )
        assert batch_stats == "renewed statistics"
        return loss, metrics, state

    views = tuple(jnp.zeros((4, 2, 2, 3)) for _ in method.views)
    when = None if epoch is None else (jnp.int32(10 * epoch), jnp.int32(epoch))
    loss, metrics, state = compute(views, state, when)
    return float(loss), metrics, state
