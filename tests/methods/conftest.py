import jax.numpy as jnp
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
    logits = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    return logits, jnp.asarray(unit(rng.normal(size=(8, 6))), jnp.float32)
