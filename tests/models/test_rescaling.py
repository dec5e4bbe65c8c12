import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.models.rescaling import tau_normalized, weight_scaled
from tests.losses import public

VECTORS = public.load("taunorm_lws")
KERNEL = VECTORS["ordinary_weight"].T


def test_weights_and_logits_over_powers_of_the_norm_are_those_of_public_code():
    for i, tau in enumerate(VECTORS["taus"]):
        kernel = tau_normalized(jnp.asarray(KERNEL, jnp.float32), float(tau))
        assert kernel.dtype == jnp.float32
        np.testing.assert_allclose(kernel, VECTORS[f"ordinary_tau{i}_weight"].T, rtol=1e-5)
        logits = np.asarray(VECTORS["ordinary_x"], np.float32) @ np.asarray(kernel)
        expected = VECTORS[f"ordinary_tau{i}_logits"]
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_the_ends_of_tau_by_hand():
    kernel = jnp.array([[3.0, 0.0], [4.0, 0.5]])
    np.testing.assert_array_equal(tau_normalized(kernel, 0.0), kernel)
    np.testing.assert_allclose(tau_normalized(kernel, 1.0), [[0.6, 0], [0.8, 1]], rtol=1e-6)
    np.testing.assert_allclose(tau_normalized(kernel, 2), [[0.12, 0], [0.16, 2]], rtol=1e-6)


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_the_gradient_is_that_of_a_loop_over_classes(tau, rng):
    cotangent = rng.normal(size=KERNEL.shape)
    expected = np.zeros(KERNEL.shape)
    for k in range(KERNEL.shape[1]):
        w, c = KERNEL[:, k], cotangent[:, k]
        norm = np.linalg.norm(w)
        expected[:, k] = norm**-tau * c - tau * norm ** (-tau - 2) * (w @ c) * w
    gradient = jax.grad(lambda x: jnp.sum(jnp.float32(cotangent) * tau_normalized(x, tau)))(
        jnp.asarray(KERNEL, jnp.float32)
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_tau_may_be_an_array_and_the_kernel_bfloat16():
    kernel = jnp.asarray(KERNEL, jnp.bfloat16)
    found = jax.jit(tau_normalized)(kernel, jnp.float32(0.7))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, tau_normalized(kernel.astype(jnp.float32), 0.7), rtol=1e-5)


def test_a_class_of_zeros_stays_zeros():
    kernel = jnp.array([[0.0, 1.0], [0.0, 2.0]])
    for tau in (0.0, 0.5, 1.0, 2.0):
        np.testing.assert_array_equal(tau_normalized(kernel, tau)[:, 0], [0, 0])
        gradient = jax.grad(lambda x, tau=tau: jnp.sum(tau_normalized(x, tau)))(kernel)
        assert np.all(np.isfinite(gradient))


def test_scaled_logits_loss_and_gradient_are_those_of_public_code():
    scales = VECTORS["ordinary_lws_scales"]
    logits = VECTORS["ordinary_x"] @ KERNEL + VECTORS["ordinary_bias"]
    logits = jnp.asarray(logits, jnp.float32)
    found = weight_scaled(logits, jnp.asarray(scales, jnp.float32))
    np.testing.assert_allclose(found, VECTORS["ordinary_lws_logits"], rtol=1e-5, atol=1e-6)
    public.check(
        lambda x: cross_entropy_loss(weight_scaled(logits, x), VECTORS["ordinary_labels"]),
        scales,
        VECTORS["ordinary_lws_ce_loss"],
        VECTORS["ordinary_lws_dscales"],
    )
    found = weight_scaled(
        jnp.asarray(VECTORS["ordinary_logits"], jnp.float32), jnp.asarray(scales, jnp.float32)
    )
    np.testing.assert_allclose(found, VECTORS["ordinary_mislas_lws_out"], rtol=1e-5)


def test_scaling_logits_is_scaling_weights_and_bias(rng):
    x, kernel, bias = rng.normal(size=(3, 5)), rng.normal(size=(5, 4)), rng.normal(size=4)
    scales = rng.uniform(0.5, 2, 4)
    found = weight_scaled(jnp.float32(x @ kernel + bias), jnp.float32(scales))
    expected = x @ (kernel * scales) + bias * scales
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_scaled_logits_are_float32_for_bfloat16():
    assert weight_scaled(jnp.ones((1, 2), jnp.bfloat16), jnp.ones(2)).dtype == jnp.float32


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"kernel has shape \(3,\); pass one column a class"):
        tau_normalized(jnp.ones(3), 1.0)
    with pytest.raises(ValueError, match=r"logits have shape \(2, 3\) and scales \(2,\)"):
        weight_scaled(jnp.ones((2, 3)), jnp.ones(2))
    with pytest.raises(ValueError, match=r"logits have shape \(3,\) and scales \(3,\)"):
        weight_scaled(jnp.ones(3), jnp.ones(3))
