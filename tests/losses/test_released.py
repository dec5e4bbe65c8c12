"""The losses of the code that Kim & Ko 2025 released, as its words and as its numbers have them."""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import logit_compensation_loss
from bccl_jax.losses.contrastive import (
    centroid_loss,
    complement_and_centroid_loss,
    supervised_contrastive_loss,
)
from bccl_jax.losses.linear_centroid import linear_centroid_loss

VECTORS = np.load(pathlib.Path(__file__).parents[1] / "vectors" / "released_bccl_loss.npz")
RELEASED = {"class_average": True, "one_view_counts": True}

contrast = jax.jit(jax.value_and_grad(partial(supervised_contrastive_loss, **RELEASED)))
attraction = jax.jit(jax.value_and_grad(linear_centroid_loss), static_argnames="num_classes")


def view_by_view(pairs):
    """[B, 2, D] -> [2 B, D]."""
    return pairs.transpose(1, 0, 2).reshape(-1, pairs.shape[-1])


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def loop_contrast(embeddings, labels, temperature):
    """The contrastive loss of the released code in words: float64, one pair at a time.

    `labels` are those of one view; the embeddings have both, view by view.
    """
    both, size = np.concatenate([labels, labels]), 2 * len(labels)
    losses = []
    for i in range(size):
        positives = [j for j in range(size) if j != i and both[j] == both[i]]
        denominator = 0.0
        for j in range(size):
            if j != i:
                weight = np.sum(labels == both[j]) - (j in positives)
                exponential = np.exp(embeddings[i] @ embeddings[j] / temperature)
                denominator += exponential / (weight or 1)
        logs = [
            embeddings[i] @ embeddings[j] / temperature - np.log(denominator) for j in positives
        ]
        losses.append(-np.sum(logs) / max(len(positives), 1))
    return np.mean(losses)


def loop_attraction(embeddings, labels, centroids):
    both = np.concatenate([labels, labels])
    pairs = [
        -(z @ c) if k == label else z @ c
        for z, label in zip(embeddings, both, strict=True)
        for k, of_class in enumerate(centroids)
        for c in of_class
    ]
    return np.mean(pairs)


@pytest.mark.parametrize("temperature", [0.1, 0.07])
def test_losses_and_gradients_are_those_of_the_released_code(temperature):
    z = jnp.asarray(view_by_view(VECTORS["ordinary_features"]), jnp.float32)
    labels = np.concatenate([VECTORS["ordinary_labels"]] * 2)
    for phase in ("warmup", "scl"):
        name = f"ordinary_t{temperature}_{phase}"
        loss, gradient = contrast(z, labels, temperature=temperature)
        assert float(loss) == pytest.approx(VECTORS[f"{name}_loss"], rel=1e-5)
        expected = view_by_view(VECTORS[f"{name}_dfeatures"])
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    name = f"ordinary_t{temperature}_centroid"
    centroids = jnp.asarray(VECTORS["ordinary_centroids"], jnp.float32)
    loss, gradient = attraction(z, labels, centroids)
    assert float(loss) == pytest.approx(VECTORS[f"{name}_loss"], rel=1e-5)
    expected = view_by_view(VECTORS[f"{name}_dfeatures"])
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


def test_its_logit_adjustment_is_logit_compensation():
    loss, gradient = jax.jit(jax.value_and_grad(logit_compensation_loss))(
        np.float32(VECTORS["ordinary_logits"]),
        VECTORS["ordinary_labels"],
        VECTORS["cls_num_list"],
    )
    assert float(loss) == pytest.approx(VECTORS["ordinary_logitadjust_tau1.0_loss"], rel=1e-5)
    expected = VECTORS["ordinary_logitadjust_tau1.0_dlogits"]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "labels",
    [
        [0, 0, 0, 1, 1, 2],  # class 2 has one image
        [0, 1, 2, 3],  # every class has
        [3, 3, 3, 3],  # there is no other class
        [4, 0, 4, 0, 4, 2, 0],
    ],
)
def test_both_match_loops_over_pairs(labels, rng):
    labels = np.array(labels)
    z = unit(rng.normal(size=(2 * len(labels), 6)))
    centroids = rng.uniform(0.3, 1, (5, 3, 1)) * unit(rng.normal(size=(5, 3, 6)))
    both = np.concatenate([labels, labels])
    z32 = jnp.asarray(z, jnp.float32)
    for temperature in (0.1, 1.0):
        loss, _ = contrast(z32, both, temperature=temperature)
        assert float(loss) == pytest.approx(loop_contrast(z, labels, temperature), rel=1e-5)
    loss, _ = attraction(z32, both, jnp.asarray(centroids, jnp.float32))
    assert float(loss) == pytest.approx(loop_attraction(z, labels, centroids), rel=1e-4, abs=1e-7)


def test_one_image_of_a_class_has_its_other_view_alone_undivided():
    # Two images of two classes, all four views at right angles: a positive of weight 1 - 1 -> 1 and
    # two negatives of weight 1, all of similarity 0.
    loss, _ = contrast(jnp.eye(4), jnp.array([0, 1, 0, 1]), temperature=0.5)
    assert float(loss) == pytest.approx(np.log(3), rel=1e-6)
    # Two images of class 0 and one of class 1. An anchor of class 0 has three positives of weight
    # 2 - 1 and two negatives of weight 1; one of class 1 its other view and four of weight 2.
    loss, _ = contrast(jnp.eye(6), jnp.array([0, 0, 1, 0, 0, 1]), temperature=0.5)
    assert float(loss) == pytest.approx((4 * np.log(3 + 2) + 2 * np.log(1 + 4 / 2)) / 6, rel=1e-6)


