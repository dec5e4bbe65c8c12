import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from bccl_jax.clustering.kmeans import kmeans

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def digits():
    """Scikit-learn's digits, split by class and padded: [10, M, 64] and their mask [10, M]."""
    images, labels = load_digits(return_X_y=True)
    size = np.bincount(labels).max()
    points, mask = np.zeros((10, size, 64), np.float32), np.zeros((10, size), bool)
    for k in range(10):
        members = images[labels == k]
        points[k, : len(members)], mask[k, : len(members)] = members, True
    return points, mask


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def inertia(points, centroids):
    return np.sum(np.min(np.sum((points[:, None] - centroids[None]) ** 2, axis=-1), axis=1))


def packed(classes, num_classes=5, size=6):
    """Ragged lists of points in the plane as `points` and `mask`, with NaN where there is none."""
    points = np.full((num_classes, size, 2), np.nan, np.float32)
    mask = np.zeros((num_classes, size), bool)
    for k, members in enumerate(classes):
        # From the back, so that a class's points are not where one would look first.
        for position, member in enumerate(members):
            points[k, size - 1 - position], mask[k, size - 1 - position] = member, True
    return points, mask


def test_inertia_is_within_five_percent_of_scikit_learn_in_every_class(digits):
    points, mask = digits
    centroids, valid = kmeans(points, mask, 5, KEY, spherical=False)
    assert np.all(valid)
    ratios = []
    for k in range(10):
        members = points[k][mask[k]]
        reference = KMeans(5, n_init=10, random_state=0).fit(members).inertia_
        ratios.append(inertia(members, np.asarray(centroids[k])) / reference)
    assert max(ratios) < 1.05
    assert np.mean(ratios) < 1.02


def test_spherical_centroids_have_unit_norm_and_the_better_cosine(digits):
    points, mask = digits
    centroids, _ = kmeans(points, mask, 5, KEY)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=-1), 1.0, rtol=1e-5)
    ours, references = [], []
    for k in range(10):
        members = unit(points[k][mask[k]])
        reference = KMeans(5, n_init=10, random_state=0).fit(members).cluster_centers_
        ours.append(np.sum(1 - np.max(members @ np.asarray(centroids[k]).T, axis=1)))
        references.append(np.sum(1 - np.max(members @ unit(reference).T, axis=1)))
    assert np.all(np.array(ours) < 1.05 * np.array(references))
    assert np.mean(ours) < 1.02 * np.mean(references)


def test_a_class_does_not_depend_on_the_chunk_size_and_only_the_key_changes_it(digits):
    points, mask = digits
    whole, valid = kmeans(points, mask, 5, KEY)
    chunked, chunked_valid = kmeans(points, mask, 5, KEY, chunk_size=3)  # 10 classes: 3, 3, 3, 1
    np.testing.assert_allclose(chunked, whole, atol=1e-5)
    np.testing.assert_array_equal(chunked_valid, valid)
    again, _ = kmeans(points, mask, 5, KEY)
    np.testing.assert_array_equal(again, whole)
    other, _ = kmeans(points, mask, 5, jax.random.key(1))
    assert not np.allclose(other, whole)


def test_a_part_of_the_classes_gives_its_part_of_the_result(digits):
    points, mask = digits
    whole, valid = kmeans(points, mask, 5, KEY)
    part, part_valid = kmeans(points[3:6], mask[3:6], 5, KEY, first_class=3)
    np.testing.assert_allclose(part, whole[3:6], atol=1e-5)
    np.testing.assert_array_equal(part_valid, valid[3:6])


def test_the_memory_is_that_of_a_chunk_and_holds_no_copy_of_all_points():
    points = jax.ShapeDtypeStruct((1300, 16, 64), jnp.float32)
    mask = jax.ShapeDtypeStruct((1300, 16), bool)
    with jax.default_device(jax.devices("cpu")[0]):
        compiled = kmeans.lower(points, mask, 3, KEY, chunk_size=4).compile()
    chunk = 4 * 16 * 64 * 4
    # Compilers keep from 4 to 16 arrays of a chunk's size, of 325 chunks.
    assert compiled.memory_analysis().temp_size_in_bytes < 20 * chunk < 325 * chunk / 10


