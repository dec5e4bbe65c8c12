"""BCCL with parts of its kin: without them it is BCCL, and each is what it says."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.augment.mixing import blend, cutmix_with
from bccl_jax.errors import ConfigError
from bccl_jax.losses.class_centroids import centroid_classification_loss
from bccl_jax.losses.contrastive import centroid_loss, supervised_contrastive_loss
from bccl_jax.methods.base import Batch, Progress
from bccl_jax.methods.bccl import BCCL
from bccl_jax.methods.bccl_plus import BCCLPlus
from bccl_jax.methods.shared.queued_centroids import enqueue
from tests.methods.small import CONTEXT, COUNTS, LABELS, SMALL, unit
from tests.methods.test_concutmix import PASTES, compensated_loop

OTHERS = jnp.array([2, 1, 2, 0])
PROGRESS = Progress(np.int32(0), np.int32(0))


@pytest.fixture
def made(rng):
    """Logits of four views, embeddings of two, and prototypes."""
    logits = [np.float32(rng.normal(size=(4, 3))) for _ in range(4)]
    return (
        logits,
        np.float32(unit(rng.normal(size=(8, 6)))),
        np.float32(unit(rng.normal(size=(3, 6)))),
    )


@pytest.fixture
def batch(rng):
    first, second = (
        tuple(np.float32(rng.normal(size=(4, 8, 8, 3))) for _ in range(3)) for _ in range(2)
    )
    return Batch(first, LABELS, None, (Batch(second, OTHERS),))


def terms(made, batch, state, key=PASTES, method=BCCLPlus, **settings):
    """The loss, its metrics and the images that the network saw."""
    logits, embeddings, prototypes = made
    method, seen = method(**SMALL, **settings), []

    @jax.jit
    def compute(batch, state):
        def apply(params, forward, images):
            seen.append(len(images) // 4)
            if isinstance(method, BCCLPlus):
                own = prototypes if method.prototypes else None
                outputs = logits[: seen[0]], embeddings, own
            else:
                outputs = logits[0], embeddings
            return outputs, images

        loss, (metrics, state, images) = method.loss(apply, None, batch, state, key, PROGRESS)
        return loss, metrics, state, images.reshape(4, -1, *images.shape[1:])

    loss, metrics, state, images = compute(batch, state)
    return float(loss), {name: float(value) for name, value in metrics.items()}, images, state


def plain(logits, labels=LABELS):
    return compensated_loop(logits, np.eye(3)[np.asarray(labels)], 1.0)


def test_without_its_parts_it_is_bccl(made, batch, clustered):
    expected, expected_metrics, _, renewed = terms(made, batch, clustered, method=BCCL)
    loss, metrics, images, state = terms(made, batch, clustered)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert metrics == pytest.approx(expected_metrics, rel=1e-6)
    assert images.shape[1] == 3
    jax.tree.map(np.testing.assert_array_equal, state, renewed)


def test_cutmix_pastes_the_other_batch_into_the_classified_view_alone(made, batch, clustered):
    _, metrics, images, _ = terms(made, batch, clustered, cutmix_probability=1.0)
    key = jax.random.split(PASTES)[0]
    pasted, share = jax.jit(lambda x, y: cutmix_with(x, y, key, alpha=1.0, probability=1.0))(
        batch.views[0], batch.others[0].views[0]
    )
    assert 0 < metrics["kept_share"] < 1
    assert metrics["kept_share"] == pytest.approx(float(share))
    np.testing.assert_array_equal(images[:, 0], pasted)
    for view in (1, 2):
        np.testing.assert_array_equal(images[:, view], batch.views[view])
    shares = float(share) * np.eye(3)[LABELS] + (1 - float(share)) * np.eye(3)[OTHERS]
    expected = compensated_loop(made[0][0], shares, 1.0)
    assert metrics["classification_loss"] == pytest.approx(expected, rel=1e-5)


def test_all_views_are_classified_by_their_mean(made, batch, clustered):
    _, metrics, _, _ = terms(made, batch, clustered, all_classified=True)
    expected = np.mean([plain(each) for each in made[0][:3]])
    assert metrics["classification_loss"] == pytest.approx(expected, rel=1e-5)


def test_regmixup_classifies_a_mixed_view_beside_the_others(made, batch, clustered):
    settings = {"regmixup_weight": 0.5, "all_classified": True}
    _, metrics, images, _ = terms(made, batch, clustered, **settings)
    assert images.shape[1] == 4
    share_key, order_key = jax.random.split(jax.random.split(PASTES)[1])
    share = jax.random.beta(share_key, 10.0, 10.0)
    order = jax.random.permutation(order_key, 4)
    assert not np.array_equal(order, range(4))
    np.testing.assert_allclose(
        images[:, 3], blend(batch.views[0], batch.views[0][np.asarray(order)], share), atol=1e-6
    )
    for view in range(3):
        np.testing.assert_array_equal(images[:, view], batch.views[view])
    shares = share * np.eye(3)[LABELS] + (1 - share) * np.eye(3)[LABELS[order]]
    expected = np.mean([plain(each) for each in made[0][:3]])
    expected += 0.5 * compensated_loop(made[0][3], np.asarray(shares), 1.0)
    assert metrics["classification_loss"] == pytest.approx(expected, rel=1e-5)


def test_the_prior_factor_is_the_losss_and_the_predictions(made, batch, clustered):
    _, metrics, _, _ = terms(made, batch, clustered, prior_factor=0.4)
    expected = compensated_loop(made[0][0], np.eye(3)[LABELS], 0.4)
    assert metrics["classification_loss"] == pytest.approx(expected, rel=1e-5)
    drawn = COUNTS / COUNTS.sum()
    carried = BCCLPlus(prior_factor=0.4).carried_prior(drawn, COUNTS)
    np.testing.assert_allclose(carried / carried[0], (drawn / drawn[0]) ** 0.6)
    assert not BCCLPlus(prior_factor=0.0).prior_in_loss
    assert not BCCLPlus(logit_compensation=False).prior_in_loss


def test_sigmoids_take_the_place_of_the_softmax(made, batch, clustered):
    _, metrics, _, _ = terms(made, batch, clustered, classification="sigmoid")
    odds = np.log(COUNTS / (COUNTS.sum() - COUNTS))
    probabilities = 1 / (1 + np.exp(-(made[0][0] + odds)))
    right = np.eye(3)[LABELS] * probabilities + (1 - np.eye(3)[LABELS]) * (1 - probabilities)
    expected = -np.log(right).sum(axis=1).mean()
    assert metrics["classification_loss"] == pytest.approx(expected, rel=1e-5)


def test_prototypes_join_the_contrast_and_not_the_subclasses(made, batch, clustered):
    _, metrics, _, _ = terms(made, batch, clustered, prototypes=True)
    _, embeddings, prototypes = made
    labels = np.tile(LABELS, 2)
    bank = jnp.concatenate([clustered.centroids, prototypes[:, None]], axis=1)
    mask = jnp.concatenate([clustered.centroid_mask, jnp.ones((3, 1), bool)], axis=1)
    contrast = jax.jit(supervised_contrastive_loss)(
        embeddings, labels, temperature=0.1, centroids=bank, centroid_mask=mask
    )
    assert metrics["contrastive_loss"] == pytest.approx(float(contrast), rel=1e-6)
    own = jax.jit(centroid_loss)(
        embeddings, labels, clustered.centroids, clustered.centroid_mask, temperature=0.1
    )
    assert metrics["centroid_loss"] == pytest.approx(float(own), rel=1e-6)


def test_the_centroid_loss_may_classify(made, batch, clustered):
    loss, metrics, _, _ = terms(made, batch, clustered, centroid_loss_form="class")
    expected = jax.jit(centroid_classification_loss)(
        made[1],
        np.tile(LABELS, 2),
        clustered.centroids,
        clustered.centroid_mask,
        jnp.asarray(COUNTS),
        temperature=0.1,
    )
    assert metrics["centroid_loss"] == pytest.approx(float(expected), rel=1e-6)
    other, *_ = terms(made, batch, clustered, method=BCCL)
    assert loss != pytest.approx(other)


def test_larger_classes_have_more_centroids(rng):
    """Classes of 40, 20 and 10 images, each with a full queue."""
    method = BCCLPlus(**SMALL | {"num_centroids": 3}, images_per_centroid=15)
    state = method.init(jax.random.key(0), CONTEXT)
    points = np.float32(unit(rng.normal(size=(24, 6))))
    labels = jnp.repeat(jnp.arange(3), 8)
    state = enqueue(state, points, labels, None, split_classes=False)
    state, report = method.refresh(state, jax.random.key(1))
    np.testing.assert_array_equal(state.centroid_mask.sum(axis=1), [3, 2, 1])
    assert report["centroids"] == 6


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"prototypes": True, "split_classes": True}, "prototypes"),
        ({"centroid_loss_form": "class", "split_classes": True}, "centroid_loss_form"),
        ({"images_per_centroid": 10, "split_classes": True}, "images_per_centroid"),
        ({"images_per_centroid": 10, "clustering": "mean_shift"}, "images_per_centroid"),
        ({"prior_factor": 0.5, "logit_compensation": False}, "prior_factor"),
        ({"prior_factor": 0.0, "logit_compensation": False}, "prior_factor"),
        ({"cutmix_alpha": 2.0}, "cutmix_alpha"),
        ({"regmixup_alpha": 2.0}, "regmixup_alpha"),
        ({"num_centroids": 1, "images_per_centroid": 10}, "images_per_centroid"),
        ({"prototypes": True, "weight_contrastive": 0.0}, "prototypes"),
        *(
            ({"weight_classification": 0.0, name: value}, name)
            for name, value in {
                "cutmix_probability": 0.5,
                "all_classified": True,
                "regmixup_weight": 1.0,
                "classification": "sigmoid",
                "prior_factor": 0.9,
            }.items()
        ),
        ({"centroid_loss_form": "class", "weight_centroid": 0.0}, "weight_centroid"),
        ({"centroid_loss_form": "class", "centroid_loss": False}, "centroid_loss is"),
        ({"centroid_loss_form": "class", "class_chunk": 3}, "class_chunk"),
    ],
)
def test_what_cannot_work_is_refused(settings, named):
    with pytest.raises(ConfigError, match=f"config.method.{named}"):
        BCCLPlus(**settings).validate(200)


@pytest.mark.parametrize("view_set", ["strong+sim", "sim+sim"])
@pytest.mark.parametrize("settings", [{"all_classified": True}, {"cutmix_probability": 0.5}])
def test_a_view_that_is_contrasted_is_not_pasted_into(settings, view_set):
    """It would be contrasted under the class that it was of before."""
    (named,) = settings
    with pytest.raises(ConfigError, match=f"view_set is '{re.escape(view_set)}'.*method.{named}"):
        BCCLPlus(**settings, view_set=view_set).validate(200)
    BCCLPlus(view_set=view_set, regmixup_weight=1.0).validate(200)


def test_its_parts_go_together():
    parts = {
        "cutmix_probability": 0.5,
        "cutmix_alpha": 2.0,
        "all_classified": True,
        "regmixup_weight": 1.0,
        "regmixup_alpha": 5.0,
        "prior_factor": 0.9,
        "classification": "sigmoid",
        "prototypes": True,
        "centroid_loss_form": "class",
        "images_per_centroid": 50,
    }
    BCCLPlus(**parts).validate(200)
