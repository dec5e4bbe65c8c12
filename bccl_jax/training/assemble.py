"""The one place that turns a config into the objects of a run."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from bccl_jax import methods
from bccl_jax.augment.views import SimView, StrongView, make_views, normalize
from bccl_jax.config import validate_against_data
from bccl_jax.data.order import epoch_order
from bccl_jax.data.sources import Dataset, load_dataset
from bccl_jax.methods.base import Context, Method
from bccl_jax.models import Network, create_backbone
from bccl_jax.training.optimizer import create_optimizer, create_schedule
from bccl_jax.training.state import TrainState
from bccl_jax.training.step import make_predict, make_train_step


@dataclasses.dataclass(frozen=True)
class Assembly:
    """The objects of a run, all of them stateless.

    Attributes:
      config: the validated config.
      dataset: training and evaluation split.
      class_counts: int [K], training images of each class.
      steps_per_epoch: training images // batch size.
      order: epoch -> int32 [steps, B], the images of its batches.
      network: backbone and heads.
      augment: (images uint8 [B, H, W, 3], key) -> the method's views.
      optimizer: renews the parameters.
      train_step: (state, batch) -> (state, metrics), not yet compiled.
      predict: (state, images, offset) -> (predictions, confidences), jitted.
      init_state: () -> the state before the first step.
    """

    config: ml_collections.ConfigDict
    dataset: Dataset
    method: Method
    class_counts: np.ndarray
    steps_per_epoch: int
    order: Callable
    network: Network
    augment: Callable
    optimizer: optax.GradientTransformation
    train_step: Callable
    predict: Callable
    init_state: Callable[[], TrainState]


def assemble(config: ml_collections.ConfigDict) -> Assembly:
    """Reads the data that a config names and builds everything that a run is made of.

    Args:
      config: one that `bccl_jax.config.validate` accepts.

    Returns:
      The assembly.

    Raises:
      ConfigError: a value does not fit the data.
      DataError: the data set is missing or broken.
    """
    dataset = _load(config)
    labels = dataset.train.labels
    validate_against_data(config, len(labels))
    class_counts = np.bincount(labels, minlength=dataset.num_classes)
    steps_per_epoch = len(labels) // config.batch_size

    method = methods.create(config.method)
    dtype = jnp.dtype(config.dtype)
    context = Context(class_counts, config.epochs, dtype)
    network = Network(create_backbone(config.model.backbone, dtype=dtype), method.heads(context))
    schedule = create_schedule(config, steps_per_epoch)
    optimizer = create_optimizer(config, schedule)
    settings = config.augment
    colors = {"mean": tuple(settings.mean), "std": tuple(settings.std), "dtype": dtype}
    augment = functools.partial(
        make_views,
        names=method.views,
        strong=StrongView(**settings.strong),
        sim=SimView(**{k: _frozen(v) for k, v in settings.sim.items()}),
        **colors,
    )
    image_shape = dataset.train.images[0].shape
    return Assembly(
        config=config,
        dataset=dataset,
        method=method,
        class_counts=class_counts,
        steps_per_epoch=steps_per_epoch,
        order=functools.partial(epoch_order, len(labels), config.batch_size, config.seed),
        network=network,
        augment=augment,
        optimizer=optimizer,
        train_step=make_train_step(network, method, optimizer, schedule, augment, steps_per_epoch),
        predict=make_predict(network, method, functools.partial(normalize, **colors)),
        init_state=functools.partial(
            _init_state, config.seed, network, method, optimizer, context, image_shape
        ),
    )


def _load(config: ml_collections.ConfigDict) -> Dataset:
    data = config.data
    return load_dataset(
        data.name,
        source=data.source,
        data_dir=data.dir,
        imbalance=data.imbalance,
        subset_seed=data.subset_seed,
        validation_fraction=data.validation_fraction,
    )


def _frozen(value):
    return tuple(value) if isinstance(value, list | tuple) else value


def _init_state(
    seed: int,
    network: Network,
    method: Method,
    optimizer: optax.GradientTransformation,
    context: Context,
    image_shape: tuple[int, int, int],
) -> TrainState:
    @jax.jit
    def build(key):
        run_key, network_key, method_key = jax.random.split(key, 3)
        # Two images, for one alone has no batch statistics.
        images = jnp.zeros((2, *image_shape), jnp.float32)
        variables = network.init(network_key, images, method=method.init_forward)
        params = variables["params"]
        return TrainState(
            step=jnp.int32(0),
            key=run_key,
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(params),
            method=method.init(method_key, context),
        )

    return build(jax.random.key(seed))
