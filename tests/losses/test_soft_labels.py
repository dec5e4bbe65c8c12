import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import (
    balanced_softmax_loss,
    cross_entropy_loss,
    logit_compensation_loss,
    mixed,
    smoothed,
)
from tests.losses import public

COUNTS = np.array([500, 40, 3, 1])
LABELS = np.array([0, 1, 2, 3, 0, 1])
WITH_COUNTS = (logit_compensation_loss, balanced_softmax_loss)


@pytest.fixture
def logits(rng):
    return 2.0 * rng.normal(size=(6, 4)).astype(np.float32)


@pytest.fixture
def shares(rng):
    """Rows of which some have shares of 0."""
    found = rng.dirichlet(np.ones(4), size=6) * (rng.random((6, 4)) < 0.7)
    found[0] = [0, 0, 1, 0]
    found += 1e-3 * (found.sum(axis=1, keepdims=True) == 0)
    return (found / found.sum(axis=1, keepdims=True)).astype(np.float32)


def loop(logits, shares, weights):
    """Loss and gradient in float64, one class at a time."""
    total, gradient = 0.0, np.zeros(logits.shape)
    for i, (row, share) in enumerate(zip(np.asarray(logits, np.float64), shares, strict=True)):
        exponentials = weights * np.exp(row)
        probability = exponentials / exponentials.sum()
        for k, part in enumerate(np.asarray(share, np.float64)):
            if part:
                total -= part * np.log(probability[k])
            gradient[i, k] = share.sum() * probability[k] - part
    return total / len(logits), gradient / len(logits)


def test_soft_labels_match_a_loop(logits, shares):
    public.check(cross_entropy_loss, logits, *loop(logits, shares, np.ones(4)), shares)
    for loss in WITH_COUNTS:
        # A factor that all classes have in common is dropped.
        for weights in (COUNTS, COUNTS / COUNTS.sum()):
            public.check(loss, logits, *loop(logits, shares, weights), shares, COUNTS)


def test_soft_labels_by_hand():
    # Shares of a quarter: softmax of (0, log 3) is (1/4, 3/4).
    loss = cross_entropy_loss(jnp.array([[0.0, np.log(3.0)]]), jnp.array([[0.25, 0.75]]))
    assert float(loss) == pytest.approx(0.25 * np.log(4) + 0.75 * np.log(4 / 3), rel=1e-6)
    # With three times as many images of the second class equal logits say the same.
    loss = balanced_softmax_loss(jnp.zeros((1, 2)), jnp.array([[0.25, 0.75]]), np.array([5, 15]))
    assert float(loss) == pytest.approx(0.25 * np.log(4) + 0.75 * np.log(4 / 3), rel=1e-6)


def test_one_hot_labels_are_hard_labels(logits):
    one_hot = np.eye(4)[LABELS]
    hard = cross_entropy_loss(logits, LABELS)
    for soft in (one_hot, one_hot.astype(int), smoothed(LABELS, 4, 0.0)):
        np.testing.assert_allclose(cross_entropy_loss(logits, soft), hard, rtol=1e-6)
    for loss in WITH_COUNTS:
        np.testing.assert_allclose(
            loss(logits, one_hot, COUNTS), loss(logits, LABELS, COUNTS), rtol=1e-6
        )


