"""The loss of SBCL: against loops in float64, by hand, and as public code computes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.contrastive import supervised_contrastive_loss
from bccl_jax.losses.subclass_balance import between_subclasses_loss, subclass_loss
from tests.losses import public
from tests.losses.differences import slopes

VECTORS = public.load("sbcl")
# View by view here, image by image there.
LABELS = np.tile(VECTORS["ordinary_labels"], 2)
SUBCLASSES = np.tile(VECTORS["ordinary_subclass"], 2)
TEMPERATURES = VECTORS["ordinary_class_temperatures"]


def loss_of(embeddings, labels, subclasses, temperatures, temperature, base, weight):
    within = subclass_loss(embeddings, subclasses, temperature=temperature, base_temperature=base)
    return within + weight * between_subclasses_loss(embeddings, labels, subclasses, temperatures)


def loop(embeddings, labels, subclasses, temperatures, temperature, base, weight):
    """The formula, anchor by anchor."""
    number, total = len(labels), 0.0
    for i in range(number):
        cosines = embeddings @ embeddings[i]
        others = [j for j in range(number) if j != i]
        own = [j for j in others if subclasses[j] == subclasses[i]]
        view = (i + number // 2) % number
        log_all = np.log(sum(np.exp(cosines[j] / temperature) for j in others))
        within = np.mean([log_all - cosines[j] / temperature for j in own])
        tau = temperatures[labels[i]]
        left = [j for j in others if subclasses[j] != subclasses[i] or j == view]
        log_left = np.log(sum(np.exp(cosines[j] / tau) for j in left))
        near = [j for j in left if labels[j] == labels[i]]
        between = np.mean([log_left - cosines[j] / tau for j in near])
        total += temperature / base * within + weight * between
    return total / number


def images_first(array):
    """From view by view to [B, 2, D], as public code has it."""
    return np.stack(np.split(np.asarray(array), 2), axis=1)


@pytest.mark.parametrize("tag", ["rank", "rank_g.5_t.07"])
def test_loss_and_gradient_are_those_of_public_code(tag):
    setting = VECTORS[f"ordinary_{tag}_temperature_basetemperature_grama"]

    @jax.jit
    def loss(features):
        embeddings = jnp.concatenate([features[:, 0], features[:, 1]])
        return loss_of(embeddings, LABELS, SUBCLASSES, TEMPERATURES, *setting)

    public.check(
        loss,
        VECTORS["ordinary_features"],
        VECTORS[f"ordinary_{tag}_loss"],
        VECTORS[f"ordinary_{tag}_dfeatures"],
    )


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


CASES = {
    # Of six images each, so that one program computes them all.
    "ordinary": ([0, 0, 0, 1, 1, 2], [0, 0, 1, 3, 4, 5], 1.0),
    # Class 1 is missing, class 2 has one image.
    "missing": ([0, 0, 0, 0, 3, 2], [0, 1, 0, 1, 6, 5], 1.0),
    "an image of each class": ([3, 1, 2, 0, 5, 4], [9, 4, 6, 0, 8, 7], 1.0),
    "one class, one subclass": ([2] * 6, [5] * 6, 1.0),
    "crowded": ([0, 0, 1, 1, 2, 1], [0, 1, 3, 3, 5, 4], 0.02),
}


compiled = jax.jit(jax.value_and_grad(loss_of))


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_match_a_loop(name, rng):
    labels, subclasses, noise = CASES[name]
    labels, subclasses = np.tile(labels, 2), np.tile(subclasses, 2)
    middle = 0 if noise == 1 else unit(np.ones(4))
    embeddings = unit(middle + noise * rng.normal(size=(len(labels), 4)))
    rest = (labels, subclasses, np.array([0.06, 0.1, 0.2, 0.13, 0.1, 0.15]), 0.1, 0.07, 0.25)
    found, slope = compiled(jnp.float32(embeddings), *map(jnp.asarray, rest))
    expected = loop(embeddings, *rest)
    assert float(found) == pytest.approx(expected, rel=2e-5, abs=1e-6)
    expected = slopes(lambda x: loop(x, *rest), embeddings)
    np.testing.assert_allclose(slope, expected, atol=2e-4 * max(np.abs(expected).max(), 0.1))


def test_by_hand():
    # One class of two subclasses, both views of an image alike, the two images at right angles.
    embeddings = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    labels, subclasses = jnp.zeros(4, jnp.int32), jnp.array([0, 1, 0, 1])
    within = jax.jit(subclass_loss)(embeddings, subclasses, temperature=1.0, base_temperature=0.5)
    assert float(within) == pytest.approx(2 * (np.log(np.e + 2) - 1), rel=1e-6)
    # Positives: the other view at cosine 1, two of the other subclass at 0.
    between = jax.jit(between_subclasses_loss)(embeddings, labels, subclasses, np.array([0.5]))
    assert float(between) == pytest.approx(np.log(np.exp(2) + 2) - 2 / 3, rel=1e-6)


def test_with_one_subclass_a_class_it_is_supervised_contrast(rng):
    embeddings = jnp.float32(unit(rng.normal(size=(12, 4))))
    labels = jnp.tile(jnp.array([0, 0, 1, 1, 2, 3]), 2)

    def supervised(x):
        return supervised_contrastive_loss(x, labels, temperature=0.1)

    found = compiled(embeddings, labels, labels, jnp.full(6, 0.1), 0.1, 0.1, 0.0)
    expected = jax.jit(jax.value_and_grad(supervised))(embeddings)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-7)


def test_at_the_lowest_temperature_it_stays_finite(rng):
    embeddings = jnp.float32(unit(rng.normal(size=(12, 4))))
    labels = jnp.tile(jnp.array([0, 0, 1, 2, 2, 2]), 2)
    rest = (labels, jnp.arange(12) % 6, jnp.full(6, 0.001), 0.001, 0.07, 0.25)
    found, slope = compiled(embeddings, *rest)
    assert np.isfinite(found)
    assert np.all(np.isfinite(slope))


def test_shapes_that_do_not_fit_are_named():
    ones, labels = jnp.ones((3, 2)), jnp.zeros(3, jnp.int32)
    with pytest.raises(ValueError, match="pass both views of a batch"):
        between_subclasses_loss(ones, labels, labels, jnp.ones(2))
    with pytest.raises(ValueError, match="one temperature a class"):
        between_subclasses_loss(jnp.ones((4, 2)), jnp.zeros(4, int), jnp.zeros(4, int), 0.1)
    with pytest.raises(ValueError, match="one label each"):
        subclass_loss(ones, labels[:2], temperature=0.1, base_temperature=0.1)
