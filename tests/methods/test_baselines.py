"""LDAM-DRW, balanced softmax and tau-normalisation beside their losses and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.errors import ConfigError
from bccl_jax.losses.margins import effective_number_weights
from bccl_jax.methods.balanced_softmax import BalancedSoftmax
from bccl_jax.methods.base import Between
from bccl_jax.methods.ldam_drw import LdamDrw
from bccl_jax.methods.logit_adjustment import LogitAdjustment
from bccl_jax.methods.tau_norm import TauNorm
from tests.methods.small import CONTEXT, COUNTS, LABELS, loss_of


def ldam_by_loops(logits, weights, scale=30.0, largest=0.5):
    """Eq. 13 of Cao et al. 2019 in float64, the logits scale times cosines."""
    total = 0.0
    margins = [largest * (min(COUNTS) / n) ** 0.25 for n in COUNTS]
    for row, label in zip(np.asarray(logits, np.float64), np.asarray(LABELS), strict=True):
        shifted = [z - (scale * margins[label] if k == label else 0) for k, z in enumerate(row)]
        total -= weights[label] * (shifted[label] - np.log(sum(np.exp(z) for z in shifted)))
    return total / sum(weights[label] for label in np.asarray(LABELS))


@pytest.mark.parametrize(("epoch", "weighted"), [(0, False), (79, False), (80, True), (99, True)])
def test_ldam_weighs_classes_from_its_epoch_on(outputs, epoch, weighted):
    logits = 5 * outputs[0]
    method = LdamDrw()
    state = method.init(jax.random.key(0), CONTEXT)
    loss, _, renewed = loss_of(method, logits, state, epoch)
    assert renewed is not None
    numbers = [(1 - 0.9999) / (1 - 0.9999 ** int(n)) for n in COUNTS]
    weights = numbers if weighted else [1.0, 1.0, 1.0]
    assert loss == pytest.approx(ldam_by_loops(logits, weights), rel=1e-5)
    np.testing.assert_allclose(
        effective_number_weights(COUNTS, 0.9999), 3 * np.array(numbers) / sum(numbers), rtol=1e-5
    )


def test_ldam_wants_cosines():
    with pytest.raises(ConfigError, match="method.classifier is 'linear', but the margins"):
        LdamDrw(classifier="linear").validate(10)


def test_balanced_softmax_is_logit_adjustment_but_for_what_softmax_does_not_see(outputs):
    found = []
    for method in (BalancedSoftmax(), LogitAdjustment()):
        state = method.init(jax.random.key(0), CONTEXT)
        found.append(loss_of(method, outputs[0], state, 0)[0])
    adjusted = np.asarray(outputs[0], np.float64) + np.log(COUNTS)
    rows = np.arange(4)
    expected = np.mean(np.log(np.exp(adjusted).sum(axis=1)) - adjusted[rows, np.asarray(LABELS)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def between(features, labels, kernel):
    params = {"heads_classifier": {"Dense_0": {"kernel": jnp.asarray(kernel, jnp.float32)}}}

    def of(role):
        assert role == "validation"
        return features, labels

    return Between(10, 10, params, of)


def test_tau_is_the_first_of_the_best_on_validation():
    # Class 0 has weights four times as long: x . w of class 1 is larger from tau with
    # 4^(1 - tau) x0 < x1 on, for all images of class 1 first at tau = 0.5 (2 * 0.45 < 1).
    kernel = np.array([[4.0, 0.0], [0.0, 1.0]])
    features = np.array([[1.0, 0.5], [1.0, 0.9], [0.45, 1.0], [0.2, 1.0]], np.float32)
    labels = np.array([0, 0, 1, 1])
    method = TauNorm()
    state = method.init(jax.random.key(0), CONTEXT)
    assert state["tau"] == 1.0
    renewed, report = method.refresh(state, None, between(features, labels, kernel))
    assert report["tau_accuracy"] == 100.0
    # 4^0.5 * 0.45 = 0.9 < 1 and 4^0.6 * 0.45 = 1.03 > 1.
    assert report["tau"] == pytest.approx(0.5)
    assert float(renewed["tau"]) == pytest.approx(0.5)
    assert renewed["tau"].dtype == state["tau"].dtype


def test_the_mean_of_classes_decides():
    kernel = np.array([[4.0, 0.0], [0.0, 1.0]])
    # Class 1 has one image of ten, which tau > 1 - log4(1 / 0.6) = 0.63 wins; from tau = 0.5 on
    # four of the nine others are lost.
    features = np.array([[0.5, 1.0]] * 4 + [[1.0, 0.1]] * 5 + [[0.6, 1.0]], np.float32)
    labels = np.array([0] * 9 + [1])
    method = TauNorm()
    _, report = method.refresh(method.init(None, CONTEXT), None, between(features, labels, kernel))
    assert report["tau"] == pytest.approx(0.7)
    assert report["tau_accuracy"] == pytest.approx(100 * (5 / 9 + 1) / 2)


def test_predictions_are_by_weights_of_which_the_norm_is_taken_off(rng):
    kernel = rng.normal(size=(5, 3)).astype(np.float32) * [1, 4, 9]
    features = rng.normal(size=(6, 5)).astype(np.float32)
    params = {"heads_classifier": {"Dense_0": {"kernel": kernel, "bias": np.ones(3)}}}
    for tau in (0.0, 0.7, 1.0):
        method = TauNorm(tau=tau)
        state = method.init(jax.random.key(0), CONTEXT)
        found = method.logits(lambda *_: (features, None), params, None, state)
        norms = np.linalg.norm(kernel.astype(np.float64), axis=0)
        np.testing.assert_allclose(found, features @ (kernel / norms**tau), rtol=1e-4, atol=1e-5)
        assert not method.refresh_due(10, 10)
    assert TauNorm().refresh_due(10, 10)
    assert not TauNorm().refresh_due(9, 10)


def test_tau_is_not_chosen_on_the_test_split():
    TauNorm().validate_splits({"train", "test", "validation"})
    TauNorm(tau=1.0).validate_splits({"train", "test"})
    with pytest.raises(ConfigError, match=r"tau is None.*validation_fraction=0\.2"):
        TauNorm().validate_splits({"train", "test"})
    with pytest.raises(ConfigError, match="classifier is 'cosine'"):
        TauNorm(classifier="cosine").validate(10)
