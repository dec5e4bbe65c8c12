"""ConCutMix beside loops over its outputs, beside BCL, and what reaches its network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.augment.mixing import cutmix_with
from bccl_jax.losses.contrastive import balanced_contrastive_loss
from bccl_jax.methods.base import Batch, Progress
from bccl_jax.methods.bcl import BalancedContrast
from bccl_jax.methods.concutmix import ConCutMix
from bccl_jax.training.loop import train_and_evaluate
from tests.losses.test_semantic_labels import loop as semantic_loop
from tests.methods.small import CONTEXT, COUNTS, LABELS, unit
from tests.tiny import tiny_config

OTHERS = jnp.array([2, 1, 2, 0])
PRIOR = COUNTS / COUNTS.sum()
# Of these the first pastes, half of the batches being left as they are, and the second does not.
PASTES, DOES_NOT = jax.random.key(3), jax.random.key(0)


@pytest.fixture
def batch(rng):
    """Four images of 16 x 16 pixels, three views of each, beside four others."""
    first, second = (
        tuple(np.float32(rng.normal(size=(4, 16, 16, 3))) for _ in range(3)) for _ in range(2)
    )
    return Batch(first, LABELS, None, (Batch(second, OTHERS),))


@pytest.fixture
def made(rng):
    """Logits, embeddings of both contrasted views, and centres and projections of any length."""
    centers, projections = (3 * rng.normal(size=(n, 6)) for n in (3, 4))
    shaped = rng.normal(size=(4, 3)), unit(rng.normal(size=(8, 6))), centers, projections
    logits, embeddings, *rest = map(np.float32, shaped)
    return logits, embeddings, (np.float32(unit(centers)), *rest)


@functools.partial(jax.jit, static_argnames="method")
def compute(method, batch, outputs, key, progress):
    """Loss, metrics and the images that the network saw."""
    state, seen = method.init(None, CONTEXT), []

    def apply(params, forward, images):
        seen.append(images)
        return outputs, "renewed statistics"

    loss, (metrics, same, batch_stats) = method.loss(apply, None, batch, state, key, progress)
    assert batch_stats == "renewed statistics"
    assert same is state
    return loss, metrics, seen


def loss_of(method, batch, outputs, key, epoch):
    progress = Progress(np.int32(10 * epoch), np.int32(epoch))
    loss, metrics, _ = compute(method, batch, outputs, key, progress)
    return float(loss), {name: float(value) for name, value in metrics.items()}


def compensated_loop(logits, shares, factor):
    total = 0.0
    for row, own in zip(np.asarray(logits, np.float64), shares, strict=True):
        terms = PRIOR**factor * np.exp(row)
        total -= sum(y * np.log(t / terms.sum()) for y, t in zip(own, terms, strict=True))
    return total / len(logits)


paste = jax.jit(functools.partial(cutmix_with, alpha=1.0, probability=0.5))
contrast = jax.jit(functools.partial(balanced_contrastive_loss, temperature=0.1))


def share_of(batch, key):
    return float(paste(batch.views[0], batch.others[0].views[0], key)[1])


@pytest.mark.parametrize("epoch", [0, 50, 51, 99])
@pytest.mark.parametrize("key", [PASTES, DOES_NOT])
@pytest.mark.parametrize("factor", [0.9, 0.0])
def test_the_loss_matches_loops(batch, made, epoch, key, factor):
    method = ConCutMix(omega=0.8, num_nearest=2, prior_factor=factor)
    loss, metrics = loss_of(method, batch, made, key, epoch)
    logits, embeddings, (prototypes, centers, projections) = made
    share = share_of(batch, key)
    assert (share < 1) == (key is PASTES)
    labels = share * np.eye(3)[LABELS] + (1 - share) * np.eye(3)[OTHERS]
    if share < 1 and epoch > 50:
        labels = semantic_loop(
            labels, *(np.asarray(x, np.float64) for x in (projections, centers)), COUNTS, 0.8, 2
        )
    contrastive = contrast(embeddings, np.tile(LABELS, 2), prototypes)
    classification = compensated_loop(logits, labels, factor)
    assert metrics["classification_loss"] == pytest.approx(classification, rel=1e-5)
    assert metrics["kept_share"] == pytest.approx(share)
    assert loss == pytest.approx(2 * classification + 0.6 * float(contrastive), rel=1e-5)


def test_only_the_classified_view_is_mixed(batch, made):
    _, _, (seen,) = compute(ConCutMix(), batch, made, PASTES, Progress(np.int32(0), np.int32(0)))
    views = np.asarray(seen).reshape(4, 3, 16, 16, 3)
    for view in (1, 2):
        np.testing.assert_array_equal(views[:, view], batch.views[view])
    own, others = np.asarray(batch.views[0]), np.asarray(batch.others[0].views[0])
    pasted = (views[:, 0] == others).all(axis=-1)
    assert np.all(pasted | (views[:, 0] == own).all(axis=-1))
    assert 1 - pasted.mean() == pytest.approx(share_of(batch, PASTES))


def test_without_its_parts_it_is_bcl(batch, made):
    method = ConCutMix(cutmix_probability=0.0, prior_factor=1.0, omega=5.0)
    logits, embeddings, (prototypes, *_) = made
    alone = batch._replace(others=())
    expected, _ = loss_of(BalancedContrast(), alone, (logits, embeddings, prototypes), PASTES, 80)
    found, metrics = loss_of(method, batch, made, PASTES, 80)
    assert found == pytest.approx(expected, rel=1e-6)
    assert metrics["kept_share"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("_two_layers", "_no_picture")
def test_without_its_parts_it_trains_what_bcl_trains(tmp_path):
    def trained(name, **changes):
        config = tiny_config(name)
        config.model.backbone = "two_layers"
        config.update_from_flattened_dict({"epochs": 2, "batch_size": 160, **changes})
        return train_and_evaluate(config, tmp_path / name).state

    bcl = trained("bcl")
    own = trained("concutmix", **{"method.cutmix_probability": 0.0, "method.prior_factor": 1.0})
    # A program of its own may add in another order.
    for name in ("params", "batch_stats"):
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5),
            *(getattr(state, name) for state in (bcl, own)),
        )


def test_of_short_runs_the_last_part_is_semantic():
    assert ConCutMix().init(None, CONTEXT)["semantic_epoch"] == 50
    assert ConCutMix(semantic_after=1.0).init(None, CONTEXT)["semantic_epoch"] == 100
    assert not ConCutMix(prior_factor=0.0).prior_in_loss
