"""The shipped digits config, shrunk to seconds."""

import importlib.util
import pathlib

import jax
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]


def shipped_config(name, *arguments):
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*arguments)


def tiny_config(method="bccl"):
    config = shipped_config("digits_lt", method)
    config.epochs = 4
    config.optimizer.warmup_epochs = 1
    config.eval.every_epochs = 2
    config.checkpoint.every_epochs = 1
    # A third of what a step with two contrastive views compiles; crops still tell the views apart.
    config.augment.sim.jitter = (0.0,) * 4
    shrink(config.method)
    if method == "dro_lt":
        # Its first stage has one epoch.
        config.optimizer.warmup_epochs = 0
    return config.lock()


# Settings of any method and what they are for a net of a few features.
SMALL = {
    "num_centroids": 2,
    "projector_dim": 8,
    "projector_hidden": 16,
    "queue_size": 8,
    "refit_epochs": 2,
    "refresh_epochs": 2,
}


def shrink(method):
    method.update({key: value for key, value in SMALL.items() if key in method})
    if method.name == "tau_norm":
        method.tau = 0.5
    if "warmup_epochs" in method:
        method.warmup_epochs = 1
    if method.name == "meta_saug":
        # Two epochs of each stage.
        method.deferred = 0.5
    if method.name == "dro_lt":
        # An epoch of each of the first two stages, two of the last.
        method.robust_after, method.refit_after = 0.25, 0.5
    if method.name in ("paco", "gpaco"):
        # More than a batch, and no multiple of it.
        method.queue_size = 200


def bits(state):
    """Every array of a state by its path, keys as their data."""
    named = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): host(leaf) for path, leaf in named}


def host(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def differing(one, other):
    """The paths at which two states are not equal bit for bit."""
    one, other = bits(one), bits(other)
    assert one.keys() == other.keys()
    return [path for path in one if one[path].tobytes() != other[path].tobytes()]


# What a prediction takes from the logits of the ten digits: nothing, and for nothing else.
NO_OFFSETS = np.zeros(10, np.float32), np.zeros((0, 10), np.float32)
