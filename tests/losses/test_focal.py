"""The loss of GCL's second stage: public code, loops in float64, and what float32 leaves of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss, mixed
from bccl_jax.losses.clouds import clouded_logits
from bccl_jax.losses.focal import focal_margin_loss
from tests.losses import public
from tests.losses.differences import slopes

VECTORS = public.load("gcl")
COUNTS, LABELS = VECTORS["cls_num_list"], VECTORS["ordinary_labels"]


def loop(logits, shares, scale, margin, focus, at=None):
    """In float64; the factor before the logarithm is that `at` other logits."""
    total, at = 0.0, logits if at is None else at

    def log_share(z, label):
        z = np.array(z, np.float64)
        z[label] -= margin
        z = scale * z
        return z[label] - z.max() - np.log(np.exp(z - z.max()).sum())

    for row, there, own in zip(logits, at, shares, strict=True):
        for label, share in enumerate(own):
            factor = (1 - np.exp(log_share(there, label))) ** focus if focus else 1.0
            total -= share * factor * log_share(row, label)
    return total / len(logits)


def settings(tag):
    margin, scale, cloud, _, focus = VECTORS[f"ordinary_{tag}_m_s_noisemul_traincls_gamma"]
    return {"scale": scale, "margin": margin, "focus": focus}, cloud


@pytest.mark.parametrize("tag", ["classifier", "backbone", "default"])
@pytest.mark.parametrize("soft", [False, True])
def test_loss_and_gradient_are_those_of_public_code(tag, soft):
    given, cloud = settings(tag)
    noise = jnp.clip(VECTORS["ordinary_noise_raw"], -1, 1)
    labels = jnp.asarray(np.eye(10)[LABELS] if soft else LABELS)

    def loss(cosines):
        clouded = clouded_logits(cosines, noise, COUNTS, cloud=cloud)
        return focal_margin_loss(clouded, labels, **given)

    public.check(
        jax.jit(loss),
        VECTORS["ordinary_cosine"],
        VECTORS[f"ordinary_{tag}_loss"],
        VECTORS[f"ordinary_{tag}_dcosine"],
    )


def test_it_is_that_of_loops_with_its_slopes(rng):
    logits, shares = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), 3)
    given = (2.0, 0.3, 1.5)

    def found(logits):
        scale, margin, focus = given
        return focal_margin_loss(
            logits, jnp.float32(shares), scale=scale, margin=margin, focus=focus
        )

    loss, slope = jax.jit(jax.value_and_grad(found))(jnp.float32(logits))
    assert float(loss) == pytest.approx(loop(logits, shares, *given), rel=1e-5)
    expected = slopes(lambda x: loop(x, shares, *given, at=logits), logits)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)


def test_of_two_labels_it_is_the_mean_of_both(rng):
    logits = jnp.float32(rng.normal(size=(3, 4)))
    one, other = jnp.array([0, 3, 1]), jnp.array([2, 3, 0])
    given = {"scale": 3.0, "margin": 0.2, "focus": 1.0}
    found = focal_margin_loss(logits, mixed(one, other, jnp.float32(0.3), 4), **given)
    parts = [focal_margin_loss(logits, labels, **given) for labels in (one, other)]
    assert float(found) == pytest.approx(0.3 * float(parts[0]) + 0.7 * float(parts[1]), rel=1e-5)


def test_without_margin_and_focus_it_is_cross_entropy(rng):
    logits, labels = jnp.float32(rng.normal(size=(3, 4))), jnp.array([0, 3, 1])
    for truth in (labels, jnp.eye(4)[labels], jnp.float32(rng.dirichlet(np.ones(4), 3))):
        np.testing.assert_allclose(
            focal_margin_loss(logits, truth, scale=5.0),
            cross_entropy_loss(5 * logits, truth),
            rtol=1e-5,
        )


def test_by_hand():
    # Two classes, e^(z_0 - z_1) = 3: p = 3/4, and 3/5 once ln 2 is taken off.
    logits = jnp.array([[np.log(3.0), 0.0]])
    for labels in (jnp.array([0]), jnp.array([[1.0, 0.0]])):
        found = focal_margin_loss(logits, labels, focus=2.0)
        assert float(found) == pytest.approx(np.log(4 / 3) / 16, rel=1e-5)
        found = focal_margin_loss(logits, labels, margin=np.log(2.0), focus=1.0)
        assert float(found) == pytest.approx(0.4 * np.log(5 / 3), rel=1e-5)


@pytest.mark.parametrize("height", [30.0, 3e4])
def test_what_is_certain_or_impossible_stays_finite(height):
    logits = jnp.array([[height, 0.0, -1.0], [0.0, height, 0.0], [height, height, 0.0]])
    labels = jnp.array([0, 0, 1])
    expected = loop(np.asarray(logits), np.eye(3)[labels], 1.0, 0.1, 1.0)
    slope_of = jax.jit(
        jax.value_and_grad(lambda z, truth: focal_margin_loss(z, truth, margin=0.1, focus=1.0))
    )
    for truth in (labels, jnp.eye(3)[labels]):
        loss, slope = slope_of(logits, truth)
        assert float(loss) == pytest.approx(expected, rel=1e-5)
        assert np.all(np.isfinite(slope))
    # Of a certain label the loss is what the others have left, to its last digits.
    only = focal_margin_loss(jnp.array([[25.0, 0.0]]), jnp.array([[1.0, 0.0]]))
    assert float(only) == pytest.approx(np.log1p(np.exp(-25.0)), rel=1e-5)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="one label each"):
        focal_margin_loss(jnp.zeros((2, 3)), jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match="labels are float32, one each"):
        focal_margin_loss(jnp.zeros((2, 3)), jnp.zeros(2))
