import jax
import jax.numpy as jnp
import numpy as np
import optax

from bccl_jax.optimization.sharpness import uphill


def tree(rng):
    return {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)}


def test_the_step_uphill_is_of_that_length_and_along_the_gradient(rng):
    params, gradient = tree(rng), tree(rng)
    found = uphill(*(jax.tree.map(jnp.float32, x) for x in (params, gradient)), 0.05)
    norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
    for name in params:
        expected = params[name] + 0.05 * gradient[name] / norm
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)


def test_without_a_gradient_nothing_moves(rng):
    params = jax.tree.map(jnp.float32, tree(rng))
    found = uphill(params, jax.tree.map(jnp.zeros_like, params), 0.05)
    for name in params:
        np.testing.assert_array_equal(found[name], params[name])


def test_a_step_is_that_of_optax(rng):
    start = jax.tree.map(jnp.float32, tree(rng))
    inputs = jnp.float32(rng.normal(size=(5, 4)))

    def loss(params):
        return jnp.mean(jnp.tanh(inputs @ params["kernel"] + params["bias"][None]) ** 2)

    gradient = jax.grad(loss)(start)
    ahead = jax.grad(loss)(uphill(start, gradient, 0.1))
    found = optax.apply_updates(start, jax.tree.map(lambda g: -0.5 * g, ahead))
    theirs = optax.contrib.sam(
        optax.sgd(0.5),
        optax.chain(optax.contrib.normalize(), optax.sgd(0.1)),
        opaque_mode=True,
    )
    updates, _ = theirs.update(
        gradient, theirs.init(start), start, grad_fn=lambda params, _: jax.grad(loss)(params)
    )
    expected = optax.apply_updates(start, updates)
    for name in start:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
