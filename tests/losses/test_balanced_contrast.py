"""BCL's loss: against loops in float64, by hand, and as public code computes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.contrastive import balanced_contrastive_loss, supervised_contrastive_loss
from tests.losses import public
from tests.losses.differences import slopes

VECTORS = public.load("bcl")
LABELS = VECTORS["ordinary_labels"]
differentiate = jax.jit(
    jax.value_and_grad(balanced_contrastive_loss, argnums=(0, 2)),
    static_argnames=("temperature", "chunk_size"),
)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def loop(embeddings, labels, prototypes, temperature):
    """The loss in words: float64, one pair at a time."""
    size, classes = len(labels), len(prototypes)
    candidates = np.concatenate([embeddings, prototypes])
    of = np.concatenate([labels, np.arange(classes)])
    members = np.bincount(of, minlength=classes)
    losses = []
    for i in range(size):
        others = [j for j in range(len(of)) if j != i]
        positives = [j for j in others if of[j] == labels[i]]
        logits = candidates @ embeddings[i] / temperature
        denominator = sum(np.exp(logits[j]) / (members[of[j]] - (j in positives)) for j in others)
        losses.append(np.mean([np.log(denominator) - logits[j] for j in positives]))
    return np.mean(losses)


@pytest.mark.parametrize("temperature", ["0.1", "0.07"])
def test_losses_and_gradients_are_those_of_public_code(temperature):
    pairs, prototypes = VECTORS["ordinary_features"], VECTORS["ordinary_protos"]
    views, labels = pairs.transpose(1, 0, 2).reshape(-1, 16), np.tile(LABELS, 2)
    named = f"ordinary_t{temperature}_balscl"
    expected = VECTORS[f"{named}_dfeatures"].transpose(1, 0, 2).reshape(-1, 16)
    value = VECTORS[f"{named}_loss"]
    found, (by_view, by_prototype) = differentiate(
        np.float32(views), labels, np.float32(prototypes), temperature=float(temperature)
    )
    public.agree(found, by_view, value, expected)
    public.agree(found, by_prototype, value, VECTORS[f"{named}_dprotos"])


# Classes missing from the batch, single members, and features that nearly coincide.
CASES = {
    "ordinary": ([0, 1, 1, 2, 0, 1], 4, 1.0),
    "single": ([0, 1, 2], 5, 1.0),
    "one class": ([3, 3, 3], 4, 1.0),
    "crowded": ([0, 0, 1, 2, 2], 3, 0.02),
}


@pytest.mark.parametrize("case", CASES)
def test_it_matches_a_loop(case, rng):
    labels, classes, spread = CASES[case]
    centre = unit(rng.normal(size=5))
    both = rng.normal(size=(len(labels) + classes, 5))
    both = unit(centre + spread * both) if spread < 1 else unit(both)
    # Of float32, so that both see the same numbers.
    both = both.astype(np.float32).astype(np.float64)
    embeddings, prototypes = both[: len(labels)], both[len(labels) :]
    labels = np.array(labels)
    value, (by_embedding, by_prototype) = differentiate(
        jnp.asarray(embeddings, jnp.float32),
        labels,
        jnp.asarray(prototypes, jnp.float32),
        temperature=0.1,
    )
    assert float(value) == pytest.approx(loop(embeddings, labels, prototypes, 0.1), rel=1e-5)
    expected = slopes(lambda x: loop(x, labels, prototypes, 0.1), embeddings)
    np.testing.assert_allclose(by_embedding, expected, atol=2e-5 * np.abs(expected).max())
    expected = slopes(lambda x: loop(embeddings, labels, x, 0.1), prototypes)
    np.testing.assert_allclose(by_prototype, expected, atol=2e-5 * np.abs(expected).max())


def test_one_embedding_by_hand():
    # Its only positive is the prototype of its class, at cosine 1; the other is at cosine 0.
    found, _ = differentiate(
        np.float32([[1.0, 0.0]]), np.array([0]), np.eye(2, dtype=np.float32), temperature=0.5
    )
    assert float(found) == pytest.approx(np.log(np.exp(2) + 1) - 2, rel=1e-6)


def test_it_is_the_class_average_with_one_centroid_a_class(rng):
    embeddings = np.float32(unit(rng.normal(size=(8, 6))))
    prototypes = np.float32(unit(rng.normal(size=(5, 6))))
    labels = np.array([0, 1, 1, 4, 0, 1, 1, 4])
    found, (by_embedding, by_prototype) = differentiate(
        embeddings, labels, prototypes, temperature=0.1
    )
    expected, gradient = jax.jit(
        jax.value_and_grad(supervised_contrastive_loss),
        static_argnames=("temperature", "class_average"),
    )(embeddings, labels, temperature=0.1, centroids=prototypes[:, None], class_average=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(by_embedding, gradient, atol=1e-6)
    # There centroids are constants; here each prototype is moved, of classes that are missing too.
    assert np.all(np.any(np.asarray(by_prototype) != 0, axis=1))


def test_in_chunks_it_is_the_same(rng):
    embeddings = np.float32(unit(rng.normal(size=(8, 6))))
    prototypes = np.float32(unit(rng.normal(size=(5, 6))))
    labels = np.array([0, 1, 1, 4, 0, 1, 1, 4])
    whole, slopes_whole = differentiate(embeddings, labels, prototypes, temperature=0.1)
    chunked, slopes_chunked = differentiate(
        embeddings, labels, prototypes, temperature=0.1, chunk_size=2
    )
    np.testing.assert_allclose(whole, chunked, rtol=1e-6)
    for one, other in zip(slopes_whole, slopes_chunked, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="one a class"):
        balanced_contrastive_loss(
            jnp.eye(2), jnp.array([0, 1]), jnp.zeros((2, 1, 2)), temperature=0.1
        )
