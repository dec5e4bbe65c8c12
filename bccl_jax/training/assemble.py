"""The one place that turns a config into the objects of a run."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import Mesh

from bccl_jax.augment.views import SimView, StrongView, make_views
from bccl_jax.classifier.image_classifier import (
    ImageClassifier,
    create_classifier,
    with_shardings,
)
from bccl_jax.config.dataset import load_data
from bccl_jax.config.sizing import image_shape, sized
from bccl_jax.config.validation import validate_against_data
from bccl_jax.data.order import epoch_order
from bccl_jax.data.photographs.crops import Crop
from bccl_jax.data.split import Dataset
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method
from bccl_jax.models import Network
from bccl_jax.models.pretrained import load as load_pretrained
from bccl_jax.optimization.optimizer import create_optimizer
from bccl_jax.optimization.schedule import create_schedule
from bccl_jax.training.memory import check_memory
from bccl_jax.training.state import TrainState
from bccl_jax.training.step import make_train_step


@dataclasses.dataclass(frozen=True)
class Run:
    """What trains a classifier: itself, the data and the optimizer; all of it stateless.

    Attributes:
      classifier: what is trained.
      dataset: training and evaluation splits.
      order: epoch -> int32 [steps, B], the images of its batches.
      augment: (images uint8 [B, H, W, 3] or crops [B, V, S, S, 3], key) -> the method's views.
      crops: of photographs, one for each view; empty for images in memory.
      optimizer: renews the parameters.
      train_step: (state, batch) -> (state, metrics), not yet compiled.
      init_state: () -> the state before the first step, on the devices of the mesh; raises
        DataError where `config.model.pretrained` cannot be used.
      abstract_state: shapes, dtypes and shardings of the state, for a checkpoint to be read into.
    """

    classifier: ImageClassifier
    dataset: Dataset
    order: Callable
    augment: Callable
    crops: tuple[Crop, ...]
    optimizer: optax.GradientTransformation
    train_step: Callable
    init_state: Callable[[], TrainState]
    abstract_state: TrainState

    @property
    def config(self) -> ml_collections.ConfigDict:
        """The validated config, sized to the data."""
        return self.classifier.config

    @property
    def mesh(self) -> Mesh:
        """The devices that share each batch."""
        return self.classifier.mesh

    @property
    def method(self) -> Method:
        """The method that trains."""
        return self.classifier.method

    @property
    def network(self) -> Network:
        """Backbone and heads."""
        return self.classifier.network

    @property
    def class_counts(self) -> np.ndarray:
        """Training images of each class, int [K]."""
        return self.classifier.class_counts

    @property
    def steps_per_epoch(self) -> int:
        """Training images // batch size."""
        return self.classifier.steps_per_epoch

    @property
    def state_shardings(self) -> TrainState:
        """Where the state's arrays lie over the mesh, a pytree like the state."""
        return jax.tree.map(lambda x: x.sharding, self.abstract_state)


def assemble(config: ml_collections.ConfigDict) -> Run:
    """Reads the data that a config names and builds everything that a run is made of.

    Args:
      config: as `bccl_jax.config.get_config` documents it.

    Returns:
      The run.

    Raises:
      ConfigError: a value cannot work, or does not fit the data or the devices.
      DataError: the data set is missing or broken.
    """
    dataset = load_data(config)
    train = dataset.train
    config = sized(config, len(train))
    validate_against_data(config, dataset)
    classifier = create_classifier(
        config,
        train.class_names,
        np.bincount(train.labels, minlength=dataset.num_classes),
        image_shape(config, train),
    )
    augment, crops = _create_views(config, classifier.method.views, train.encoded)
    schedule = create_schedule(config, classifier.steps_per_epoch)
    optimizer = create_optimizer(config, schedule)
    init_state, abstract_state = _create_state(classifier, optimizer)
    return Run(
        classifier=classifier,
        dataset=dataset,
        order=functools.partial(epoch_order, len(train), config.batch_size, config.seed),
        augment=augment,
        crops=crops,
        optimizer=optimizer,
        train_step=make_train_step(
            classifier.network,
            classifier.method,
            optimizer,
            schedule,
            augment,
            classifier.steps_per_epoch,
            config.accumulation,
        ),
        init_state=init_state,
        abstract_state=abstract_state,
    )


def _create_views(
    config: ml_collections.ConfigDict, names: tuple[str, ...], encoded: bool
) -> tuple[Callable, tuple[Crop, ...]]:
    """What makes the views of a batch, and of photographs the crop of each."""
    settings = config.augment
    kinds = {
        "strong": StrongView(**{k: _frozen(v) for k, v in settings.strong.items()}),
        "sim": SimView(**{k: _frozen(v) for k, v in settings.sim.items()}),
    }
    augment = functools.partial(
        make_views,
        names=names,
        **kinds,
        size=settings.size,
        mean=tuple(settings.mean),
        std=tuple(settings.std),
        dtype=jnp.dtype(config.dtype),
    )
    if not encoded:
        return augment, ()
    if unknown := set(names) - set(kinds):
        raise ConfigError(
            f"config.method.name is {config.method.name!r}, which asks for the views "
            f"{sorted(unknown)}; photographs have no such crops, choose another method"
        )
    return augment, tuple(Crop(kinds[name].scale, kinds[name].ratio) for name in names)


def _create_state(
    classifier: ImageClassifier, optimizer: optax.GradientTransformation
) -> tuple[Callable[[], TrainState], TrainState]:
    """What makes the state before the first step, and its shapes."""
    config = classifier.config

    def build(key):
        run_key, network_key, method_key = jax.random.split(key, 3)
        variables = classifier.init(network_key, method_key)
        return TrainState(
            step=variables.step,
            key=run_key,
            params=variables.params,
            batch_stats=variables.batch_stats,
            opt_state=optimizer.init(variables.params),
            method=variables.method,
        )

    key = jax.random.key(config.seed)
    shapes = jax.eval_shape(build, key)
    shardings = classifier.shardings(shapes)
    check_memory(config, classifier.method, shapes, shardings, classifier.image_shape)

    def init_state():
        state = jax.jit(build, out_shardings=shardings)(key)
        if not config.model.pretrained:
            return state
        pretrained = load_pretrained(config.model.pretrained, config.model.backbone)
        params, batch_stats = (
            {**mine, "backbone": jax.device_put(theirs, replicated(classifier.mesh))}
            for mine, theirs in (
                (state.params, pretrained["params"]),
                (state.batch_stats, pretrained["batch_stats"]),
            )
        )
        return state.replace(params=params, batch_stats=batch_stats)

    return init_state, with_shardings(shapes, shardings)


def _frozen(value):
    return tuple(value) if isinstance(value, list | tuple) else value
