import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.models.taps import sinks, tap, tapped


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_tap_tells_the_squares_of_a_gradient_that_it_lets_pass(rng, dtype):
    x, weight = (jnp.asarray(rng.normal(size=(3, 4)), dtype) for _ in range(2))

    def loss(x, sink):
        return jnp.sum(jnp.square(tap(x, sink)) * weight)

    gradient, squares = jax.grad(loss, argnums=(0, 1))(x, jnp.float32(0))
    assert (gradient.dtype, squares.dtype) == (dtype, jnp.float32)
    np.testing.assert_array_equal(gradient, 2 * x * weight)
    expected = np.sum(np.asarray(gradient, np.float64) ** 2)
    assert float(squares) == pytest.approx(expected, rel=1e-6)


def test_two_taps_of_one_sink_add_up():
    def loss(sink):
        return 3 * tap(jnp.float32(2), sink) + 4 * tap(jnp.float32(5), sink)

    assert float(jax.grad(loss)(jnp.float32(0))) == 3**2 + 4**2


@pytest.mark.parametrize("more", [{}, {"taps": {}}, {"taps": sinks(["another"])}])
def test_a_network_without_the_sink_is_left_alone(more):
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            return tapped(self, "one", nn.Dense(1)(x))

    variables = jax.eval_shape(Network().init, jax.random.key(0), jnp.ones(2))
    assert variables.keys() == {"params"}
    apply = functools.partial(jax.make_jaxpr(Network().apply), x=jnp.ones(2))
    assert "custom_vjp" not in str(apply({**variables, **more}))
    assert "custom_vjp" in str(apply({**variables, "taps": sinks(["one"])}))
