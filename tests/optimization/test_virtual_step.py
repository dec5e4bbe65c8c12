"""The gradient through a virtual step beside differences of the whole step in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.losses.semantic_augmentation import semantic_augmentation_loss
from bccl_jax.optimization.virtual_step import meta_gradient
from tests.losses.differences import slopes

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
@pytest.mark.parametrize("rate", [0.5, 0.01])
def test_it_is_the_slope_of_the_whole_virtual_step(rng, case, diagonal, rate):
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
    judged, gradient = jax.jit(lambda c: meta_gradient(loss, judge, params32, c, rate))(
        covariances32
    )
    assert float(judged) == pytest.approx(
        judged_after(params, images, others, covariances, rate), rel=1e-5
    )
    slope = slopes(lambda x: judged_after(params, images, others, x, rate), covariances, step=1e-3)
    assert np.abs(slope).max() > 1e-4
    np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-3 * np.abs(slope).max())
    # A step down it makes the judge's loss lower.
    lower = covariances - 0.5 * np.asarray(gradient, np.float64)
    assert judged_after(params, images, others, lower, rate) < float(judged) - 1e-7


def test_no_gradient_comes_back_to_the_parameters():
    def outer(x):
        _, gradient = meta_gradient(
            lambda x, s: s * x**2, lambda x: x**2, x, jnp.float32(2), jnp.float32(0.1)
        )
        return gradient

    assert jax.grad(outer)(jnp.float32(3)) == 0
