"""Classes that no image was evaluated of, and classes that are lost, can be seen in the figures."""

import errno
import json
import warnings
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import create_mesh
from bccl_jax.errors import DataError, NonFiniteLossError
from bccl_jax.evaluation import over_split
from bccl_jax.evaluation.evaluate import evaluate
from bccl_jax.evaluation.metrics import (
    class_totals,
    count_classes,
    low_classes,
    macro_f1,
    per_class_accuracy,
    shot_accuracy,
)
from bccl_jax.workdir.checkpoint_folder import rank
from tests.tiny import tiny_config

COUNTS = np.array([200, 150, 50, 20, 5, 3])
NAMES = ("a", "b", "c", "d", "e", "f")

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_every_figure_is_scikit_learns(pairs):
    predictions, labels = np.array(pairs).T
    tested = np.unique(labels)
    totals = class_totals(predictions, labels, 6)
    found = shot_accuracy(predictions, labels, COUNTS)
    recalls = recall_score(labels, predictions, labels=tested, average=None, zero_division=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of predictions of a class without images
        balanced = balanced_accuracy_score(labels, predictions)
    f1 = f1_score(labels, predictions, labels=tested, average="macro", zero_division=0)
    assert found["top1"] == pytest.approx(100 * accuracy_score(labels, predictions))
    assert found["all"] == pytest.approx(100 * balanced)
    assert macro_f1(totals) == pytest.approx(100 * f1)
    np.testing.assert_allclose(per_class_accuracy(totals)[tested], 100 * recalls)
    low = low_classes(per_class_accuracy(totals))
    assert low["worst_class"] == pytest.approx(100 * recalls.min())
    assert low["geometric_mean"] == pytest.approx(100 * stats.gmean(recalls))
    harmonic = 0 if recalls.min() == 0 else stats.hmean(recalls)
    assert low["harmonic_mean"] == pytest.approx(100 * harmonic)


def test_a_class_at_zero_makes_both_means_zero_and_one_that_was_not_tested_does_not():
    assert low_classes(np.array([100.0, 0.0, np.nan])) == {
        "worst_class": 0.0,
        "harmonic_mean": 0.0,
        "geometric_mean": 0.0,
    }
    found = low_classes(np.array([100.0, 25.0, np.nan]))
    assert found == pytest.approx(
        {"worst_class": 25.0, "harmonic_mean": 40.0, "geometric_mean": 50.0}
    )
    assert set(low_classes(np.full(2, np.nan)).values()) == {None}


def test_macro_f1_leaves_out_an_untested_class_and_counts_one_that_is_never_predicted():
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 2, 0, 0])
    # Class 0: 2 / (2 + 3); class 1: 0; class 2, which is predicted alone, is not in the mean.
    assert macro_f1(class_totals(predictions, labels, 3)) == pytest.approx(100 * 0.4 / 2)
    assert macro_f1(class_totals([], [], 3)) is None


def test_plain_accuracy_and_the_mean_of_classes_differ_where_classes_do():
    labels = np.array([0] * 9 + [1])
    found = shot_accuracy(np.zeros(10, int), labels, np.array([500, 5, 5]))
    assert (found["top1"], found["all"], found["many"], found["few"]) == (90.0, 50.0, 100.0, 0.0)


def test_classes_are_counted_by_group():
    tested = np.array([True, True, False, True, False, False])
    assert count_classes(tested, COUNTS) == {"all": 3, "many": 2, "medium": 1, "few": 0}


def evaluated(labels, predictions, confidences=None, counts=COUNTS, **changes):
    """An evaluation of a network that predicts what is said, and the offset that it was given."""
    config = tiny_config("cross_entropy")
    config.eval.update(changes)
    config.eval.batch_size = len(labels)
    if confidences is None:
        confidences = np.full(len(labels), 0.5, np.float32)
    given = []

    def predict(state, images, offset, others):
        given.append(np.asarray(offset))
        found = predictions, confidences, np.tile(predictions, (len(others), 1)).T
        padding = [(0, len(images) - len(labels)), (0, 0)]
        return tuple(np.pad(x, padding[: np.ndim(x)]) for x in found)

    images = np.zeros((len(labels), 1, 1, 3), np.uint8)
    split = Split(images, np.array(labels, np.int32), NAMES[: len(counts)])
    classifier = SimpleNamespace(
        predict=predict,
        config=config,
        class_counts=counts,
        carried_prior=np.float64(counts) / np.sum(counts),
        mesh=create_mesh(config),
    )
    return evaluate(classifier, SimpleNamespace(step=jnp.int32(7)), split), given[0]


def test_a_record_says_over_how_many_classes_it_is_and_names_those_that_are_not_in_it():
    found, _ = evaluated([0, 0, 1, 3, 4], [0, 0, 0, 3, 4])
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert (record["top1"], record["all"]) == (80.0, 75.0)
    assert record["untested"] == ["c", "f"]
    assert record["classes"] == {"all": 6, "many": 2, "medium": 2, "few": 2}
    assert record["classes_tested"] == {"all": 4, "many": 2, "medium": 1, "few": 1}
    assert record["per_class"] == [100.0, 0.0, None, 100.0, 100.0, None]
    assert (record["worst_class"], record["geometric_mean"]) == (0.0, 0.0)


@pytest.mark.parametrize("factor", [0.0, 1.0, -1.0])
def test_a_class_without_training_images_makes_no_figure_nan(factor):
    counts = np.array([30, 10, 0])
    found, offset = evaluated([0, 1], [0, 1], counts=counts, logit_adjustment=factor)
    assert not np.isnan(offset).any()
    expected = factor * np.log([0.75, 0.25]) if factor else np.zeros(2)
    np.testing.assert_allclose(offset[:2], expected, rtol=1e-6)
    # Nothing is known of its prior: as it is without adjustment, never predicted with it.
    assert offset[2] == (np.inf if factor else 0)
    json.dumps(found.record(), allow_nan=False)


def test_outputs_that_are_not_finite_are_told_in_one_sentence():
    with pytest.raises(
        NonFiniteLossError, match="outputs for 1 of 2 images are not finite at step 7"
    ):
        evaluated([0, 1], [0, 1], np.array([0.5, np.nan], np.float32))


def test_no_picture_that_can_be_decoded_is_an_error_whatever_is_allowed(monkeypatch):
    config = tiny_config()
    config.data.max_broken = 1.0

    class Gone:
        def name(self, index):
            return f"{index}.jpg"

        def __getitem__(self, index):
            raise FileNotFoundError(errno.ENOENT, "it is gone")

    images = Gone()
    split = Split(images, np.zeros(3, np.int32), NAMES[:1])
    batch = {"image": np.zeros((3, 1, 1, 3), np.uint8), "decoded": np.zeros(3, bool)}
    monkeypatch.setattr(over_split, "_batches", lambda *_: (each for each in [batch]))
    with pytest.raises(
        DataError, match=r"3 of 3 pictures .* 0\.jpg the first.*, which leaves nothing"
    ):
        over_split.compute_on(split, lambda images: (np.zeros(3),), config, create_mesh(config))


def test_an_epoch_is_not_the_best_for_want_of_a_class():
    whole = {"accuracy": 50.0, "epoch": 1, "lost_classes": 0}
    lacking = {"accuracy": 60.0, "epoch": 2, "lost_classes": 1}
    older = {"accuracy": 55.0, "epoch": 3}
    assert max([whole, lacking, older], key=rank) is older
    assert max([whole, lacking], key=rank) is whole
