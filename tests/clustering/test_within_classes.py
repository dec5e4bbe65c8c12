"""Clusters of each class, of a number of its own, and the temperatures of their spread."""

import jax
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from bccl_jax.clustering import within_classes
from bccl_jax.clustering.class_spread import class_temperatures
from bccl_jax.clustering.kmeans import kmeans
from bccl_jax.clustering.within_classes import cluster_within_classes, subclass_counts
from tests.losses import public

VECTORS = public.load("sbcl")
KEY = jax.random.key(0)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def groups():
    """Classes of 3, 1, 4 and 2 tight groups of points, in any order, and no point of the last."""
    rng = np.random.default_rng(3)
    counts = np.array([3, 1, 4, 2, 5])
    sizes = [(9, 8, 4), (6,), (3, 9, 20, 8), (1, 15), ()]
    points, labels, truth = [], [], []
    for k, own in enumerate(sizes):
        centres = unit(rng.normal(size=(max(len(own), 1), 6)))
        for g, size in enumerate(own):
            points.append(unit(centres[g] + 0.03 * rng.normal(size=(size, 6))))
            labels += [k] * size
            truth += [g] * size
    order = rng.permutation(len(labels))
    points = np.concatenate(points).astype(np.float32)[order]
    return points, np.array(labels)[order], np.array(truth)[order], counts


def test_every_class_is_split_into_its_own_number_of_groups(groups):
    points, labels, truth, counts = groups
    found = cluster_within_classes(points, labels, counts, KEY)
    assert found.dtype == np.int32
    for k in range(4):
        own = found[labels == k]
        assert len(set(own)) == counts[k]
        assert own.max() < counts[k]
        reference = KMeans(counts[k], n_init=10, random_state=0).fit_predict(points[labels == k])
        assert adjusted_rand_score(own, reference) == 1
        assert adjusted_rand_score(own, truth[labels == k]) == 1


def test_as_many_classes_are_clustered_at_a_time_as_fit(groups, monkeypatch):
    points, labels, _, counts = groups
    twice, both = np.concatenate([points, points]), np.concatenate([labels, labels + 5])
    shapes = []
    cluster = within_classes._clustered

    def watched(batch, *rest):
        shapes.append(batch.shape[:2])
        # What is not compiled already for the test above is not looked at.
        return cluster(batch, *rest) if len(batch) == 1 else np.zeros(batch.shape[:2], int)

    monkeypatch.setattr(within_classes, "_clustered", watched)
    found = cluster_within_classes(twice, both, np.tile(counts, 2), KEY, most_numbers=1)
    # 21, 40 and 16 points: no two of five classes have room for as many.
    assert shapes == [(1, 16)] * 2 + [(1, 32)] * 2 + [(1, 64)] * 2
    for k in range(4):
        for half in np.split(found, 2):
            assert len(set(half[labels == k])) == counts[k]
    shapes.clear()
    cluster_within_classes(twice, both, np.tile(counts, 2), KEY)
    assert shapes == [(2, 16), (2, 32), (2, 64)]
    # A last part of fewer classes is as large as the others.
    shapes.clear()
    thrice, all_three = np.concatenate([twice, points]), np.concatenate([both, labels + 10])
    numbers = 2 * 64 * (6 + 8 * 4)
    cluster_within_classes(thrice, all_three, np.tile(counts, 3), KEY, most_numbers=numbers)
    assert shapes[-2:] == [(2, 64)] * 2


def test_copies_of_one_point_are_one_cluster():
    points, labels = np.ones((5, 3), np.float32), np.zeros(5, int)
    found = cluster_within_classes(points, labels, np.array([3]), KEY)
    np.testing.assert_array_equal(found, 0)
    # Of fewer points than clusters each is one.
    found = cluster_within_classes(np.eye(3), np.zeros(3, int), np.array([7]), KEY)
    assert len(set(found)) == 3


def test_kmeans_has_as_many_centroids_as_a_class_is_to_have(groups):
    points = unit(np.random.default_rng(0).normal(size=(3, 20, 4))).astype(np.float32)
    mask = np.ones((3, 20), bool)
    for start in ("plus_plus", "random"):
        counts = np.array([2, 5, 1])
        centroids, valid = kmeans(points, mask, 5, KEY, start=start, cluster_counts=counts)
        np.testing.assert_array_equal(valid.sum(axis=1), [2, 5, 1])
        assert not np.any(centroids[~np.asarray(valid)])
    whole, _ = kmeans(points, mask, 5, KEY, start="random")
    np.testing.assert_array_equal(centroids[1], whole[1])
    mean = unit(points[2].mean(axis=0))
    np.testing.assert_allclose(centroids[2, 0], mean, atol=1e-5)
    with pytest.raises(ValueError, match="pass one count a class"):
        kmeans(points, mask, 5, KEY, cluster_counts=np.ones(2, int))


def test_subclasses_are_about_as_large_as_the_rarest_class():
    # CIFAR-100-LT at 100: its rarest class has 5.
    counts = np.array([500, 477, 100, 25, 20, 19, 10, 9, 5])
    np.testing.assert_array_equal(subclass_counts(counts, 10), [50, 47, 10, 2, 2, 1, 1, 1, 1])
    # As large as the rarest class, where that has more than asked for.
    np.testing.assert_array_equal(subclass_counts(np.array([100, 59, 30, 0]), 10), [3, 1, 1, 1])
    np.testing.assert_array_equal(subclass_counts(np.array([100, 59, 30]), 200), [1, 1, 1])


def test_temperatures_are_those_of_public_code():
    sizes = VECTORS["density_sizes"]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(0).permutation(len(labels))
    found = class_temperatures(
        VECTORS["density_features"][order].astype(np.float32),
        labels[order],
        VECTORS["density_cluster_number"],
        temperature=0.1,
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, VECTORS["density_temperatures"], rtol=1e-5)


def test_temperatures_by_hand():
    # Two classes of two points each, 2 and 4 apart; one of a single point; one without any.
    points = np.array([[0.0, 1], [0, -1], [0, 2], [0, -2], [5, 5]])
    found = class_temperatures(
        points, np.array([0, 0, 1, 1, 2]), np.array([2, 2, 1, 2]), temperature=0.3, clip=0.0
    )
    np.testing.assert_allclose(found, [0.3, 0.6, 0.3, 0.3], rtol=1e-6)


def test_classes_that_fell_together_have_a_temperature():
    labels, split = np.repeat([0, 1], 3), np.array([2, 2])
    together = class_temperatures(np.ones((6, 2)), labels, split, temperature=0.1)
    np.testing.assert_allclose(together, 0.1)
    one = np.concatenate([np.ones((3, 2)), np.eye(3)[:, :2]])
    found = class_temperatures(one, labels, split, temperature=0.1, clip=0.0)
    np.testing.assert_allclose(found, [0.001, 0.2], rtol=1e-6)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="one label each"):
        cluster_within_classes(np.ones((3, 2)), np.zeros(2, int), np.ones(1, int), KEY)
    with pytest.raises(ValueError, match="each at least 1"):
        cluster_within_classes(np.ones((3, 2)), np.zeros(3, int), np.zeros(1, int), KEY)
    with pytest.raises(ValueError, match="one number a class"):
        class_temperatures(np.ones((3, 2)), np.zeros(2, int), np.ones(1), temperature=0.1)
