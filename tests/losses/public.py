"""What public code computes, from tests/vectors."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

_FOLDER = pathlib.Path(__file__).parents[1] / "vectors"


def load(name):
    return np.load(_FOLDER / f"{name}.npz")


def check(loss, argument, value, gradient):
    """Holds a loss of one argument and its gradient against those of public code, in float64."""
    found, slope = jax.value_and_grad(loss)(jnp.asarray(argument, jnp.float32))
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(float(value), rel=1e-5)
    largest = np.abs(gradient).max()
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-5 * largest)
