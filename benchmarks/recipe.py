"""The run that benchmarks measure: a shipped config over random images, long-tailed as its own."""

import argparse
import contextlib
import functools
import importlib.util
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from bccl_jax import methods
from bccl_jax.config.validation import validate
from bccl_jax.data.long_tail import class_counts
from bccl_jax.data.sources import DATASETS
from bccl_jax.data.split import Split
from bccl_jax.methods.base import Batch, Method, Progress
from bccl_jax.methods.bccl import BCCLState
from bccl_jax.models import BACKBONES, Network
from bccl_jax.training import assemble as assembling
from bccl_jax.training.assemble import Run
from bccl_jax.training.state import TrainState
from benchmarks.common import ROOT

# What the random data set, and a backbone of another width, are called while a run is assembled.
_NAME = "benchmark"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `config_of`, `assemble` and `settings` read."""
    add = parser.add_argument
    add("--config", type=pathlib.Path, default=ROOT / "configs" / "cifar100_lt.py")
    add("--method", choices=methods.names(), default="bccl")
    add("--backbone", choices=BACKBONES, help="default: the config's")
    add("--batch", type=int, help="images a step (default: the config's)")
    add("--dtype", choices=("float32", "bfloat16"), help="default: the config's")
    add("--classes", type=int, default=100, help="K (default: %(default)s)")
    add("--largest", type=int, default=500, help="images of the largest class (%(default)s)")
    add("--imbalance", type=float, help="largest class over smallest (default: the config's)")
    add("--side", type=int, default=32, help="of the images in pixels (default: %(default)s)")
    add("--centroids", type=int, help="C of BCCL (default: the config's)")
    add("--queue-size", type=int, help="M of BCCL (default: the config's)")


def load_config(path: pathlib.Path, *arguments: str) -> ml_collections.ConfigDict:
    """Returns what the `get_config` of a config file gives for the arguments."""
    spec = importlib.util.spec_from_file_location("benchmarked_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*arguments)


def config_of(options: argparse.Namespace) -> ml_collections.ConfigDict:
    """Returns the config that the flags of `add_flags` describe."""
    config = load_config(options.config, options.method)
    changes = {
        "model.backbone": options.backbone,
        "batch_size": options.batch,
        "dtype": options.dtype,
        "data.imbalance": options.imbalance,
    }
    if options.method == "bccl":
        changes["method.num_centroids"] = options.centroids
        changes["method.queue_size"] = options.queue_size
    config.update_from_flattened_dict({k: v for k, v in changes.items() if v is not None})
    return config


def assemble(
    config: ml_collections.ConfigDict, *, classes: int, largest: int, side: int, width: int = 0
) -> Run:
    """Builds a run over random pixels, long-tailed by the config's imbalance.

    Args:
      config: of the run; its data set is replaced.
      classes: K.
      largest: images of the largest class.
      side: of the images, in pixels.
      width: channels of the backbone's first stage; 0 leaves the backbone's own.

    Returns:
      The assembly; `dataset.train` is the long-tailed split.

    Raises:
      ConfigError: a value that cannot work.
    """
    rng = np.random.default_rng(0)
    counts = class_counts(classes, largest, config.data.imbalance)
    labels = np.repeat(np.arange(classes, dtype=np.int32), counts)
    images = rng.integers(0, 256, (len(labels), side, side, 3), np.uint8)
    split = Split(images, labels, tuple(map(str, range(classes))))
    return assemble_over(config, split, split, width)


def assemble_over(
    config: ml_collections.ConfigDict, train: Split, test: Split, width: int = 0
) -> Run:
    """Builds a run over splits in the place of the config's data set.

    Args:
      config: of the run.
      train: the training split.
      test: the test split.
      width: channels of the backbone's first stage; 0 leaves the backbone's own.

    Returns:
      The assembly.

    Raises:
      ConfigError: a value that cannot work.
    """
    config = config.copy_and_resolve_references()
    config.data.name, config.data.source, config.data.imbalance = _NAME, "original", 0.0
    with contextlib.ExitStack() as names:
        origin = {"original": lambda data_dir: (train, test)}
        names.enter_context(_registered(DATASETS, origin))
        if width:
            backbone = functools.partial(BACKBONES[config.model.backbone], width=width)
            names.enter_context(_registered(BACKBONES, backbone))
            config.model.backbone = _NAME
        validate(config)
        return assembling.assemble(config)


@contextlib.contextmanager
def _registered(registry: dict[str, Any], entry: Any) -> Iterator[None]:
    registry[_NAME] = entry
    try:
        yield
    finally:
        del registry[_NAME]


def settings(run: Run) -> dict[str, Any]:
    """Returns what a run's figures depend on, for `report`."""
    config, images = run.config, run.dataset.train.images
    told = {
        "method": config.method.name,
        "backbone": config.model.backbone,
        "batch": config.batch_size,
        "views": config.batch_size * len(run.method.views),
        "dtype": config.dtype,
        "side": images.shape[1],
        "images": len(images),
        "classes": len(run.class_counts),
    }
    if config.method.name == "bccl":
        told["centroids"] = config.method.num_centroids
        told["queue_size"] = config.method.queue_size
    return told