def test_the_linear_loss_counts_every_centroid_by_hand():
    # Two classes with two centroids each, on two axes.
    centroids = jnp.array([[[1.0, 0.0], [0.5, 0.0]], [[0.0, 1.0], [0.0, 0.25]]])
    z = jnp.array([[1.0, 0.0], [0.6, 0.8]])
    loss, gradient = attraction(z, jnp.array([0, 1]), centroids)
    of_first, of_second = -(1 + 0.5), (0.6 + 0.3) - (0.8 + 0.2)
    assert float(loss) == pytest.approx((of_first + of_second) / (2 * 4), rel=1e-6)
    np.testing.assert_allclose(gradient, np.array([[-1.5, 1.25], [1.5, -1.25]]) / 8, rtol=1e-6)


def test_before_the_first_clustering_the_linear_loss_is_zero(rng):
    z, labels = jnp.asarray(unit(rng.normal(size=(4, 3))), jnp.float32), jnp.array([0, 1, 0, 1])
    for bank, mask in (
        (jnp.zeros((2, 5, 3)), None),
        (jnp.full((2, 5, 3), jnp.nan), jnp.zeros((2, 5), bool)),
    ):
        loss, gradient = attraction(z, labels, bank, mask)
        assert float(loss) == 0
        np.testing.assert_array_equal(gradient, np.zeros_like(z))
    assert VECTORS["zerocentroids_centroid_loss"] == 0


def test_invalid_centroids_and_classes_that_pad_count_as_the_released_code_would(rng):
    z, labels = unit(rng.normal(size=(6, 4))), np.array([0, 1, 2, 0, 1, 2])
    centroids = rng.normal(size=(3, 2, 4))
    mask = np.array([[1, 1], [1, 0], [0, 0]], bool)
    expected = loop_attraction(z, labels[:3], np.where(mask[..., None], centroids, 0))
    padded = np.full((8, 2, 4), np.nan)
    padded[:3] = np.where(mask[..., None], centroids, np.nan)
    loss, gradient = attraction(
        jnp.asarray(z, jnp.float32),
        labels,
        jnp.asarray(padded, jnp.float32),
        jnp.asarray(np.pad(mask, ((0, 5), (0, 0)))),
        num_classes=3,
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(gradient).all()


def test_centroids_carry_no_gradient(rng):
    z, labels = np.float32(unit(rng.normal(size=(4, 3)))), np.array([0, 1, 0, 1])
    bank = np.float32(rng.normal(size=(2, 2, 3)))
    gradient = jax.jit(jax.grad(linear_centroid_loss, argnums=2))(z, labels, bank)
    np.testing.assert_array_equal(gradient, np.zeros_like(bank))


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_with_centroids_a_class_has_those_of_one_view_and_its_centroids(rng, chunk_size):
    """Half of the counts that BCL's average has of the batch, and the centroids in both."""
    labels = np.array([0, 0, 1, 2])
    both = np.concatenate([labels, labels])
    z = unit(rng.normal(size=(8, 5)))
    bank = unit(rng.normal(size=(4, 2, 5)))
    mask = np.array([[1, 1], [1, 0], [0, 0], [1, 1]], bool)
    losses = []
    for i in range(8):
        denominator, positives = 0.0, []
        for k in range(4):
            members = [z[j] for j in range(8) if both[j] == k and j != i]
            members += [bank[k, c] for c in range(2) if mask[k, c]]
            count = np.sum(labels == k) + mask[k].sum() - (both[i] == k)
            denominator += sum(np.exp(z[i] @ m / 0.2) for m in members) / max(count, 1)
            if both[i] == k:
                positives = [z[i] @ m / 0.2 for m in members]
        losses.append(np.log(denominator) - np.mean(positives))
    arguments = np.float32(z), both, np.float32(bank), mask
    options = {"temperature": 0.2, "chunk_size": chunk_size, **RELEASED}
    joint, subclass = jax.jit(partial(complement_and_centroid_loss, **options))(*arguments)
    alone = jax.jit(partial(centroid_loss, **options))(*arguments)
    assert float(joint) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(subclass) == pytest.approx(float(alone), rel=1e-6)


@pytest.mark.parametrize(
    ("embeddings", "labels", "centroids", "mask", "message"),
    [
        ((4,), (4,), (2, 1, 3), None, "embeddings have shape"),
        ((4, 3), (3,), (2, 1, 3), None, "one label each"),
        ((4, 3), (4,), (2, 1, 2), None, r"centroids have shape \(2, 1, 2\)"),
        ((4, 3), (4,), (2, 1, 3), (2, 2), "centroid_mask has shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(embeddings, labels, centroids, mask, message):
    with pytest.raises(ValueError, match=message):
        linear_centroid_loss(
            jnp.zeros(embeddings),
            jnp.zeros(labels, int),
            jnp.zeros(centroids),
            None if mask is None else jnp.zeros(mask, bool),
        )


def test_half_a_view_is_refused():
    with pytest.raises(ValueError, match="3 embeddings; pass both views"):
        supervised_contrastive_loss(jnp.eye(3), jnp.arange(3), temperature=1.0, **RELEASED)
