import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from bccl_jax.errors import ConfigError
from bccl_jax.models.normalization import BatchNorm, batch_normalize, relu

EPSILON = 1e-5


def plain(x, scale, bias):
    """The definition, for automatic differentiation: mean first, then the squared differences."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes, keepdims=True)
    var = ((x - mean) ** 2).mean(axes, keepdims=True)
    row = (1,) * (x.ndim - 1) + (-1,)
    return (x - mean) / jnp.sqrt(var + EPSILON) * scale.reshape(row) + bias.reshape(row)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 5)])
def test_the_derived_backward_equals_autodiff_in_float64(rng, shape):
    with jax.enable_x64(True):
        x = rng.normal(2.0, 3.0, shape)
        scale, bias = rng.normal(size=(2, shape[-1]))
        cotangent = rng.normal(size=shape)

        def ours(*inputs):
            return batch_normalize(*inputs, EPSILON)[0]

        @functools.partial(jax.jit, static_argnums=0)
        def both(normalize, inputs, cotangent):
            out, pull = jax.vjp(normalize, *inputs)
            return out, pull(cotangent)

        found, gradients = both(ours, (x, scale, bias), cotangent)
        expected, its_gradients = both(plain, (x, scale, bias), cotangent)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
        for one, other in zip(gradients, its_gradients, strict=True):
            assert one.dtype == jnp.float64
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
        check_grads(jax.jit(ours), (x, scale, bias), order=1, modes=["rev"])


def test_a_constant_channel_becomes_its_bias_and_passes_only_differences():
    x = np.full((4, 2), 3.0, np.float32)

    def loss(x):
        return jnp.sum(batch_normalize(x, jnp.ones(2), jnp.array([0.5, -1.0]), EPSILON)[0][0])

    value, gradient = jax.jit(jax.value_and_grad(loss))(x)
    np.testing.assert_allclose(value, -0.5, atol=1e-5)
    # Whatever is added to a whole channel is normalised away.
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-2)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("train", [True, False])
def test_the_module_is_flax_linens_with_the_same_variables(rng, dtype, train):
    x = jnp.asarray(rng.normal(1.0, 2.0, (8, 4, 4, 6)), dtype)
    ours = BatchNorm(dtype)
    flax = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=dtype)
    variables = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.uniform(0.1, 1, leaf.shape), leaf.dtype),
        ours.init(jax.random.key(0), x, True),
    )
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, flax.init(jax.random.key(0), x)
    )
    y, renewed = ours.apply(variables, x, train, mutable=["batch_stats"])
    expected, expected_renewed = flax.apply(variables, x, mutable=["batch_stats"])
    assert y.dtype == dtype
    tolerance = 1e-5 if dtype == jnp.float32 else 2e-2
    np.testing.assert_allclose(
        y.astype(jnp.float32), expected.astype(jnp.float32), rtol=tolerance, atol=tolerance
    )
    for name in ("mean", "var"):
        found = renewed["batch_stats"][name]
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected_renewed["batch_stats"][name], rtol=1e-5)


def test_the_backward_keeps_the_input_and_nothing_else_of_its_size():
    x = jax.ShapeDtypeStruct((64, 8), jnp.float32)
    channels = jax.ShapeDtypeStruct((8,), jnp.float32)

    def pullback(x, scale, bias):
        return jax.vjp(lambda *inputs: batch_normalize(*inputs, EPSILON)[0], x, scale, bias)[1]

    kept = jax.tree.leaves(jax.eval_shape(pullback, x, channels, channels))
    assert [leaf.shape for leaf in kept].count((64, 8)) == 1


def test_each_group_is_normalised_as_a_batch_of_its_own(rng):
    x = jnp.asarray(rng.normal(size=(6, 3, 2, 5)), jnp.float32)
    variables = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.uniform(0.1, 1, leaf.shape), leaf.dtype),
        BatchNorm().init(jax.random.key(0), x, True),
    )
    cotangent = jnp.asarray(rng.normal(size=x.shape), jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def pulled(norm, x, cotangent):
        def apply(params, x):
            return norm.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])

        y, pull, renewed = jax.vjp(apply, variables["params"], x, has_aux=True)
        return y, *pull(cotangent), renewed["batch_stats"]

    y, parameters, images, statistics = pulled(BatchNorm(groups=3), x, cotangent)
    parts = [
        pulled(BatchNorm(), *part)
        for part in zip(jnp.split(x, 3), jnp.split(cotangent, 3), strict=True)
    ]
    np.testing.assert_allclose(y, jnp.concatenate([part[0] for part in parts]), atol=1e-5)
    np.testing.assert_allclose(images, jnp.concatenate([part[2] for part in parts]), atol=1e-5)
    for name in ("scale", "bias"):
        total = sum(part[1][name] for part in parts)
        np.testing.assert_allclose(parameters[name], total, rtol=1e-4, atol=1e-5)
    for name in ("mean", "var"):
        mean = sum(part[3][name] for part in parts) / 3
        np.testing.assert_allclose(statistics[name], mean, rtol=1e-5)


def test_groups_of_unequal_size_are_refused_in_training_alone():
    norm, x = BatchNorm(groups=4), jnp.ones((6, 2))
    variables = norm.init(jax.random.key(0), x, True)
    norm.apply(variables, x, False)
    with pytest.raises(ConfigError, match=r"4 groups.*has 6; set config\.batch_size"):
        norm.apply(variables, x, True, mutable=["batch_stats"])


def test_relu_is_flax_linens_with_its_gradient():
    x = jnp.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(relu(x), nn.relu(x))
    np.testing.assert_array_equal(jax.grad(lambda x: relu(x).sum())(x), [0, 0, 1])
    np.testing.assert_array_equal(jax.vmap(relu)(x[:, None]), nn.relu(x)[:, None])
