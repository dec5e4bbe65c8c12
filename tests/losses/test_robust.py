"""The loss of DRO-LT: against loops in float64, by hand, and as public code computes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses import robust
from bccl_jax.losses.margins import inverse_count_weights
from bccl_jax.losses.robust import robust_prototype_loss
from tests.losses import public
from tests.losses.differences import slopes

VECTORS = public.load("dro_lt")


def loop(features, labels, prototypes, radii, temperature, weights=None, there=None):
    """The formula, class by class."""
    num_classes = len(prototypes)
    there = np.ones(num_classes, bool) if there is None else there
    total, present = 0.0, 0
    for k in range(num_classes):
        own = [i for i in range(len(labels)) if labels[i] == k]
        if not own or not there[k]:
            continue
        logits = []
        for i in range(len(labels)):
            distance = np.sqrt(np.sum((features[i] - prototypes[k]) ** 2))
            logits.append(-(distance + (radii[k] if i in own else 0)) / temperature)
        peak = max(logits)
        log_sum = peak + np.log(sum(np.exp(logit - peak) for logit in logits))
        mean = np.mean([log_sum - logits[i] for i in own])
        total += mean if weights is None else weights[k] * mean
        present += 1
    if weights is None:
        return total / max(present, 1)
    return total / max(np.sum(np.asarray(weights)[there]), 1e-38)


@pytest.mark.parametrize(
    ("tag", "temperature", "weighted"),
    # Sorted by class, for otherwise public code gives images the radii of other classes.
    [("noeps", 0.07, False), ("eps", 0.07, False), ("eps_bal", 0.07, True), ("eps_t1", 1.0, False)],
)
def test_loss_and_gradients_are_those_of_public_code(tag, temperature, weighted):
    order = VECTORS["ordinary_sort_index"]
    labels = VECTORS["ordinary_batch_targets"][order]
    features = VECTORS["ordinary_batch_feats"][order]
    radii = VECTORS["ordinary_epsilons"] * (tag != "noeps")
    weights = VECTORS["balanced_weights"] if weighted else None

    @jax.jit
    def loss(features, radii):
        return robust_prototype_loss(
            features,
            labels,
            VECTORS["ordinary_prototypes"],
            radii,
            temperature=temperature,
            class_weights=weights,
        )

    value = VECTORS[f"ordinary_sorted_{tag}_loss"]
    public.check(
        lambda x: loss(x, jnp.float32(radii)),
        features,
        value,
        VECTORS[f"ordinary_sorted_{tag}_dfeats"],
    )
    if tag != "noeps":
        slope = VECTORS[f"ordinary_sorted_{tag}_depsilons"]
        public.check(lambda x: loss(jnp.float32(features), x), radii, value, slope)


def test_the_order_of_a_batch_is_no_matter():
    labels, features = VECTORS["ordinary_batch_targets"], VECTORS["ordinary_batch_feats"]
    found = jax.jit(robust_prototype_loss)(
        jnp.float32(features),
        jnp.asarray(labels),
        VECTORS["ordinary_prototypes"],
        jnp.float32(VECTORS["ordinary_epsilons"]),
        temperature=0.07,
    )
    assert float(found) == pytest.approx(VECTORS["ordinary_sorted_eps_loss"], rel=1e-5)
    # What public code makes of the same batch.
    assert abs(float(found) - VECTORS["ordinary_eps_loss"]) > 0.9


def test_its_weights_are_those_of_public_code():
    found = inverse_count_weights(VECTORS["cls_num_list"], 1.0)
    expected = VECTORS["balanced_weights"]
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-5)


def compiled_loss(features, radii, labels, prototypes, weights, there):
    return robust_prototype_loss(
        features,
        labels,
        prototypes,
        radii,
        temperature=0.3,
        class_weights=weights,
        prototype_mask=there,
    )


compiled = jax.jit(jax.value_and_grad(compiled_loss, argnums=(0, 1)))

CASES = {
    "ordinary": ([0, 0, 1, 2, 2, 2], [1, 1, 1, 1], 0.0, 1.0),
    "missing": ([3, 0, 3, 3, 3, 3], [1, 1, 1, 1], 0.0, 1.0),
    "no prototype of a class": ([0, 0, 1, 2, 2, 2], [1, 1, 0, 1], 0.0, 1.0),
    "one class": ([1] * 6, [1, 1, 1, 1], 0.0, 1.0),
    # Far from the origin, near each other.
    "crowded": ([0, 0, 1, 2, 2, 3], [1, 1, 1, 1], 50.0, 0.01),
    "extreme": ([0, 0, 1, 2, 2, 3], [1, 1, 1, 1], 0.0, 1e4),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_match_a_loop(name, rng):
    labels, there, offset, scale = CASES[name]
    # In numbers that float32 has, so that both see the same points.
    features = np.float32(offset + scale * rng.normal(size=(6, 3))).astype(np.float64)
    prototypes = np.float32(offset + scale * rng.normal(size=(4, 3))).astype(np.float64)
    radii, weights = np.array([0.2, 1.5, -0.3, 0.7]), np.array([0.5, 1.0, 2.0, 0.25])
    there = np.array(there, bool)
    rest = (jnp.asarray(labels), *map(jnp.float32, (prototypes, weights)), there)
    found, (slope, of_radii) = compiled(jnp.float32(features), jnp.float32(radii), *rest)

    def reference(features, radii):
        return loop(features, labels, prototypes, radii, 0.3, weights, there)

    assert float(found) == pytest.approx(reference(features, radii), rel=1e-5)
    expected = slopes(lambda x: reference(x, radii), features, step=1e-6 * scale)
    np.testing.assert_allclose(slope, expected, atol=1e-4 * max(np.abs(expected).max(), 1e-3))
    expected = slopes(lambda x: reference(features, x), radii)
    np.testing.assert_allclose(of_radii, expected, atol=1e-4 * max(np.abs(expected).max(), 1e-3))


def test_by_hand():
    # Prototypes at 0 and 3; images of class 0 at 1 and of class 1 at 3, on its prototype.
    features, labels = jnp.array([[1.0], [3.0]]), jnp.array([0, 1])
    found, slope = jax.value_and_grad(jax.jit(robust_prototype_loss))(
        features, labels, jnp.array([[0.0], [3.0]]), jnp.array([0.5, 0.25]), temperature=2.0
    )
    # Of class 0: -(1 + 0.5) / 2 against -3 / 2; of class 1: -(0 + 0.25) / 2 against -2 / 2.
    first, second = np.log(1 + np.exp(-0.75)), np.log(1 + np.exp(-0.875))
    assert float(found) == pytest.approx((first + second) / 2, rel=1e-6)
    assert np.all(np.isfinite(slope))


def test_without_any_prototype_it_is_nothing():
    rest = jnp.zeros(6, int), jnp.zeros((4, 3)), jnp.ones(4), jnp.zeros(4, bool)
    found, (slope, of_radii) = compiled(jnp.ones((6, 3)), jnp.ones(4), *rest)
    assert found == 0
    assert not np.any(slope)
    assert not np.any(of_radii)


def memory(classes, batch, width):
    shapes = (batch, width), (classes,), (batch,), (classes, width), (classes,), (classes,)
    kinds = np.float32, np.float32, np.int32, np.float32, np.float32, bool
    arguments = map(jax.ShapeDtypeStruct, shapes, kinds)
    return compiled.lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def test_differences_are_in_memory_for_a_few_classes_at_a_time():
    # iNaturalist 2018 over a ResNet-50 would have 17 GB of them.
    assert memory(8142, 256, 2048) < 400 * 2**20


def test_some_classes_at_a_time_it_is_the_same(monkeypatch, rng):
    labels = jnp.array([0, 0, 1, 2, 2, 3])
    features, prototypes = (jnp.float32(rng.normal(size=shape)) for shape in ((6, 3), (4, 3)))
    rest = jnp.ones(4), labels, prototypes, jnp.ones(4), jnp.ones(4, bool)
    whole, slopes_of_whole = compiled(features, *rest)
    monkeypatch.setattr(robust, "_DIFFERENCES", 3 * features.size)  # 3 and 1 of the 4 classes
    parts, slopes_of_parts = jax.jit(jax.value_and_grad(compiled_loss, argnums=(0, 1)))(
        features, *rest
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    for found, expected in zip(slopes_of_parts, slopes_of_whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_shapes_that_do_not_fit_are_named():
    features, labels = jnp.ones((3, 2)), jnp.zeros(3, int)
    with pytest.raises(ValueError, match="one label each"):
        robust_prototype_loss(features, labels[:2], jnp.ones((4, 2)), jnp.ones(4), temperature=1.0)
    with pytest.raises(ValueError, match=r"radii \(3,\); pass prototypes \[K, D\]"):
        robust_prototype_loss(features, labels, jnp.ones((4, 2)), jnp.ones(3), temperature=1.0)
    with pytest.raises(ValueError, match="all else one a class"):
        robust_prototype_loss(features, labels, jnp.ones((4, 3)), jnp.ones(4), temperature=1.0)
