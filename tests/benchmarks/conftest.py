"""What is compiled here runs a few times on tiny arrays: hardly optimised it is done sooner."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def hardly_optimized():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
