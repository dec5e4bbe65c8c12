import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.cosines import mean_cosines

measure = jax.jit(mean_cosines)


def loop(embeddings, labels):
    rows = np.asarray(embeddings, np.float64)
    cosines = {True: [], False: []}
    for i, j in itertools.permutations(range(len(labels)), 2):
        cosines[bool(labels[i] == labels[j])].append(sum(rows[i] * rows[j]))
    return [np.mean(cosines[same]) for same in (True, False)]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_means_over_pairs_of_one_class_and_of_two(rng, dtype):
    embeddings = rng.normal(size=(9, 5)) + 0.5
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings = jnp.asarray(embeddings, dtype)
    labels = jnp.array([0, 0, 2, 2, 2, 2, 5, 0, 1])
    found = measure(embeddings, labels)
    assert [value.dtype for value in found] == [jnp.float32] * 2
    np.testing.assert_allclose(found, loop(embeddings, labels), atol=1e-6)


def test_by_hand():
    embeddings = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    # Within class 0: 0; within class 1: -0.6; the others: -1, 0.6, 0 and 0.8.
    within, between = measure(embeddings, jnp.array([0, 0, 1, 1]))
    assert float(within) == pytest.approx(-0.3)
    assert float(between) == pytest.approx(0.1)


@pytest.mark.parametrize(("labels", "expected"), [([0, 1], (0.0, 0.6)), ([3, 3], (0.6, 0.0))])
def test_without_a_pair_the_mean_is_zero(labels, expected):
    embeddings = jnp.array([[1.0, 0.0], [0.6, 0.8]])
    np.testing.assert_allclose(measure(embeddings, jnp.array(labels)), expected, rtol=1e-6)


def test_it_carries_no_gradient():
    def total(embeddings):
        return sum(mean_cosines(embeddings, jnp.array([0, 0, 1])))

    np.testing.assert_array_equal(jax.grad(total)(jnp.eye(3)), np.zeros((3, 3)))