def after_warmup(state: TrainState, key: jax.Array) -> TrainState:
    """The state with full queues and every centroid valid, as after warm-up; random unit vectors.

    Args:
      state: of any method; only BCCL's own state changes.
      key: a JAX random key.

    Returns:
      The state.
    """
    if not isinstance(state.method, BCCLState):
        return state
    queue, centroids = state.method.queue, state.method.centroids
    queue_key, centroid_key = jax.random.split(key)
    filled = unit_vectors(queue_key, queue.features.shape).astype(queue.features.dtype)
    return state.replace(
        method=state.method.replace(
            queue=queue.replace(
                features=filled, count=jnp.full_like(queue.count, queue.features.shape[1])
            ),
            centroids=unit_vectors(centroid_key, centroids.shape),
            centroid_mask=jnp.ones_like(state.method.centroid_mask),
        )
    )


def unit_vectors(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns random directions along the last axis, float32."""
    vectors = jax.random.normal(key, shape)
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)


def first_batch(run: Run) -> dict[str, jax.Array]:
    """Returns the first batch of epoch 0, on the device.

    Where a recipe is for photographs, which are cropped as they are decoded, each view has a crop.
    """
    indices, train = run.order(0)[0], run.dataset.train
    images = train.images[indices]
    if run.config.augment.size:
        images = np.stack([images] * len(run.method.views), axis=1)
    return jax.device_put({"image": images, "label": train.labels[indices]})


def network_passes(
    network: Network, method: Method, state: TrainState, batch: Batch, params: Any
) -> list[tuple[Any, Any]]:
    """What the network gives to a method's loss, pass by pass; the loss is not used.

    Args:
      network: backbone and heads.
      method: whose loss runs the network.
      state: its batch statistics and the method's own state are read.
      batch: views and labels.
      params: the network's parameters.

    Returns:
      (outputs, new batch statistics) of each pass.
    """
    passes = []

    def apply(params, forward, *inputs, batch_stats=state.batch_stats):
        arrays = [value for value in inputs if isinstance(value, jax.Array)]

        def network_pass(params, batch_stats, arrays):
            given = iter(arrays)
            return network.apply(
                {"params": params, "batch_stats": batch_stats},
                *(next(given) if isinstance(value, jax.Array) else value for value in inputs),
                method=forward,
                mutable=["batch_stats"],
            )

        # A jit of its own gives the pass a name that `layers.layers` finds.
        outputs, renewed = jax.jit(network_pass)(params, batch_stats, arrays)
        passes.append((outputs, renewed["batch_stats"]))
        return passes[-1]

    method_loss(method, apply, params, state, batch)
    return passes


def method_loss(
    method: Method, apply: Callable, params: Any, state: TrainState, batch: Batch
) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any, Any]]:
    """Returns `method.loss` of a batch in the state's step, as of epoch 0."""
    progress = Progress(state.step, jnp.zeros_like(state.step))
    return method.loss(apply, params, batch, state.method, state.key, progress)


class Threaded:
    """Calls in a row of a function that donates its first argument and returns its successor.

    Args:
      function: (carry, *arguments) -> (the next carry, anything).
      carry: the first one, which the first call consumes.
      *arguments: the same in every call.
    """

    def __init__(self, function: Callable, carry: Any, *arguments: Any):
        self._function, self._carry, self._arguments = function, carry, arguments

    def __call__(self) -> Any:
        """Returns what the function returns."""
        returned = self._function(self._carry, *self._arguments)
        self._carry = returned[0]
        return returned


@contextlib.contextmanager
def cold() -> Iterator[None]:
    """Within, everything is traced and compiled anew; the persistent cache is left alone."""
    enabled = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    jax.clear_caches()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
        # Whether the cache is used is decided once, at the next compilation.
        compilation_cache.reset_cache()


def copied(tree: Any) -> Any:
    """Returns a pytree of new arrays, which may be donated."""
    return jax.tree.map(jnp.copy, tree)
