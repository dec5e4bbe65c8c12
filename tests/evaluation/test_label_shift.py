"""Accuracies under other class distributions, beside test sets that have them."""

import numpy as np
import pytest

from bccl_jax.evaluation.label_shift import (
    TEST_PRIORS,
    corrections,
    shifted_prior,
    under_test_priors,
)

COUNTS = np.array([8, 40, 2, 40])


def test_shares_fall_from_the_largest_class_to_the_smallest():
    # Classes 1 and 3 have as many images: the first of them comes first.
    np.testing.assert_allclose(shifted_prior(COUNTS, 8), np.array([2, 8, 1, 4]) / 15)
    np.testing.assert_allclose(shifted_prior(COUNTS, 1 / 8), np.array([4, 1, 8, 2]) / 15)
    np.testing.assert_allclose(shifted_prior(COUNTS, 1), np.full(4, 0.25))
    assert shifted_prior(np.array([7]), 50).tolist() == [1.0]


def test_there_are_the_eleven_of_the_field():
    assert list(TEST_PRIORS) == [
        *(f"forward_{ratio}" for ratio in (50, 25, 10, 5, 2)),
        "uniform",
        *(f"backward_{ratio}" for ratio in (2, 5, 10, 25, 50)),
    ]


def test_corrected_logits_are_those_of_bayes_rule(rng):
    # Likelihoods of four classes at any place; a classifier of images drawn by `carried` has their
    # log and that of its prior.
    likelihoods, carried = rng.dirichlet(np.ones(4), size=50), np.array([0.5, 0.3, 0.15, 0.05])
    logits = np.log(likelihoods) + np.log(carried)
    taken = corrections(COUNTS, carried)
    assert taken.dtype == np.float32
    for ratio, offset in zip(TEST_PRIORS.values(), taken, strict=True):
        posterior = likelihoods * shifted_prior(COUNTS, ratio)
        posterior /= posterior.sum(axis=1, keepdims=True)
        found = np.exp(logits - offset)
        found /= found.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, posterior, rtol=1e-5)


def test_a_class_that_was_never_trained_is_not_predicted():
    taken = corrections(COUNTS, np.array([0.6, 0.4, 0.0, 0.0]))
    assert np.all(np.isposinf(taken[:, 2:]))
    assert np.all(np.isfinite(taken[:, :2]))


def test_an_accuracy_is_that_of_a_test_set_of_such_classes(rng):
    labels = np.repeat(np.arange(4), [6, 3, 2, 5])
    predictions = rng.integers(0, 4, 16)
    corrected = rng.integers(0, 4, (16, len(TEST_PRIORS)))
    found = under_test_priors(corrected, predictions, labels, COUNTS)
    for column, (name, ratio) in enumerate(TEST_PRIORS.items()):
        # Each image so often that its class has its share.
        times = shifted_prior(COUNTS, ratio)[labels] / np.bincount(labels)[labels]
        for kind, tried in (("as_is", predictions), ("corrected", corrected[:, column])):
            expected = 100 * np.sum(times * (tried == labels)) / times.sum()
            assert found[name][kind] == pytest.approx(expected)


def test_classes_without_test_images_leave_their_share_to_the_others():
    labels, right = np.array([1, 1, 2]), np.array([1, 0, 2])
    found = under_test_priors(np.tile(right, (11, 1)).T, right, labels, COUNTS)
    # Shares 50^(-1/3 rank) of ranks 0 and 3.
    expected = 100 * (0.5 + 1.0 / 50) / (1 + 1 / 50)
    assert found["forward_50"] == {
        "as_is": pytest.approx(expected),
        "corrected": pytest.approx(expected),
    }
    nothing = under_test_priors(np.zeros((0, 11), int), labels[:0], labels[:0], COUNTS)
    assert nothing["uniform"] == {"as_is": None, "corrected": None}
