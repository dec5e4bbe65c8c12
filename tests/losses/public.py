"""What public code computes, from tests/vectors."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

_FOLDER = pathlib.Path(__file__).parents[1] / "vectors"


def load(name):
    return np.load(_FOLDER / f"{name}.npz")


@functools.cache
def _differentiated(loss, settings):
    return jax.jit(jax.value_and_grad(loss), static_argnames=settings)


def check(loss, argument, value, gradient, *others, **settings):
    """Holds a loss and its gradient by the first argument against those of public code, in float64.

    A function of a module is compiled once for others of one shape and the same settings.
    """
    differentiated = _differentiated(loss, tuple(settings))
    agree(*differentiated(np.float32(argument), *others, **settings), value, gradient)


def agree(found, slope, value, gradient):
    """Holds a float32 loss and gradient against those of public code."""
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(float(value), rel=1e-5)
    largest = np.abs(gradient).max()
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-5 * largest)
