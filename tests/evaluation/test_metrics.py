import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccl_jax.evaluation.metrics import (
    class_totals,
    confusion_pairs,
    per_class_accuracy,
    reliability,
    shot_accuracy,
)

COUNTS = np.array([200, 150, 50, 20, 5, 3])


def shots_by_loops(predictions, labels, counts):
    accuracies = {}
    for k in range(len(counts)):
        hits = [p == k for p, y in zip(predictions, labels, strict=True) if y == k]
        if hits:
            accuracies[k] = 100 * sum(hits) / len(hits)

    def mean(chosen):
        values = [a for k, a in accuracies.items() if chosen(counts[k])]
        return sum(values) / len(values) if values else None

    hits = [p == y for p, y in zip(predictions, labels, strict=True)]
    return {
        "top1": 100 * sum(hits) / len(hits),
        "all": mean(lambda n: True),
        "many": mean(lambda n: n > 100),
        "medium": mean(lambda n: 20 <= n <= 100),
        "few": mean(lambda n: n < 20),
    }


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_shot_accuracy_is_the_mean_of_per_class_accuracies(pairs):
    predictions, labels = np.array(pairs).T
    found = shot_accuracy(predictions, labels, COUNTS)
    expected = shots_by_loops(predictions, labels, COUNTS)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value))


def test_an_empty_group_is_none_and_not_zero():
    found = shot_accuracy(np.array([0, 1]), np.array([0, 1]), np.array([500, 400]))
    assert found == {"top1": 100.0, "all": 100.0, "many": 100.0, "medium": None, "few": None}


def test_the_bounds_of_the_groups_can_be_moved():
    labels = np.arange(3)
    found = shot_accuracy(
        np.array([0, 0, 0]), labels, np.array([60, 40, 10]), many_above=50, few_below=20
    )
    assert (found["many"], found["medium"], found["few"]) == (100.0, 0.0, 0.0)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_confusion_counts_every_image_once(pairs):
    predictions, labels = np.array(pairs).T
    expected = np.zeros((6, 6), int)
    for p, y in pairs:
        expected[y, p] += 1
    found = confusion_pairs(predictions, labels, 6)
    rebuilt = np.zeros((6, 6), int)
    for true, predicted, count in found.tolist():
        rebuilt[true, predicted] = count
    np.testing.assert_array_equal(rebuilt, expected)
    assert found.tolist() == sorted(found.tolist())
    assert found[:, 2].min() > 0
    totals = class_totals(predictions, labels, 6)
    np.testing.assert_array_equal(totals.tested, expected.sum(axis=1))
    np.testing.assert_array_equal(totals.predicted, expected.sum(axis=0))
    np.testing.assert_array_equal(totals.correct, np.diagonal(expected))


def test_a_class_without_images_has_no_accuracy():
    accuracy = per_class_accuracy(class_totals([0, 0, 0, 1], [0, 0, 0, 0], 2))
    assert accuracy[0] == 75
    assert np.isnan(accuracy[1])


def test_calibration_error_of_hand_made_bins():
    # Bin (0.4, 0.5]: confidences 0.45 and 0.5, one right; bin (0.9, 1.0]: 1.0, wrong.
    confidences, correct = np.array([0.45, 0.5, 1.0]), np.array([True, False, False])
    expected = 100 * (2 / 3 * abs(0.5 - 0.475) + 1 / 3 * abs(0 - 1.0))
    found = reliability(confidences, correct, num_bins=10)
    assert found.calibration_error == pytest.approx(expected)
    assert found.images.tolist() == [0, 0, 0, 0, 2, 0, 0, 0, 0, 1]
    # JSON has no NaN.
    assert found.record()["accuracy"] == [None] * 4 + [0.5] + [None] * 4 + [0.0]
    assert found.record()["confidence"][4] == pytest.approx(0.475)


def test_calibration_error_agrees_with_a_loop_over_bins(rng):
    confidences = rng.uniform(0.1, 1, 500)
    correct = rng.uniform(size=500) < confidences**2
    expected = 0.0
    for i in range(15):
        inside = (confidences > i / 15) & (confidences <= (i + 1) / 15)
        if inside.any():
            gap = abs(correct[inside].mean() - confidences[inside].mean())
            expected += 100 * inside.mean() * gap
    assert reliability(confidences, correct).calibration_error == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_bins", [10, 15, 25, 41])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(dtype, num_bins):
    # One right and one wrong answer in a bin, far apart: the error tells which bin they share.
    for i in range(1, num_bins):
        edge, middle = dtype(i / num_bins), dtype((i - 0.5) / num_bins)
        pair = np.array([edge, middle]), np.array([True, False])
        found = reliability(*pair, num_bins=num_bins).calibration_error
        together = 100 * abs(0.5 - (float(edge) + float(middle)) / 2)
        assert found == pytest.approx(together, abs=1e-4)


def test_no_image_has_no_accuracy():
    assert set(shot_accuracy([], [], COUNTS).values()) == {None}
    assert reliability(np.array([]), np.array([], bool)).calibration_error is None


@settings(max_examples=50, deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    assert shot_accuracy(*np.array(pairs).T, COUNTS) == shot_accuracy(*np.array(shuffled).T, COUNTS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confusion_pairs(np.array([0]), np.array([0, 1]), 2), r"\(1,\) and labels \(2,\)"),
        (lambda: confusion_pairs(np.array([0.5]), np.array([0]), 2), "must be integers"),
        (lambda: confusion_pairs(np.array([2]), np.array([0]), 2), "predictions lie in 2 to 2"),
        (lambda: confusion_pairs(np.array([0]), np.array([-1]), 2), "labels lie in -1 to -1"),
        (lambda: reliability(np.array([1.5]), np.array([True])), "outside 0 to 1"),
    ],
)
def test_impossible_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
