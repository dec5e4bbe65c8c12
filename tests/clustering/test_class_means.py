import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.clustering.class_means import class_means, followed_directions, merged, no_means
from tests.losses import public


def loop(batches, num_classes, dim):
    """Means and counts in float64, embedding by embedding."""
    sums, counts = np.zeros((num_classes, dim)), np.zeros(num_classes, int)
    for embeddings, labels in batches:
        for z, label in zip(np.asarray(embeddings, np.float64), labels, strict=True):
            sums[label] += z
            counts[label] += 1
    return sums / np.maximum(counts, 1)[:, None], counts


@pytest.fixture
def batches(rng):
    """Of five classes the first is in every batch, the last in none, one is alone in one."""
    labels = ([0, 0, 1, 3], [0, 1, 1, 0], [2, 0, 0, 0])
    return [(rng.normal(size=(4, 6)).astype(np.float32), np.array(x)) for x in labels]


def test_merged_means_of_batches_are_those_of_all_that_was_seen(batches):
    @jax.jit
    def take_in(kept, embeddings, labels):
        return merged(kept, class_means(embeddings, labels, 5))

    kept = no_means(5, 6)
    for embeddings, labels in batches:
        kept = take_in(kept, embeddings, labels)
    means, counts = loop(batches, 5, 6)
    np.testing.assert_array_equal(kept.counts, counts)
    np.testing.assert_allclose(kept.means, means, atol=1e-6)
    assert (kept.means.dtype, kept.counts.dtype) == (jnp.float32, jnp.int32)
    np.testing.assert_array_equal(kept.means[4], np.zeros(6))


def test_a_class_seen_by_one_alone_keeps_its_mean_to_the_bit(batches, rng):
    seen = jnp.array([0, 1, 3])
    start = no_means(5, 6).replace(means=jnp.asarray(rng.normal(size=(5, 6)), jnp.float32))
    batch = class_means(*batches[0], 5)
    for one, other in ((start, batch), (batch, start)):
        both = merged(one, other)
        np.testing.assert_array_equal(both.counts, batch.counts)
        np.testing.assert_array_equal(both.means[seen], batch.means[seen])
    # What nobody has seen keeps the mean that it was given.
    np.testing.assert_array_equal(merged(start, batch).means[2], start.means[2])
    np.testing.assert_array_equal(merged(start, batch).means[4], start.means[4])


def test_embeddings_enter_without_gradient_and_as_float32(batches):
    embeddings, labels = batches[0]
    low = jnp.asarray(embeddings, jnp.bfloat16)
    found = class_means(low, labels, 5)
    means, _ = loop([(low, labels)], 5, 6)
    np.testing.assert_allclose(found.means, means, rtol=1e-6)
    gradient = jax.grad(lambda z: jnp.sum(class_means(z, labels, 5).means))(jnp.asarray(embeddings))
    np.testing.assert_array_equal(gradient, np.zeros((4, 6)))


def test_shapes_that_do_not_fit_are_named():
    for embeddings, labels in (((2, 3), (3,)), ((2,), (2,)), ((2, 3), (2, 1))):
        with pytest.raises(ValueError, match="embeddings have shape .* and labels"):
            class_means(jnp.zeros(embeddings), jnp.zeros(labels, int), 4)
    with pytest.raises(ValueError, match="num_classes=0, dim=3"):
        no_means(0, 3)


def test_directions_follow_the_means_as_in_public_code():
    vectors = public.load("targeted_supcon")
    raw, labels = vectors["ordinary_q_raw"], vectors["ordinary_labels"]
    anchors = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    found = jax.jit(followed_directions, static_argnums=3)(
        jnp.asarray(vectors["ordinary_class_centroid_init"], jnp.float32),
        jnp.asarray(anchors, jnp.float32),
        jnp.asarray(labels, jnp.int32),
        0.9,
    )
    expected = vectors["ordinary_tsc6_sep_class_centroid_after"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_direction_is_that_of_the_first_mean_and_stays_where_nothing_was_seen():
    seen = jnp.array([[3.0, 4.0], [0.0, 2.0], [0.0, -2.0]])
    kept = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.6, 0.8]])
    found = followed_directions(kept, seen, jnp.array([0, 1, 1]), 0.9)
    # The members of class 1 cancel, and of classes 2 and 3 there are none.
    np.testing.assert_allclose(found, [[0.6, 0.8], [1, 0], [0, 0], [0.6, 0.8]], atol=1e-6)
    turned = followed_directions(found, seen, jnp.array([1, 1, 0]), 0.0)
    np.testing.assert_allclose(turned[:2], [[0, -1], [3 / 45**0.5, 6 / 45**0.5]], atol=1e-6)