def test_what_masked_points_hold_is_never_read(digits):
    points, mask = digits
    garbage = np.where(mask[:, :, None], points, np.nan)
    for expected, got in zip(
        kmeans(points, mask, 5, KEY), kmeans(garbage, mask, 5, KEY), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_only_as_many_centroids_are_valid_as_there_are_distinct_points():
    # On the sphere: nothing, one point, one point repeated, two points repeated, exactly three.
    angles = [[], [0.3], [0.3] * 6, [0.3, 2.0, 0.3, 2.0, 2.0], [0.3, 2.0, 4.0, 4.0]]
    classes = [[(np.cos(a), np.sin(a)) for a in members] for members in angles]
    centroids, valid = map(np.asarray, kmeans(*packed(classes), 3, KEY))
    np.testing.assert_array_equal(valid.sum(axis=1), [0, 1, 1, 2, 3])
    np.testing.assert_array_equal(centroids[~valid], np.zeros_like(centroids[~valid]))
    for k, members in enumerate(classes):
        found = np.array(sorted(map(tuple, centroids[k][valid[k]]))).reshape(-1, 2)
        expected = np.array(sorted(set(members))).reshape(-1, 2)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_near_but_distinct_points_stay_apart():
    _, valid = kmeans(*packed([[(1.0, 0.0), (1.0, 1e-4), (1.0, 2e-4)]]), 3, KEY)
    assert np.all(valid[0])


def test_fewer_slots_than_clusters_leave_the_rest_invalid():
    points, mask = packed([[(1.0, 0.0), (0.0, 1.0)]], num_classes=1, size=2)
    centroids, valid = kmeans(points, mask, 4, KEY)
    assert valid.shape == (1, 4)
    assert np.sum(valid) == 2
    assert np.all(np.isfinite(centroids))


def test_opposite_points_give_no_nan_and_zero_vectors_no_centroid():
    opposite = [(1.0, 0.0), (-1.0, 0.0)] * 2
    zeros = [(0.0, 0.0)] * 3
    centroids, valid = kmeans(*packed([opposite, zeros]), 1, KEY)
    np.testing.assert_array_equal(valid[:, 0], [True, False, False, False, False])
    np.testing.assert_allclose(np.abs(centroids[0, 0]), [1.0, 0.0])
    np.testing.assert_array_equal(centroids[1:], np.zeros((4, 1, 2)))


def test_a_common_offset_does_not_spoil_the_distances():
    """Float32 rounds squares of 1e4 to 8, eight times what tells the clusters apart."""
    rng = np.random.default_rng(0)
    members = np.concatenate([rng.normal(0, 0.1, (20, 2)), rng.normal(1, 0.1, (20, 2))])
    points = members[None].astype(np.float32) + np.float32(1e4)
    centroids, _ = kmeans(points, np.ones((1, 40), bool), 2, KEY, spherical=False)
    found = np.sort(np.asarray(centroids[0]) - 1e4, axis=0)
    np.testing.assert_allclose(found, [members[:20].mean(0), members[20:].mean(0)], atol=2e-3)


def test_bfloat16_points_give_float32_centroids():
    points, mask = packed([[(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)]])
    centroids, valid = kmeans(jnp.asarray(points, jnp.bfloat16), mask, 3, KEY)
    assert centroids.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(centroids[0], axis=1), 1.0, rtol=1e-5)
    assert np.all(valid[0])


def test_shapes_and_counts_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\).*\(2, 4\)"):
        kmeans(jnp.zeros((2, 3, 4)), jnp.ones((2, 4), bool), 2, KEY)
    with pytest.raises(ValueError, match="num_clusters=0"):
        kmeans(jnp.zeros((2, 3, 4)), jnp.ones((2, 3), bool), 0, KEY)


def test_a_random_start_takes_different_points_each_as_likely_as_any():
    points, mask = packed([[(x, 0.0) for x in range(6)], [(7.0, 7.0)], []], num_classes=3)
    drawn = np.zeros(6)
    for seed in range(200):
        options = {"num_iters": 0, "spherical": False, "start": "random", "num_restarts": 1}
        starts, valid = kmeans(points, mask, 3, jax.random.key(seed), **options)
        np.testing.assert_array_equal(valid, [[1, 1, 1], [1, 0, 0], [0, 0, 0]])
        chosen = np.rint(np.asarray(starts[0, :, 0])).astype(int)
        assert len(set(chosen)) == 3
        drawn[chosen] += 1
        np.testing.assert_allclose(starts[1], [[7, 7], [0, 0], [0, 0]], atol=1e-6)
    # 600 draws over six points; the spread of each count is 7.
    assert np.all(np.abs(drawn - 100) < 30)


def test_from_a_random_start_each_centroid_ends_as_the_mean_of_its_points(digits):
    points, mask = digits
    centroids, valid = kmeans(
        points, mask, 5, KEY, num_iters=100, spherical=False, start="random", num_restarts=1
    )
    assert np.all(valid)
    for k in range(10):
        members = np.float64(points[k][mask[k]])
        distance = np.sum((members[:, None] - np.float64(centroids[k])[None]) ** 2, axis=-1)
        for c in range(5):
            mean = members[distance.argmin(axis=1) == c].mean(axis=0)
            np.testing.assert_allclose(centroids[k, c], mean, atol=1e-3)


def test_an_unknown_start_is_named():
    with pytest.raises(ValueError, match="start='best'.*plus_plus, random"):
        kmeans(np.zeros((1, 2, 2)), np.ones((1, 2), bool), 1, KEY, start="best")
