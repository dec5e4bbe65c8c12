import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccl_jax.data.long_tail import shot_groups
from bccl_jax.evaluation.feature_space import PER_CLASS, imbalance, measure, summary


def drawn(seed, samples=40, dim=5, classes=4):
    """Features of any length around a direction for each class, sizes of classes unequal."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(
        classes, samples, p=np.arange(classes, 0, -1) / (classes * (classes + 1) / 2)
    )
    labels[: 2 * classes] = np.repeat(np.arange(classes), 2)
    features = rng.normal(size=(classes, dim))[labels] + rng.normal(size=(samples, dim))
    return features * rng.uniform(0.1, 10, (samples, 1)), labels


def unit(vector):
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def squared(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def mean_vector(vectors):
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def by_loops(features, labels, classes):
    """The definitions, pair by pair in plain Python."""
    z = [unit(f) for f in features]
    of = [[v for v, y in zip(z, labels, strict=True) if y == k] for k in range(classes)]
    means = [mean_vector(vectors) for vectors in of]
    directions = [unit(m) for m in means]
    center = mean_vector(means)
    centred = [unit([x - c for x, c in zip(m, center, strict=True)]) for m in means]
    found = {name: [] for name in PER_CLASS}
    everything = []
    for k in range(classes):
        n = len(of[k])
        found["spread"].append(sum(squared(v, directions[k]) for v in of[k]) / n)
        cosines = [
            sum(a * b for a, b in zip(directions[k], directions[other], strict=True))
            for other in range(classes)
            if other != k
        ]
        found["nearest_class"].append(math.degrees(math.acos(max(cosines))))
        pairs = [squared(of[k][i], of[k][j]) for i in range(n) for j in range(n) if i != j]
        found["alignment"].append(sum(pairs) / len(pairs))
        near = [
            math.exp(-2 * squared(z[i], z[j]))
            for i in range(len(z))
            for j in range(len(z))
            if i != j and labels[i] == k
        ]
        everything += near
        found["uniformity"].append(math.log(sum(near) / len(near)))
        gaps = [
            abs(sum(a * b for a, b in zip(centred[k], centred[o], strict=True)) + 1 / (classes - 1))
            for o in range(classes)
            if o != k
        ]
        found["simplex_gap"].append(sum(gaps) / len(gaps))
        found["effective_rank"].append(rank_by_svd(np.array(of[k])))
    return found, math.log(sum(everything) / len(everything)), rank_by_svd(np.array(means))


def rank_by_svd(vectors):
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)
    shares = values[values > 1e-9] / values.sum()
    return math.exp(-sum(p * math.log(p) for p in shares))


@pytest.mark.parametrize("dim", [3, 30])
def test_measures_agree_with_loops_over_pairs(dim):
    features, labels = drawn(0, dim=dim)
    found = measure(features, labels, 4)
    expected, global_uniformity, rank_of_means = by_loops(features, labels, 4)
    for name in PER_CLASS:
        np.testing.assert_allclose(getattr(found, name), expected[name], rtol=1e-10, err_msg=name)
    assert found.global_uniformity == pytest.approx(global_uniformity, rel=1e-12)
    assert found.rank_of_means == pytest.approx(rank_of_means, rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 50))
def test_neither_rotation_nor_length_nor_order_nor_chunks_matter(seed, chunk):
    features, labels = drawn(seed)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    order = rng.permutation(len(labels))
    lengths = rng.uniform(0.5, 2, (len(labels), 1))
    one = measure(features, labels, 4)
    other = measure((features @ rotation * lengths)[order], labels[order], 4, chunk)
    for name in (*PER_CLASS, "global_uniformity", "rank_of_means"):
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), rtol=1e-8, atol=1e-9, err_msg=name
        )


def test_collapsed_classes_at_the_corners_of_a_simplex():
    """K corners of a simplex: d^2 of any two is 2 + 2 / (K - 1), their rank K - 1."""
    corners = np.eye(5) - 0.2
    labels = np.repeat(np.arange(5), 3)
    found = measure(corners[labels].astype(np.float32), labels, 5)
    np.testing.assert_allclose(found.spread, 0, atol=1e-12)
    np.testing.assert_allclose(found.alignment, 0, atol=1e-12)
    np.testing.assert_allclose(found.effective_rank, 1)
    np.testing.assert_allclose(found.simplex_gap, 0, atol=1e-6)
    np.testing.assert_allclose(found.nearest_class, math.degrees(math.acos(-1 / 4)), rtol=1e-6)
    expected = math.log((2 + 12 * math.exp(-2 * 2.5)) / 14)
    np.testing.assert_allclose(found.uniformity, expected, rtol=1e-6)
    assert found.rank_of_means == pytest.approx(4)


def test_orthogonal_classes_are_a_simplex_once_centred_and_ninety_degrees_apart():
    labels = np.repeat(np.arange(4), 2)
    found = measure(3 * np.eye(6)[labels], labels, 4)
    np.testing.assert_allclose(found.nearest_class, 90)
    np.testing.assert_allclose(found.simplex_gap, 0, atol=1e-12)


def test_a_simplex_gap_of_hand_made_means():
    """Means at 0, 90 and 180 degrees, centred at (0, 1/3): cosines 1/sqrt(10), -0.8, 1/sqrt(10)."""
    found = measure(np.array([[1, 0], [0, 1], [-1, 0]]), np.arange(3), 3)
    side = np.array([1, -1 / 3]) / math.hypot(1, 1 / 3)
    aside, across = abs(side @ [0, 1] + 0.5), abs(side @ (side * [-1, 1]) + 0.5)
    np.testing.assert_allclose(
        found.simplex_gap, [(aside + across) / 2, aside, (aside + across) / 2]
    )


def test_a_class_all_around_the_circle_has_no_direction():
    around = np.exp(2j * np.pi * np.arange(8) / 8)
    features = np.array([*zip(around.real, around.imag, strict=True), (1, 0), (1, 0)])
    found = measure(features, np.repeat([0, 1], [8, 2]), 2)
    assert found.spread[0] == pytest.approx(2)
    assert found.effective_rank[0] == pytest.approx(2)
    assert np.isnan(found.nearest_class).all()  # the other class has no neighbour with one


def test_classes_of_one_direction_are_no_degrees_apart():
    found = measure(np.array([[1.0, 2.0], [2.0, 4.0]]), np.arange(2), 2)
    np.testing.assert_allclose(found.nearest_class, 0, atol=1e-13)


def test_a_class_without_samples_is_nan_and_changes_nothing_of_the_others():
    features, labels = drawn(1)
    shifted = labels + (labels > 1)  # class 2 is missing
    found, without = measure(features, shifted, 5), measure(features, labels, 4)
    for name in PER_CLASS:
        values = getattr(found, name)
        assert np.isnan(values[2])
        np.testing.assert_array_equal(np.delete(values, 2), getattr(without, name))
    assert found.rank_of_means == without.rank_of_means


def test_a_single_sample_has_a_place_but_no_extent():
    features, labels = drawn(2)
    found = measure(np.concatenate([features, [[1.0, 0, 0, 0, 0]]]), np.append(labels, 4), 5)
    for name in PER_CLASS:
        missing = name in ("spread", "alignment", "effective_rank")
        assert np.isnan(getattr(found, name)[4]) == missing, name
    alone = measure(np.ones((1, 3)), np.array([1]), 2)
    assert np.isnan([getattr(alone, name) for name in PER_CLASS]).all()
    assert np.isnan([alone.global_uniformity, alone.rank_of_means]).all()


def test_zero_vectors_stay_zero():
    """Two of four samples are zero, at 1 from the direction and from the two others."""
    features = np.array([[2.0, 0], [5.0, 0], [0, 0], [0, 0], [0, 3.0]])
    found = measure(features, np.array([0, 0, 0, 0, 1]), 2)
    assert found.spread[0] == pytest.approx(2 / 4)
    assert found.alignment[0] == pytest.approx(4 / 6)


def test_summary_and_imbalance_of_hand_made_values():
    groups = shot_groups(np.array([200, 150, 50, 5, 3, 2]))
    values = np.array([4.0, 2.0, 5.0, np.nan, 1.0, 2.0])
    assert summary(values, groups) == {"all": 2.8, "many": 3.0, "medium": 5.0, "few": 1.5}
    found = imbalance(values, groups)
    deviations = [1.2, -0.8, 2.2, -1.8, -0.8]
    assert found["variation"] == pytest.approx(math.sqrt(sum(d * d for d in deviations) / 5) / 2.8)
    assert found["few_over_many"] == pytest.approx(0.5)
    assert found["few_minus_many"] == pytest.approx(-1.5)
    # Of a logarithm the mean is negative, its variation is not.
    assert imbalance(-values, groups)["variation"] == pytest.approx(found["variation"])


def test_an_empty_group_has_neither_mean_nor_ratio():
    groups = shot_groups(np.array([200, 50]))
    assert summary(np.array([1.0, 2.0]), groups)["few"] is None
    found = imbalance(np.array([1.0, 2.0]), groups)
    assert (found["few_over_many"], found["few_minus_many"]) == (None, None)
    nothing = np.full(2, np.nan)
    assert set(summary(nothing, groups).values()) == {None}
    assert imbalance(nothing, groups)["variation"] is None


def test_a_record_is_strict_json():
    features, labels = drawn(3)
    space = measure(features, labels, 5)
    record = space.record(shot_groups(np.array([200, 150, 50, 5, 3])))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["spread"]["per_class"][4] is None
    assert record["spread"]["few"] == pytest.approx(space.spread[3])
    assert record["global_uniformity"] == space.global_uniformity
    assert set(record) == {*PER_CLASS, "global_uniformity", "rank_of_means"}


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((2, 3)), np.zeros(3, int), r"\(2, 3\) and labels \(3,\)"),
        (np.ones((0, 3)), np.zeros(0, int), "no features"),
        (np.ones((2, 3)), np.zeros(2), "must be integers"),
        (np.ones((2, 3)), np.array([0, 2]), "labels lie in 0 to 2, outside 0 to 1"),
        (np.full((2, 3), np.nan), np.array([0, 1]), "not finite"),
    ],
)
def test_impossible_input_is_refused(features, labels, message):
    with pytest.raises(ValueError, match=message):
        measure(features, labels, 2)
