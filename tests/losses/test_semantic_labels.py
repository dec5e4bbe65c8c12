"""ConCutMix's labels beside float64 loops, by hand and beside public code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.semantic_labels import semantically_consistent_labels
from tests.losses import public

VECTORS = public.load("concutmix_label")
COUNTS = VECTORS["cls_num_list"]
FEATURES, CENTERS, TARGETS = (
    VECTORS[f"ordinary_{name}"]
    for name in ("unnormalised_features", "unnormalised_centers", "target_cutmix")
)


def loop(labels, features, centers, counts, omega, num_nearest):
    """The label of each image in float64; what there is nothing of left out first."""
    there = [c for c, n in enumerate(counts) if n > 0]
    found = np.zeros(labels.shape)
    for i, feature in enumerate(features):
        distances = {c: np.sqrt(sum((feature - centers[c]) ** 2)) for c in there}
        last = sorted(distances.values())[:num_nearest][-1]
        kept = {c: d for c, d in distances.items() if d <= last}
        if min(kept.values()) == 0:
            similarity = {c: float(d == 0) for c, d in kept.items()}
        else:
            similarity = {c: 1 / d for c, d in kept.items()}
        frequency = max(sum(labels[i, c] * counts[c] for c in there), 1)
        logs = sum(np.log(counts[c]) for c in there)
        weight = min(omega * np.log(frequency) / logs, 1) if logs else 0
        for c in range(len(counts)):
            share = similarity.get(c, 0.0) / sum(similarity.values())
            found[i, c] = (1 - weight) * labels[i, c] + weight * share
    return found


def labels_of(labels, features, centers, counts, omega, num_nearest):
    found = jax.jit(semantically_consistent_labels, static_argnames=("omega", "num_nearest"))(
        *(jnp.asarray(x, jnp.float32) for x in (labels, features, centers)),
        jnp.asarray(counts),
        omega=omega,
        num_nearest=num_nearest,
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert np.all(found >= 0)
    return np.asarray(found)


@pytest.mark.parametrize("name", ["default_2_256_top1", "1_1_top3", "1_2_topK"])
def test_labels_are_those_of_public_code(name):
    omega, num_nearest = VECTORS[f"ordinary_{name}_settings"]
    found = labels_of(TARGETS, FEATURES, CENTERS, COUNTS, float(omega), int(num_nearest))
    np.testing.assert_allclose(found, VECTORS[f"ordinary_{name}_label"], rtol=1e-5, atol=1e-7)


def test_mixed_areas_are_those_of_public_code():
    share = float(VECTORS["ordinary_lam"])
    found = share * np.eye(10)[VECTORS["ordinary_labels_a"]]
    found += (1 - share) * np.eye(10)[VECTORS["ordinary_labels_b"]]
    np.testing.assert_allclose(found, TARGETS, rtol=1e-6)


CASES = {
    "ordinary": ([90, 40, 7, 2, 1], 1.0),
    "close": ([90, 40, 7, 2, 1], 0.01),
    "very close": ([90, 40, 7, 2, 1], 1e-4),
    "missing classes": ([90, 0, 7, 0, 1], 1.0),
    "one class": ([0, 0, 7, 0, 0], 1.0),
    "single members": ([1, 1, 1, 1, 1], 1.0),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_nearest", [1, 3, 30])
@pytest.mark.parametrize("omega", [0.0, 0.5, 7.0])
def test_labels_match_a_loop(case, num_nearest, omega, rng):
    counts, spread = CASES[case]
    counts = np.array(counts)
    points = (1 + spread * rng.normal(size=(9, 6))).astype(np.float32)
    features, centers = points[:4], points[4:]
    there = np.flatnonzero(counts)
    labels = np.zeros((4, 5))
    for row in labels:
        one, other = rng.choice(there, 2)
        row[one] += 0.25
        row[other] += 0.75
    expected = loop(
        labels, *(x.astype(np.float64) for x in (features, centers)), counts, omega, num_nearest
    )
    found = labels_of(labels, features, centers, counts, omega, num_nearest)
    # A distance is exact but for the rounding of its differences.
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-7)


def test_a_label_by_hand():
    # Distances 1, 3 and 2, of which two count: s = (2/3, 0, 1/3). w = log 4 / log 16 = 1/2.
    found = labels_of(
        np.array([[0, 1.0, 0]]),
        np.array([[0.0, 0]]),
        np.array([[1.0, 0], [0, 3], [2, 0]]),
        [2, 4, 2],
        1.0,
        2,
    )
    np.testing.assert_allclose(found, [[1 / 3, 1 / 2, 1 / 6]], rtol=1e-6)


def test_what_lies_on_centres_is_theirs_alone():
    centers = np.array([[1.0, 2], [1, 2], [1, 2.5], [4, 4]])
    features = np.array([[1.0, 2], [4, 4]])
    labels = np.eye(4)[[2, 2]]
    found = labels_of(labels, features, centers, [5, 5, 5, 5], 4.0, 3)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0, 0], [0, 0, 0, 1]])
    # Also of those of which one alone would count.
    found = labels_of(labels, features, centers, [5, 5, 5, 5], 4.0, 1)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0, 0], [0, 0, 0, 1]])
    # A class without images has no part in it, wherever its centre is.
    found = labels_of(labels, features, centers, [0, 5, 5, 0], 4.0, 1)
    np.testing.assert_allclose(found, [[0, 1, 0, 0], [0, 0, 1, 0]])


def test_labels_of_images_of_frequent_classes_move_further():
    centers, features = np.eye(3), np.zeros((3, 3))
    found = labels_of(np.eye(3), features, centers, [100, 10, 1], 1.0, 3)
    kept = np.diag(found)
    assert kept[0] < kept[1] < kept[2]
    assert kept[2] == 1


def test_labels_carry_no_gradient(rng):
    labels, counts = jnp.eye(3), jnp.array([5, 3, 2])
    features, centers = jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32)

    def loss(*inputs):
        found = semantically_consistent_labels(*inputs, counts, omega=1.0, num_nearest=2)
        return jnp.sum(found**2)

    for gradient in jax.grad(loss, argnums=(0, 1, 2))(labels, features, centers):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


def test_inputs_that_do_not_fit_are_named():
    good = [jnp.zeros((2, 3)), jnp.zeros((2, 4)), jnp.zeros((3, 4)), jnp.ones(3)]
    bad = [jnp.zeros((2, 2)), jnp.zeros((1, 4)), jnp.zeros((3, 5)), jnp.ones((3, 1))]
    settings = {"omega": 1.0, "num_nearest": 1}
    for i, other in enumerate(bad):
        with pytest.raises(ValueError, match="labels have shape .* and class_counts"):
            semantically_consistent_labels(*good[:i], other, *good[i + 1 :], **settings)
    with pytest.raises(ValueError, match="num_nearest is 0; pass 1 or more"):
        semantically_consistent_labels(*good, omega=1.0, num_nearest=0)
