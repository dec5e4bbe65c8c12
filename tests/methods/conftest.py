import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.methods.bccl import BCCL
from tests.methods.small import CONTEXT, SMALL, unit
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


@pytest.fixture
def clustered(rng):
    """A state as after a refresh; class 2 has one valid centroid."""
    state = BCCL(**SMALL).init(jax.random.key(0), CONTEXT)
    mask = jnp.array([[True, True], [True, True], [True, False]])
    return state.replace(
        centroids=jnp.asarray(unit(rng.normal(size=(3, 2, 6))), jnp.float32), centroid_mask=mask
    )