def test_the_loss_is_linear_in_the_labels_and_their_derivative_is_minus_the_log(logits, shares):
    slope = jax.grad(cross_entropy_loss, argnums=1)(jnp.asarray(logits), jnp.asarray(shares))
    np.testing.assert_allclose(-6 * slope, jax.nn.log_softmax(logits), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
def test_smoothing_by_hand(smoothing):
    found = smoothed(np.array([2, 0]), 4, smoothing)
    rest = smoothing / 4
    own = 1 - smoothing + rest
    np.testing.assert_allclose(found, [[rest, rest, own, rest], [own, rest, rest, rest]], rtol=1e-6)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_smoothed_cross_entropy_is_that_of_label_and_mean(logits):
    loss = cross_entropy_loss(logits, jax.jit(smoothed, static_argnums=(1, 2))(LABELS, 4, 0.2))
    logs = np.asarray(jax.nn.log_softmax(logits.astype(np.float64)))
    expected = -0.8 * logs[np.arange(6), LABELS].mean() - 0.2 * logs.mean()
    assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", WITH_COUNTS)
def test_a_class_without_images_and_without_a_share_spoils_nothing(loss, rng):
    logits = np.float32(rng.normal(size=(3, 3)))
    shares = np.float32([[0.5, 0, 0.5], [1, 0, 0], [0.1, 0, 0.9]])
    counts = np.array([5, 0, 2])
    left = np.array([0, 2])
    differentiate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    value, (gradient, by_shares) = differentiate(logits, shares, counts)
    without = loss(logits[:, left], shares[:, left], counts[left])
    np.testing.assert_allclose(value, without, rtol=1e-6)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(np.asarray(gradient)[:, 1], np.zeros(3))
    forward = jax.jit(lambda x, along: jax.jvp(lambda x: loss(x, shares, counts), (x,), (along,)))
    _, slope = forward(logits, np.ones_like(logits))
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    assert np.all(np.isfinite(by_shares))


@pytest.mark.parametrize("loss", WITH_COUNTS)
def test_a_share_of_a_class_without_images_gives_infinity_and_not_nan(loss, rng):
    logits = rng.normal(size=(2, 3)).astype(np.float32)
    soft = smoothed(np.array([0, 2]), 3, 0.1)
    value, gradient = jax.jit(jax.value_and_grad(loss))(logits, soft, np.array([5, 0, 2]))
    assert value == np.inf
    assert not np.any(np.isnan(gradient))


def test_soft_losses_are_float32_for_bfloat16(logits, shares):
    low = jnp.asarray(logits, jnp.bfloat16), jnp.asarray(shares, jnp.bfloat16)
    high = [x.astype(jnp.float32) for x in low]
    for loss in (cross_entropy_loss, *WITH_COUNTS):
        counts = () if loss is cross_entropy_loss else (COUNTS,)
        assert loss(*low, *counts).dtype == jnp.float32
        np.testing.assert_array_equal(loss(*low, *counts), loss(*high, *counts))


def test_balanced_softmax_is_that_of_public_code():
    vectors = public.load("balanced_softmax")
    labels, counts = vectors["ordinary_labels"], vectors["cls_num_list"]
    for name in ("ordinary_loss", "ordinary_cudaltr_bs_loss"):
        public.check(
            balanced_softmax_loss,
            vectors["ordinary_logits"],
            vectors[name],
            vectors["ordinary_dlogits"],
            labels,
            counts,
        )
    logits, loss = np.float32(vectors["ordinary_logits"]), jax.jit(balanced_softmax_loss)
    each = [loss(logits[i : i + 1], labels[i : i + 1], counts) for i in range(24)]
    np.testing.assert_allclose(each, vectors["ordinary_loss_none"], rtol=1e-5)
    counts = np.where(np.arange(10) == 4, 0, counts)
    expected = vectors["ordinary_zero_count_class4_loss"]
    assert float(loss(logits, labels, counts)) == expected == np.inf


@pytest.mark.parametrize("loss", WITH_COUNTS)
def test_mixed_labels_are_those_of_public_code(loss):
    vectors = public.load("bcl")
    public.check(
        loss,
        vectors["ordinary_logits"],
        vectors["ordinary_cutmixce_loss"],
        vectors["ordinary_cutmixce_dlogits"],
        vectors["ordinary_soft_targets"],
        vectors["cls_num_list"],
    )


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (2, 3, 1), (3,), ()])
def test_labels_that_do_not_fit_are_named(shape):
    labels = jnp.zeros(shape, int)
    with pytest.raises(ValueError, match=r"\(2, 3\) and labels .*with one label each, \[B\], or"):
        cross_entropy_loss(jnp.zeros((2, 3)), labels)
    for loss in WITH_COUNTS:
        with pytest.raises(ValueError, match=r"\(2, 3\) and labels .*shares of the classes"):
            loss(jnp.zeros((2, 3)), labels, jnp.ones(3))


def test_a_label_that_is_no_integer_is_named():
    with pytest.raises(ValueError, match=r"labels are float32, one each; pass integer classes"):
        cross_entropy_loss(jnp.zeros((2, 3)), jnp.zeros(2))
    with pytest.raises(ValueError, match=r"labels are float32 of shape \(2,\); pass integer"):
        smoothed(jnp.zeros(2), 3, 0.1)
    with pytest.raises(ValueError, match=r"labels are int32 of shape \(2, 1\)"):
        smoothed(jnp.zeros((2, 1), jnp.int32), 3, 0.1)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_smoothing_out_of_bounds_is_named(smoothing):
    with pytest.raises(ValueError, match="smoothing is .*; pass a number from 0 to 1"):
        smoothed(np.array([0]), 3, smoothing)


def test_labels_of_mixed_images_by_hand():
    found = mixed(jnp.array([0, 2]), jnp.array([1, 2]), jnp.float32(0.75), 3)
    np.testing.assert_allclose(found, [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])
