"""Semantic augmentation beside float64 loops, a case by hand, draws, and MetaSAug's public code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.margins import effective_number_weights, ldam_loss
from bccl_jax.losses.semantic_augmentation import (
    augmented_logits,
    semantic_augmentation_loss,
    semantic_spread,
)
from tests.losses import public
from tests.losses.differences import slopes

VECTORS = public.load("meta_saug")
COUNTS, LABELS = VECTORS["cls_num_list"], VECTORS["ordinary_labels"]
RATIO = float(VECTORS["ordinary_ratio"])
FORMS = {"full": "ordinary_cov", "diagonal": "ordinary_diag_cov"}


def spread_loop(weights, labels, covariances):
    """In float64, one pair of classes at a time."""
    weights, covariances = (np.asarray(x, np.float64) for x in (weights, covariances))
    found = np.zeros((len(labels), len(weights)))
    for i, y in enumerate(np.asarray(labels)):
        for j in range(len(weights)):
            apart = weights[j] - weights[y]
            along = covariances[y] @ apart if covariances.ndim == 3 else covariances[y] * apart
            found[i, j] = apart @ along
    return found


def loss_loop(logits, labels, spread, counts, strength, max_margin, class_weights):
    """In float64, one image at a time."""
    total = weighed = 0.0
    for row, y, wide in zip(np.asarray(logits, np.float64), labels, spread, strict=True):
        z = row + 0.5 * strength * wide
        z[y] -= max_margin * (min(counts) / counts[y]) ** 0.25
        total += class_weights[y] * (np.log(np.sum(np.exp(z - z.max()))) + z.max() - z[y])
        weighed += class_weights[y]
    return total / weighed


def of_features(features, weight, cov, class_weights, max_margin):
    """The loss as public code has it, of features, classifier rows and covariances."""
    return semantic_augmentation_loss(
        features @ weight.T + np.float32(VECTORS["ordinary_bias"])[None],
        LABELS,
        weight,
        cov,
        COUNTS,
        strength=RATIO,
        max_margin=max_margin,
        class_weights=class_weights,
    )


differentiate_public = jax.jit(
    jax.value_and_grad(of_features, argnums=(0, 1, 2)), static_argnames="max_margin"
)
differentiate = jax.jit(
    jax.value_and_grad(semantic_augmentation_loss, argnums=(0, 2, 3)),
    static_argnames=("strength", "max_margin"),
)


@pytest.mark.parametrize("case", ["full weighted", "full noweight", "diagonal weighted"])
def test_it_is_that_of_public_code(case):
    form, weighted = case.split()
    prefix = f"ordinary_{weighted}" if form == "full" else "ordinary_diag"
    at = (VECTORS[name] for name in ("ordinary_features", "ordinary_weight", FORMS[form]))
    found, gradients = differentiate_public(
        *map(np.float32, at),
        effective_number_weights(COUNTS, 0.9999) if weighted == "weighted" else None,
        max_margin=0.5 if form == "full" else 0.0,
    )
    for name, gradient in zip(("features", "weight", "cov"), gradients, strict=True):
        public.agree(found, gradient, VECTORS[f"{prefix}_loss"], VECTORS[f"{prefix}_d{name}"])


@pytest.mark.parametrize("form", list(FORMS))
def test_augmented_logits_are_those_of_public_code(form):
    own = np.eye(len(COUNTS))[LABELS]
    found = augmented_logits(
        jnp.asarray(VECTORS["ordinary_logits"]),
        LABELS,
        VECTORS["ordinary_weight"],
        VECTORS[FORMS[form]],
        strength=RATIO,
    )
    if form == "full":
        found -= own * VECTORS["ldam_m_list"]
    expected = VECTORS[f"ordinary_{'aug' if form == 'full' else 'diag_aug'}_logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_spread_by_hand():
    weights = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    covariances = jnp.array([[[3.0, 1.0], [1.0, 5.0]], [[1.0, 0.0], [0.0, 0.0]]])
    # (-1, 2) [[3, 1], [1, 5]] (-1, 2)' = 3 - 4 + 20; (1, -2) diag(1, 0) (1, -2)' = 1.
    found = semantic_spread(weights, jnp.array([0, 1, 0]), covariances)
    np.testing.assert_allclose(found, [[0, 19], [1, 0], [0, 19]], rtol=1e-6)
    # Of the variances alone 3 + 20.
    diagonal = jnp.array([[3.0, 5.0], [1.0, 0.0]])
    found = semantic_spread(weights, jnp.array([0, 1]), diagonal)
    np.testing.assert_allclose(found, [[0, 23], [1, 0]], rtol=1e-6)


@pytest.fixture(params=list(FORMS))
def case(request, rng):
    """Logits, labels, rows and covariances of five classes, of which two are in no image."""
    roots = rng.normal(size=(5, 4, 4))
    covariances = roots @ roots.swapaxes(1, 2)
    if request.param == "diagonal":
        covariances = np.einsum("kdd->kd", covariances)
    logits, weights = 2 * rng.normal(size=(6, 5)), rng.normal(size=(5, 4))
    return logits, np.array([0, 3, 3, 1, 0, 0]), weights, covariances


ARRAYS = (90, 40, 4, 12, 1)


def compute(case, **changed):
    """Loss and gradients by logits, rows and covariances, in float32."""
    arrays = (np.float32(x) if x.dtype == float else x for x in case)
    settings = {"strength": 0.7, "max_margin": 0.5, "class_weights": None} | changed
    return differentiate(*arrays, np.array(ARRAYS), **settings)


@pytest.mark.parametrize("class_weights", [None, (0.1, 2.0, 1.0, 0.5, 3.0)])
def test_the_loss_and_its_gradients_match_loops(case, class_weights):
    of_class = (1,) * 5 if class_weights is None else class_weights

    def expected(logits, weights, covariances):
        spread = spread_loop(weights, case[1], covariances)
        return loss_loop(logits, case[1], spread, ARRAYS, 0.7, 0.5, of_class)

    at = case[0], case[2], case[3]
    weights = None if class_weights is None else np.float32(class_weights)
    found, gradients = compute(case, class_weights=weights)
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(expected(*at), rel=1e-5)
    for number, gradient in enumerate(gradients):

        def moved(x, number=number):
            return expected(*at[:number], x, *at[number + 1 :])

        slope = slopes(moved, at[number])
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5 * np.abs(slope).max())
    # Covariances of classes that are in no image change nothing.
    of_covariances = np.asarray(gradients[2])
    assert not np.any(of_covariances[[2, 4]])
    if case[3].ndim == 3:
        turned = of_covariances.swapaxes(1, 2)
        np.testing.assert_allclose(of_covariances, turned, rtol=1e-4, atol=1e-7)


def test_without_strength_or_covariance_it_is_ldam(case):
    logits, labels, weights, covariances = case
    base = jax.jit(functools.partial(ldam_loss, scale=1.0))(
        np.float32(logits), labels, np.array(ARRAYS)
    )
    for changed in (
        compute(case, strength=0.0),
        compute((logits, labels, weights, np.zeros_like(covariances))),
        compute((logits, labels, np.ones_like(weights), covariances)),
    ):
        assert float(changed[0]) == float(base)


def test_the_labels_own_logit_stays(case):
    logits, labels, weights, covariances = case
    found = augmented_logits(
        jnp.asarray(logits, jnp.float32),
        jnp.asarray(labels),
        jnp.asarray(1e3 * weights),
        jnp.asarray(covariances),
        strength=2.0,
    )
    rows = np.arange(len(labels))
    np.testing.assert_array_equal(found[rows, labels], np.float32(logits[rows, labels]))


def test_it_bounds_the_mean_over_moved_features(rng):
    """What the closed form stands for, by draws; both see the same Sigma (Wang et al. 2019)."""
    weights, strength = rng.normal(size=(3, 2)), 0.8
    root = rng.normal(size=(2, 2))
    feature, label = rng.normal(size=2), 1
    copies = feature + np.sqrt(strength) * rng.normal(size=(200_000, 2)) @ root.T
    z = copies @ weights.T
    losses = np.log(np.exp(z).sum(axis=1)) - z[:, label]
    # The bound is the log of the mean where that is the mean of the log.
    bound = np.log(np.mean(np.exp(losses)))
    found, _ = differentiate(
        np.float32((feature @ weights.T)[None]),
        np.array([label]),
        np.float32(weights),
        np.float32(np.stack([root @ root.T] * 3)),
        np.array([1, 1, 1]),
        strength=strength,
        max_margin=0.0,
    )
    assert losses.mean() < float(found)
    assert float(found) == pytest.approx(bound, rel=0.02)


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_wide_features_keep_their_digits(rng, offset):
    """Rows that have much in common: what they share is in no difference."""
    weights = jnp.asarray(offset + 0.05 * rng.normal(size=(8, 2048)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 8, 12))
    variances = jnp.asarray(rng.uniform(0.1, 3, (8, 2048)), jnp.float32)
    found = jax.jit(semantic_spread)(weights, labels, variances)
    expected = spread_loop(weights, labels, variances)
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    roots = 0.1 * rng.normal(size=(8, 128, 128))
    full = jnp.asarray(roots @ roots.swapaxes(1, 2), jnp.float32)
    found = jax.jit(semantic_spread)(weights[:, :128], labels, full)
    expected = spread_loop(weights[:, :128], labels, full)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_crowded_and_huge_values_stay_finite(case):
    logits, labels, weights, covariances = case
    crowded = np.ones((5, 4)) + 1e-6 * weights
    for changed in (
        (1e4 * logits, labels, weights, covariances),
        (logits, labels, 1e3 * weights, 1e3 * covariances),
        (logits, labels, crowded, 1e6 * covariances),
        (logits, labels, weights, -covariances),
    ):
        found, (_, gradient, _) = compute(changed)
        assert np.isfinite(found)
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": (4, 3)}, r"covariances \(5, 3, 3\)"),
        ({"covariances": (5, 2, 2)}, "pass weights"),
        ({"labels": (2, 2)}, "pass logits"),
        ({"logits": (2, 4)}, "pass logits"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes, message):
    shapes = {"logits": (2, 5), "labels": (2,), "weights": (5, 3), "covariances": (5, 3, 3)}
    arrays = {name: jnp.zeros(shape) for name, shape in (shapes | changes).items()}
    arrays["labels"] = arrays["labels"].astype(jnp.int32)
    if "weights" in changes:
        with pytest.raises(ValueError, match=message):
            semantic_spread(arrays["weights"], arrays["labels"], arrays["covariances"])
        return
    with pytest.raises(ValueError, match=message):
        augmented_logits(*arrays.values(), strength=1.0)


def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(ValueError, match="labels are float32"):
        semantic_spread(jnp.zeros((3, 2)), jnp.zeros(4), jnp.zeros((3, 2)))
