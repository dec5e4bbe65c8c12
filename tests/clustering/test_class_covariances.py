"""Running covariances beside NumPy's over all that was seen, and MetaSAug's public code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.clustering.class_covariances import (
    class_covariances,
    merged_covariances,
    no_covariances,
)
from tests.losses import public

VECTORS = public.load("meta_saug")
# Of five classes the first has a single image in each batch, the second none in the first batch,
# the last none at all.
BATCHES = (np.array([0, 2, 2, 3, 3, 3, 2, 3]), np.array([1, 0, 1, 1, 3, 2, 1, 1]))


def estimated(features, batches, num_classes, diagonal=False):
    found = no_covariances(num_classes, features[0].shape[1], diagonal)
    for seen, labels in zip(features, batches, strict=True):
        new = class_covariances(
            jnp.asarray(seen, jnp.float32), jnp.asarray(labels), num_classes, diagonal
        )
        found = merged_covariances(found, new)
    return found


def over_all(features, labels, num_classes):
    """Means, covariances and numbers in float64, of all features at once."""
    dim = features.shape[1]
    means, covariances = np.zeros((num_classes, dim)), np.zeros((num_classes, dim, dim))
    for k in range(num_classes):
        own = features[labels == k]
        if len(own):
            means[k] = own.mean(axis=0)
            covariances[k] = (own - means[k]).T @ (own - means[k]) / len(own)
    return means, covariances, np.bincount(labels, minlength=num_classes)


def test_they_are_those_of_public_code():
    found = no_covariances(10, 16)
    for number in (0, 1):
        seen, labels = (VECTORS[f"ordinary_update{number}_{x}"] for x in ("features", "labels"))
        new = class_covariances(jnp.asarray(seen, jnp.float32), jnp.asarray(labels), 10)
        found = merged_covariances(found, new)
        expected = (VECTORS[f"ordinary_after{number}_{x}"] for x in ("CoVariance", "Ave", "Amount"))
        covariances, means, counts = expected
        np.testing.assert_allclose(found.covariances, covariances, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.means.means, means, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found.means.counts, counts)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_batches_add_up_to_the_whole(rng, diagonal, offset):
    features = [offset + rng.normal(size=(8, 3)).astype(np.float32) for _ in BATCHES]
    found = estimated(features, BATCHES, 5, diagonal)
    means, covariances, counts = over_all(
        np.concatenate(features).astype(np.float64), np.concatenate(BATCHES), 5
    )
    if diagonal:
        covariances = np.einsum("kdd->kd", covariances)
    np.testing.assert_array_equal(found.means.counts, counts)
    np.testing.assert_allclose(found.means.means, means, rtol=1e-6, atol=1e-6)
    # Means near 1,000 have three digits behind the point.
    np.testing.assert_allclose(found.covariances, covariances, atol=1e-6 if not offset else 3e-3)
    assert found.covariances.dtype == jnp.float32


def test_a_single_feature_has_no_covariance(rng):
    found = estimated([5 + rng.normal(size=(2, 3))], [np.array([1, 0])], 3)
    assert not np.any(found.covariances)
    # Two of them have, over 2 and not over 1.
    found = estimated([np.array([[0.0], [4.0]])], [np.array([2, 2])], 3)
    assert found.covariances[2, 0, 0] == 4


def test_what_has_seen_nothing_changes_nothing(rng):
    found = estimated([rng.normal(size=(8, 3))], BATCHES[:1], 5)
    for pair in ((found, no_covariances(5, 3)), (no_covariances(5, 3), found)):
        jax.tree.map(np.testing.assert_array_equal, merged_covariances(*pair), found)


def test_it_holds_where_nothing_varies():
    features = [np.full((8, 3), 1e4)] * 2
    found = estimated(features, BATCHES, 5)
    np.testing.assert_allclose(found.covariances, 0, atol=1e-3)
    assert np.all(np.isfinite(found.covariances))


def test_no_gradient_enters(rng):
    labels = jnp.asarray(BATCHES[0])
    slope = jax.grad(lambda x: jnp.sum(class_covariances(x, labels, 5).covariances))(
        jnp.asarray(rng.normal(size=(8, 3)), jnp.float32)
    )
    assert not np.any(slope)


def test_sizes_and_shapes_are_checked():
    with pytest.raises(ValueError, match="at least 1"):
        no_covariances(3, 0)
    with pytest.raises(ValueError, match="one label each"):
        class_covariances(jnp.zeros((4, 2)), jnp.zeros(3, jnp.int32), 3)
