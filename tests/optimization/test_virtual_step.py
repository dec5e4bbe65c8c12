"""The gradient through a virtual step beside differences of the whole step in float64."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.losses.semantic_augmentation import semantic_augmentation_loss
from bccl_jax.models.convolution import Conv
from bccl_jax.models.normalization import BatchNorm, relu
from bccl_jax.optimization.virtual_step import meta_gradient
from tests.losses.differences import slopes
from tests.training.conftest import _hardly_optimized  # noqa: F401

pytestmark = pytest.mark.usefixtures("_hardly_optimized")

COUNTS, CLASS_WEIGHTS = (30, 9, 3), (0.2, 0.7, 2.1)
STRENGTH, MARGIN = 0.6, 0.5
LABELS, JUDGED = np.array([0, 0, 2, 1, 0]), np.array([2, 1, 0, 2])


def test_by_hand():
    """Loss s x^2 / 2 at x = 3 with s = 2 and a rate of 0.1: x' = 3 - 0.1 * 6, judged by x'^2."""
    judged, gradient = meta_gradient(
        lambda x, s: s * x**2 / 2, lambda x: x**2, jnp.float32(3), jnp.float32(2), 0.1
    )
    assert float(judged) == pytest.approx(2.4**2)
    # d/ds (3 - 0.1 s 3)^2 = 2 * 2.4 * -0.3
    assert float(gradient) == pytest.approx(-1.44)


@pytest.fixture
def case(rng):
    """A linear network of two layers, its images, and others that it is judged by."""
    params = {
        "features": rng.normal(size=(4, 2)),
        "weights": rng.normal(size=(3, 2)),
        "bias": rng.normal(size=3),
    }
    return params, rng.normal(size=(5, 4)), rng.normal(size=(4, 4))


def softmax_losses(logits, labels):
    top = logits.max(axis=1)
    logs = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    return logs - logits[np.arange(len(labels)), labels]


def loss_of(params, images, covariances):
    """MetaSAug's loss in float64."""
    weights = params["weights"]
    logits = images @ params["features"] @ weights.T + params["bias"]
    for i, y in enumerate(LABELS):
        for j in range(3):
            apart = weights[j] - weights[y]
            sigma = covariances[y] if covariances.ndim == 3 else np.diag(covariances[y])
            logits[i, j] += 0.5 * STRENGTH * apart @ sigma @ apart
        logits[i, y] -= MARGIN * (min(COUNTS) / COUNTS[y]) ** 0.25
    weighed = np.array(CLASS_WEIGHTS)[LABELS]
    return np.sum(weighed * softmax_losses(logits, LABELS)) / np.sum(weighed)


def judged_after(params, images, others, covariances, rate):
    """The plain loss of other images after a step along differences."""

    def gradient(name):
        return slopes(lambda x: loss_of({**params, name: x}, images, covariances), params[name])

    moved = {name: x - rate * gradient(name) for name, x in params.items()}
    logits = others @ moved["features"] @ moved["weights"].T + moved["bias"]
    return np.mean(softmax_losses(logits, JUDGED))


@pytest.mark.parametrize("diagonal", [False, True])
def test_it_is_the_slope_of_the_whole_virtual_step(rng, case, diagonal):
    params, images, others = case
    roots = rng.normal(size=(3, 2, 2))
    covariances = roots @ roots.swapaxes(1, 2)
    if diagonal:
        covariances = np.einsum("kdd->kd", covariances)

    def logits(params, images):
        return images @ params["features"] @ params["weights"].T + params["bias"][None]

    def loss(params, covariances):
        return semantic_augmentation_loss(
            logits(params, images32),
            jnp.asarray(LABELS),
            params["weights"],
            covariances,
            jnp.array(COUNTS),
            strength=STRENGTH,
            max_margin=MARGIN,
            class_weights=jnp.array(CLASS_WEIGHTS),
        )

    def judge(params):
        return cross_entropy_loss(logits(params, others32), jnp.asarray(JUDGED))

    params32, images32, others32, covariances32 = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32), (params, images, others, covariances)
    )
    compute = jax.jit(lambda rate: meta_gradient(loss, judge, params32, covariances32, rate))
    for rate in (0.5, 0.01):
        judged, gradient = compute(rate)

        def expected(x, rate=rate):
            return judged_after(params, images, others, x, rate)

        assert float(judged) == pytest.approx(expected(covariances), rel=1e-5)
        slope = slopes(expected, covariances, step=1e-3)
        largest = np.abs(slope).max()
        assert largest > 1e-4
        np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-3 * largest)
        # A step down it makes the judge's loss lower.
        lower = covariances - 0.5 * np.asarray(gradient, np.float64)
        assert expected(lower) < float(judged) - 1e-7


def test_no_gradient_comes_back_to_the_parameters():
    def outer(x):
        _, gradient = meta_gradient(
            lambda x, s: s * x**2, lambda x: x**2, x, jnp.float32(2), jnp.float32(0.1)
        )
        return gradient

    assert jax.grad(outer)(jnp.float32(3)) == 0


class Small(nn.Module):
    """Convolutions and a normalisation, whose derivatives are the package's own."""

    @nn.compact
    def __call__(self, images):
        x = Conv(3, stride=2, dtype=jnp.float64)(images)
        x = relu(BatchNorm(jnp.float64)(x, True))
        x = Conv(4, 1, dtype=jnp.float64)(x)
        return nn.Dense(3, dtype=jnp.float64, param_dtype=jnp.float64)(x.mean(axis=(1, 2)))


def test_it_goes_through_the_backward_pass_of_convolution_and_normalisation(rng):
    """Those are written by hand; here they are differentiated themselves."""
    with jax.enable_x64(True):
        images, others = (jnp.asarray(rng.normal(size=(4, 5, 5, 3))) for _ in range(2))
        network = Small()
        params = network.init(jax.random.key(0), images)["params"]
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        variables = {"batch_stats": {"BatchNorm_0": {"mean": jnp.zeros(3), "var": jnp.ones(3)}}}

        def losses(params, images, labels, offsets):
            given = {"params": params, **variables}
            logits, _ = network.apply(given, images, mutable=["batch_stats"])
            logits = logits + offsets[labels]
            own = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
            return jnp.mean(jax.nn.logsumexp(logits, axis=1) - own)

        labels, judged = jnp.array([0, 1, 0, 2]), jnp.array([2, 1, 0, 1])

        @jax.jit
        def found(offsets):
            return meta_gradient(
                lambda p, s: losses(p, images, labels, s),
                lambda p: losses(p, others, judged, jnp.zeros((3, 3))),
                params,
                offsets,
                0.3,
            )

        offsets = rng.normal(size=(3, 3))
        _, gradient = found(jnp.asarray(offsets))
        slope = slopes(lambda x: float(found(jnp.asarray(x))[0]), offsets, step=1e-5)
    assert np.abs(slope).max() > 1e-3
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9)
