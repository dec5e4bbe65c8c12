import jax.numpy as jnp
import numpy as np
import pytest

from tests.methods.small import unit
from tests.training.conftest import (  # noqa: F401
    _no_picture,
    _two_layers,
    shared_assemblies,
)


@pytest.fixture
def outputs(rng):
    """Logits of four images and embeddings of two views of each."""
    logits = jnp.asarray(np.float32(rng.normal(size=(4, 3))))
    return logits, jnp.asarray(np.float32(unit(rng.normal(size=(8, 6)))))
