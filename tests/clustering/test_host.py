import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import AffinityPropagation, MeanShift, estimate_bandwidth
from sklearn.exceptions import ConvergenceWarning

from bccl_jax.clustering import host

METHODS = [host.mean_shift, host.affinity_propagation]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def blobs(sizes, spread=0.02, dim=4):
    """Tight groups of unit vectors around the axes, the given number in each, shuffled."""
    rng = np.random.default_rng(0)
    rows = [np.eye(dim)[g] + rng.normal(0, spread, (n, dim)) for g, n in enumerate(sizes)]
    return rng.permutation(unit(np.concatenate(rows))).astype(np.float32)


def as_queue(classes, size, dim=4):
    points = np.full((len(classes), size, dim), np.nan, np.float32)
    mask = np.zeros((len(classes), size), bool)
    for k, members in enumerate(classes):
        points[k, : len(members)], mask[k, : len(members)] = members, True
    return jnp.asarray(points), jnp.asarray(mask)


@pytest.mark.parametrize(
    ("method", "fit"),
    [
        (host.mean_shift, lambda x: MeanShift(bandwidth=estimate_bandwidth(x)).fit(x)),
        (host.affinity_propagation, lambda x: AffinityPropagation(random_state=0).fit(x)),
    ],
)
def test_centroids_are_the_mean_directions_of_the_largest_clusters(method, fit):
    members = blobs([12, 7, 5])
    labels = fit(members).labels_
    groups = [members[labels == label] for label in np.unique(labels)]
    groups = sorted(groups, key=len, reverse=True)
    assert len(groups) >= 3
    cap = len(groups) - 1
    centroids, mask = method(*as_queue([members], 30), cap)
    assert centroids.shape == (1, cap, 4)
    assert np.all(mask)
    sizes = [len(group) for group in groups]
    assert sizes[cap - 1] >= sizes[cap]
    expected = {tuple(np.round(unit(group.mean(axis=0)), 4)) for group in groups}
    assert {tuple(np.round(c, 4)) for c in np.asarray(centroids[0])} <= expected
    np.testing.assert_allclose(centroids[0, 0], unit(groups[0].mean(axis=0)), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_classes_with_few_points_get_as_many_centroids_as_they_can_fill(method):
    one = unit(np.array([[1.0, 2.0, 0.0, 0.0]]))
    classes = [np.zeros((0, 4)), one, np.repeat(one, 5, axis=0), np.eye(4)[:2]]
    centroids, mask = map(np.asarray, method(*as_queue(classes, 6), 3))
    assert mask.shape == (4, 3)
    np.testing.assert_array_equal(mask.sum(axis=1)[:3], [0, 1, 1])
    assert 1 <= mask[3].sum() <= 2
    np.testing.assert_allclose(centroids[1:3, 0], np.repeat(one, 2, axis=0), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(centroids[mask], axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(centroids[~mask], np.zeros_like(centroids[~mask]))


@pytest.mark.parametrize("method", METHODS)
def test_repeated_points_weigh_by_their_number(method):
    members = np.concatenate([np.repeat(np.eye(4)[:1], 9, axis=0), np.eye(4)[1:3]])
    centroids, mask = method(*as_queue([members], 12), 1)
    assert np.all(mask)
    assert np.argmax(centroids[0, 0]) == 0


def test_a_smaller_quantile_finds_more_clusters():
    queue = as_queue([blobs([12, 7, 5], spread=0.1)], 30)
    coarse, fine = (np.sum(host.mean_shift(*queue, 10, quantile=q)[1]) for q in (0.9, 0.1))
    assert coarse < fine


def test_affinity_propagation_that_does_not_converge_gives_one_cluster(monkeypatch):
    def fail(self, features):
        raise ConvergenceWarning

    monkeypatch.setattr(AffinityPropagation, "fit", fail)
    members = blobs([4, 4])
    centroids, mask = host.affinity_propagation(*as_queue([members], 8), 3)
    np.testing.assert_array_equal(mask, [[True, False, False]])
    np.testing.assert_allclose(centroids[0, 0], unit(members.mean(axis=0)), rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_queues_give_float32_centroids(method):
    points, mask = as_queue([blobs([5, 5])], 10)
    centroids, _ = method(points.astype(jnp.bfloat16), mask, 2)
    assert centroids.dtype == jnp.float32


@pytest.mark.parametrize("method", METHODS)
def test_shapes_and_caps_that_do_not_fit_are_named(method):
    with pytest.raises(ValueError, match=r"\(2, 3, 4\).*\(2, 4\)"):
        method(jnp.zeros((2, 3, 4)), jnp.ones((2, 4), bool), 2)
    with pytest.raises(ValueError, match="num_clusters=0"):
        method(jnp.zeros((2, 3, 4)), jnp.ones((2, 3), bool), 0)
