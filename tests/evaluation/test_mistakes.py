"""Tables of mistakes: what scikit-learn finds of classes, and loops of pairs and images."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from bccl_jax.evaluation.class_table import class_table, worst_first
from bccl_jax.evaluation.confused import certain_mistakes, confused_pairs
from bccl_jax.evaluation.metrics import class_totals, confusion_pairs
from bccl_jax.evaluation.size_groups import group_shares, size_groups

K = 6
COUNTS = np.array([9, 200, 9, 30, 1, 30])
images = st.lists(st.tuples(st.integers(0, K - 1), st.integers(0, K - 1)), min_size=1, max_size=50)


@settings(max_examples=60, deadline=None)
@given(images)
def test_classes_are_as_scikit_learn_has_them(images):
    predictions, labels = np.array(images).T
    table = class_table(class_totals(predictions, labels, K))
    precision, recall, f1, tested = precision_recall_fscore_support(
        labels, predictions, labels=range(K), zero_division=np.nan
    )
    np.testing.assert_allclose(table.precision, precision)
    np.testing.assert_allclose(table.recall, recall)
    # Where a class has no images scikit-learn gives 0 if it was predicted.
    np.testing.assert_allclose(table.f1, np.where(tested > 0, f1, np.nan))


@settings(max_examples=60, deadline=None)
@given(images)
def test_the_worst_class_comes_first_and_one_without_images_last(images):
    predictions, labels = np.array(images).T
    totals = class_totals(predictions, labels, K)
    table = class_table(totals)
    keys = [
        (tested == 0, tested and recall, tested and f1, -tested, k)
        for k, (tested, recall, f1) in enumerate(
            zip(totals.tested.tolist(), table.recall, table.f1, strict=True)
        )
    ]
    assert worst_first(totals).tolist() == [key[-1] for key in sorted(keys)]


@settings(max_examples=60, deadline=None)
@given(images)
def test_confused_pairs_have_both_directions(images):
    predictions, labels = np.array(images).T
    matrix = confusion_matrix(labels, predictions, labels=range(K))
    tested = matrix.sum(axis=1)
    found = confused_pairs(confusion_pairs(predictions, labels, K), tested)
    wanted = {
        frozenset(pair)
        for pair in itertools.permutations(range(K), 2)
        if matrix[pair] or matrix[pair[::-1]]
    }
    rows = list(zip(*(column.tolist() for column in found), strict=True))
    assert len(rows) == len(wanted)
    assert {frozenset(row[:2]) for row in rows} == wanted
    keys = []
    for one, other, there, back, of_one, of_other in rows:
        assert (there, back) == (matrix[one, other], matrix[other, one])
        share = [matrix[one, other] / tested[one] if tested[one] else 0.0]
        share += [matrix[other, one] / tested[other] if tested[other] else 0.0]
        np.testing.assert_allclose(np.nan_to_num([of_one, of_other]), share)
        assert np.isnan(of_other) == (tested[other] == 0)
        assert (there, share[0], -one) >= (back, share[1], -other)
        keys.append((-there - back, -sum(share), one, other))
    assert keys == sorted(keys)


@settings(max_examples=60, deadline=None)
@given(images, st.integers(0, 8), st.integers(1, K))
def test_groups_split_the_images_of_their_classes(images, number, groups):
    predictions, labels = np.array(images).T
    found = size_groups(COUNTS, groups)
    assert sorted(np.concatenate(found).tolist()) == list(range(K))
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert [COUNTS[k] for group in found for k in group] == sorted(COUNTS, reverse=True)
    shares = group_shares(confusion_pairs(predictions, labels, K), found)
    for row, classes in zip(shares, found, strict=True):
        of_group = [(p, y) for p, y in images if y in classes]
        if not of_group:
            assert np.isnan(row).all()
            continue
        wrong = [p for p, y in of_group if p != y]
        wanted = [len(of_group) - len(wrong)] + [
            sum(p in others for p in wrong) for others in found
        ]
        np.testing.assert_allclose(row, np.array(wanted) / len(of_group))
    confidences = np.round(np.sin(np.arange(len(images))) ** 2, 1)
    of_true = np.round(np.cos(np.arange(len(images))) ** 2, 1)
    order = sorted((-confidences[i], of_true[i], i) for i, (p, y) in enumerate(images) if p != y)
    certain = certain_mistakes(labels, predictions, confidences, of_true, number)
    assert certain.tolist() == [i for *_, i in order][:number]


def test_many_classes_take_no_matrix(rng):
    classes, images = 8142, 24426
    labels = rng.integers(0, classes, images)
    predictions = rng.integers(0, classes, images)
    tracemalloc.start()
    totals = class_totals(predictions, labels, classes)
    pairs = confusion_pairs(predictions, labels, classes)
    confused_pairs(pairs, totals.tested)
    group_shares(pairs, size_groups(rng.integers(1, 1000, classes), 20))
    worst_first(totals)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs[:, 2].sum() == images
    assert peak < 20e6 < 8 * classes**2


def test_without_a_mistake_there_is_nothing_to_tell():
    labels = np.arange(3)
    pairs = confusion_pairs(labels, labels, 3)
    assert len(confused_pairs(pairs, np.ones(3, int)).one) == 0
    assert len(certain_mistakes(labels, labels, np.ones(3), np.ones(3), 5)) == 0
    assert group_shares(pairs, size_groups(COUNTS[:3], 1)).tolist() == [[1.0, 0.0]]
    with pytest.raises(ValueError, match="outside 0 to 1"):
        confusion_pairs(labels, labels, 2)
