"""What of a method's state follows the parameters is renewed once a step, whatever a step is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bccl_jax.methods import base
from bccl_jax.models import Network
from bccl_jax.training.state import TrainState
from bccl_jax.training.step import make_train_step
from tests.training.test_taps import BATCH, CONTEXT, Flat, normalized

RATE = 0.1


class Following(base.Method):
    """The product of the parameters with a copy of them, which so is the gradient."""

    def init(self, key, context):
        return {"renewed": jnp.int32(0)}

    def follow(self, state, params, first=False):
        if first:
            return {**state, "copy": params}
        return {"renewed": state["renewed"] + 1, "copy": params}

    def loss(self, apply, params, batch, state, key, progress):
        products = jax.tree.map(lambda x, y: jnp.sum(x * y), params, state["copy"])
        _, batch_stats = apply(params, base.classify, batch.views[0])
        return sum(jax.tree.leaves(products)), ({}, state, batch_stats)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("sam_rho", [0.0, 0.3])
def test_it_is_renewed_before_the_first_pass_and_by_no_other(accumulation, sam_rho):
    method = Following()
    network, optimizer = Network(Flat(), method.heads(CONTEXT)), optax.sgd(RATE)
    init = functools.partial(network.init, method=method.init_forward)
    params = init(jax.random.key(0), *normalized(BATCH["image"]))["params"]
    own = method.follow(method.init(None, CONTEXT), jax.tree.map(jnp.zeros_like, params), True)
    state = TrainState(
        jnp.int32(0), jax.random.key(1), params, {"unused": 0.0}, optimizer.init(params), own
    )
    schedule = optax.constant_schedule(RATE)
    step = jax.jit(
        make_train_step(
            network, method, optimizer, schedule, normalized, 10, accumulation, sam_rho=sam_rho
        )
    )
    for number in (1, 2):
        before = state.params
        state, _ = step(state, BATCH)
        assert int(state.method["renewed"]) == number
        jax.tree.map(np.testing.assert_array_equal, state.method["copy"], before)
        # Uphill the parameters are others, and what follows them is not.
        jax.tree.map(
            lambda new, old: np.testing.assert_allclose(new, (1 - RATE) * old, rtol=1e-5),
            state.params,
            before,
        )
