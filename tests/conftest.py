"""Every test runs under strict array rules: what broadcasts by accident is an error."""

import os
import shutil
import tempfile

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    # One compilation cache for the workers of a session: many tests build the same small run.
    if not hasattr(config, "workerinput"):
        config.compilation_cache = tempfile.mkdtemp(prefix="bccl_jax_tests_")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.compilation_cache
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_unconfigure(config):
    if hasattr(config, "compilation_cache"):
        shutil.rmtree(config.compilation_cache, ignore_errors=True)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
