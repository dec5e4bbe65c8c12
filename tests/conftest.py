"""Every test runs under strict array rules: what broadcasts by accident is an error."""

import gc
import os
import pathlib
import shutil
import tempfile

import hypothesis
import jax
import numpy as np
import pytest

# The same examples each time: new ones are looked for by `python -m faults.fuzzing`.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")

jax.config.update("jax_numpy_rank_promotion", "raise")

# Tests compile more than they compute: at LLVM's level 1 what initialises a network compiles in
# half the time of level 2, at level 0 (`_optimization` below) in half of that. XLA_FLAGS that name
# a level are left as they are: with level 3 the tests run what users run.
_COMPILE_FAST = "--xla_backend_optimization_level=1"
# The workers take all cores: parts of a program that are compiled side by side only cost more.
_COMPILE_FAST += " --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):
    # Of the older versions' two ways to write loops the one that compiles a step in half the time.
    _COMPILE_FAST += " --xla_cpu_use_fusion_emitters=false"
# Before anything that is imported starts JAX, which reads them once.
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_COMPILE_FAST}".strip()
# The workers have the flags of the process that started them.
_OWN_LEVEL = _COMPILE_FAST not in os.environ["XLA_FLAGS"]

# The longest files, begun first, so that no worker is left alone with one at the end. Neighbours
# compile different programs: two workers would each compile what they need at the same time.
_LONGEST = (
    "methods/test_contract.py",
    "commands/test_main.py",
    "benchmarks/test_benchmarks.py",
    "training/test_devices.py",
    "augment/test_policies.py",
    "training/test_photographs.py",
    "training/test_first_stage.py",
    "training/test_loop.py",
    "training/test_stages.py",
    "methods/test_k_positive.py",
    "methods/test_proco.py",
    "losses/test_contrastive.py",
    "settings/test_bounds.py",
    "clustering/test_sharded.py",
)


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


def pytest_collection_modifyitems(items):
    ranks = {name: rank for rank, name in enumerate(_LONGEST)}
    tests = pathlib.Path(__file__).parent

    def place(item):
        rank = ranks.get(item.path.relative_to(tests).as_posix(), len(ranks))
        # A change of level empties all caches, which costs seconds once they are full.
        return not getattr(item.module, "OPTIMIZED", False), rank

    # Sorting is stable: the others follow in their order.
    items.sort(key=place)


def pytest_collection_finish():
    # What is imported by now stays: without this the collector passes over it again and again, as
    # tracing makes so many objects more.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)


@pytest.fixture(scope="module", autouse=True)
def _optimization(request):
    """Level 0, but for modules that say `OPTIMIZED = True`, which are at level 1.

    Those are the modules that run many steps, each of which level 0 makes ten times as long, and
    those that compare two programs bit by bit, for level 0 fuses them otherwise.
    """
    hardly = not (_OWN_LEVEL or getattr(request.module, "OPTIMIZED", False))
    if hardly != jax.config.read("jax_disable_most_optimizations"):
        # No program of one level is left for a module of the other.
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", hardly)
    # For processes that the tests start.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(hardly))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
