import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from bccl_jax.losses.classification import (
    cross_entropy_loss,
    log_class_prior,
    logit_compensation_loss,
)
from tests.losses import public
from tests.losses.differences import slopes

COUNTS = [500, 40, 3, 1]
differentiate = jax.jit(jax.value_and_grad(logit_compensation_loss))


def loop_cross_entropy(logits, labels, prior):
    total = 0.0
    for row, label in zip(np.asarray(logits, np.float64), labels, strict=True):
        exponentials = np.exp(row) * prior
        total -= np.log(exponentials[label] / exponentials.sum())
    return total / len(labels)


@pytest.fixture
def batch(rng):
    return 2.0 * rng.normal(size=(6, 4)).astype(np.float32), np.array([0, 1, 2, 3, 0, 1])


def test_cross_entropy_is_the_mean_negative_log_softmax(batch):
    np.testing.assert_allclose(
        cross_entropy_loss(*batch), loop_cross_entropy(*batch, np.ones(4)), rtol=1e-6
    )


def test_logit_compensation_weights_the_softmax_by_the_prior(batch):
    loss = logit_compensation_loss(*batch, jnp.array(COUNTS))
    expected = loop_cross_entropy(*batch, np.array(COUNTS) / sum(COUNTS))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_logit_compensation_with_equal_counts_is_cross_entropy(batch):
    loss = logit_compensation_loss(*batch, jnp.full(4, 7))
    np.testing.assert_allclose(loss, cross_entropy_loss(*batch), rtol=1e-6)


def test_logit_compensation_gradient_matches_finite_differences(batch):
    logits, labels = batch
    check_grads(
        lambda x: logit_compensation_loss(x, labels, jnp.array(COUNTS)),
        (logits,),
        order=1,
        modes=["rev"],
        atol=2e-2,
        rtol=2e-2,
    )


def test_losses_are_float32_for_bfloat16_logits(batch):
    logits, labels = jnp.asarray(batch[0], jnp.bfloat16), batch[1]
    loss = logit_compensation_loss(logits, labels, jnp.array(COUNTS))
    assert loss.dtype == cross_entropy_loss(logits, labels).dtype == jnp.float32
    expected = loop_cross_entropy(
        logits.astype(jnp.float32), labels, np.array(COUNTS) / sum(COUNTS)
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_a_class_without_images_drops_out_of_the_softmax(rng):
    logits = rng.normal(size=(3, 3)).astype(np.float32)
    labels = np.array([0, 2, 2])
    loss, gradient = differentiate(logits, labels, np.array([5, 0, 2]))
    without, _ = differentiate(logits[:, [0, 2]], np.array([0, 1, 1]), np.array([5, 2]))
    np.testing.assert_allclose(loss, without, rtol=1e-6)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(np.asarray(gradient)[:, 1], np.zeros(3))


def test_a_label_of_a_class_without_images_gives_infinity_and_not_nan(rng):
    logits = rng.normal(size=(2, 3)).astype(np.float32)
    loss, gradient = differentiate(logits, np.array([1, 0]), np.array([5, 0, 2]))
    assert loss == np.inf
    assert not np.any(np.isnan(gradient))


def test_log_class_prior_is_the_log_share_and_minus_infinity_where_empty():
    prior = log_class_prior(np.array([30, 0, 10]))
    np.testing.assert_allclose(prior, [np.log(0.75), -np.inf, np.log(0.25)], rtol=1e-6)
    assert prior.dtype == jnp.float32


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(4,\)"):
        cross_entropy_loss(jnp.zeros((2, 3)), jnp.zeros(4, int))
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(4,\)"):
        logit_compensation_loss(jnp.zeros((2, 3)), jnp.zeros(2, int), jnp.ones(4))
    with pytest.raises(ValueError, match=r"\(2, 1\)"):
        log_class_prior(jnp.ones((2, 1)))


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_compensation_by_a_part_of_the_prior_is_that_of_public_code(factor):
    vectors = public.load("bcl")
    public.check(
        logit_compensation_loss,
        vectors["ordinary_logits"],
        vectors[f"ordinary_logitadjust_tau{factor}_loss"],
        vectors[f"ordinary_logitadjust_tau{factor}_dlogits"],
        vectors["ordinary_labels"],
        vectors["cls_num_list"],
        factor=factor,
    )


@pytest.mark.parametrize("factor", [0.0, 0.75, 0.9])
def test_compensation_by_a_part_of_the_prior_matches_a_loop(factor, rng):
    counts = np.array([70, 0, 12, 3])
    logits = rng.normal(size=(3, 4)).astype(np.float32).astype(np.float64)
    shares = np.array([[0.5, 0, 0.5, 0], [0, 0, 0, 1], [0.2, 0, 0.3, 0.5]])

    def expected(x):
        # The prior to a power weighs the exponentials.
        weights = (counts / counts.sum()) ** factor
        terms = weights * np.exp(x)
        logs = np.log(np.where(terms > 0, terms / terms.sum(axis=1, keepdims=True), 1))
        return -np.mean(np.sum(shares * logs, axis=1))

    public.check(
        logit_compensation_loss,
        logits,
        expected(logits),
        slopes(expected, logits),
        shares,
        counts,
        factor=factor,
    )


def test_without_the_prior_it_is_cross_entropy(rng):
    logits, labels = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32), jnp.array([0, 2, 1, 1])
    found = logit_compensation_loss(logits, labels, np.array([7, 2, 0]), factor=0)
    assert float(found) == float(cross_entropy_loss(logits, labels))
