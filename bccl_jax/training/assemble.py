"""The one place that turns a config into the objects of a run."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import Mesh

from bccl_jax.augment.outside import check_inputs
from bccl_jax.classifier.image_classifier import ImageClassifier, create_classifier
from bccl_jax.config.dataset import load_data
from bccl_jax.config.sizing import image_shape, sized, stage_config
from bccl_jax.config.validation import validate_against_data
from bccl_jax.config.views import create_views
from bccl_jax.data.order import Order, Part
from bccl_jax.data.photographs.crops import Crop
from bccl_jax.data.split import Dataset
from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method, scheduled
from bccl_jax.models import Network
from bccl_jax.optimization.optimizer import create_optimizer
from bccl_jax.optimization.schedule import create_schedule
from bccl_jax.settings.bounds import shown
from bccl_jax.training.initial import create_state
from bccl_jax.training.parts import joined, parted
from bccl_jax.training.softening import make_soften
from bccl_jax.training.state import TrainState
from bccl_jax.training.step import make_train_step

# A stream of the run's key beside the steps', which fold in the step itself.
_STAGE_STREAM = 0x57A6E57A


@dataclasses.dataclass(frozen=True)
class RunStage:
    """A stage of a method, built.

    Attributes:
      start: the first epoch.
      epochs: how many.
      optimizer: renews the parameters.
      train_step: (state, batch) -> (state, metrics), not yet compiled.
      begin: the state at the end of the stage before -> that at the beginning of this one; None of
        the first, and where it continues that one.
    """

    start: int
    epochs: int
    optimizer: optax.GradientTransformation
    train_step: Callable
    begin: Callable[[TrainState], TrainState] | None


@dataclasses.dataclass(frozen=True)
class Run:
    """What trains a classifier: itself, the data and the optimizer; all of it stateless.

    Attributes:
      classifier: what is trained.
      dataset: training and evaluation splits.
      order: epoch -> int32 [steps, B], the images of its batches.
      augment: (images uint8 [B, H, W, 3] or crops [B, V, S, S, 3], key) -> the method's views; with
        `inputs=` of those that take more.
      crops: of photographs, one for each view; empty for images in memory.
      stages: one after the other; most methods have one.
      init_state: () -> the state before the first step, on the devices of the mesh; raises
        BcclError where `config.model.pretrained` cannot be used.
      abstract_state: shapes, dtypes and shardings of the state, for a checkpoint to be read into.
    """

    classifier: ImageClassifier
    dataset: Dataset
    order: Callable
    augment: Callable
    crops: tuple[Crop, ...]
    stages: tuple[RunStage, ...]
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
        """Images of each class in the training split, int [K], held out or not."""
        return self.classifier.class_counts

    @property
    def steps_per_epoch(self) -> int:
        """Training images that are not held out // batch size."""
        return self.classifier.steps_per_epoch

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The first stage's."""
        return self.stages[0].optimizer

    @property
    def train_step(self) -> Callable:
        """The first stage's, not yet compiled."""
        return self.stages[0].train_step

    def stage_of(self, epoch: int) -> int:
        """Which stage an epoch is of."""
        return sum(epoch >= stage.start for stage in self.stages) - 1

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
    augment, crops = create_views(config, classifier.method.views)
    stages = _create_stages(classifier, augment)
    init_state, abstract_state = create_state(classifier, stages[0].optimizer)
    _check_view_inputs(classifier, abstract_state)
    return Run(
        classifier=classifier,
        dataset=dataset,
        order=Order(
            train.labels,
            config.batch_size,
            config.seed,
            _create_parts(config, classifier.method),
            classifier.method.streams,
        ),
        augment=augment,
        crops=crops if train.encoded else (),
        stages=stages,
        init_state=init_state,
        abstract_state=abstract_state,
    )


def _check_view_inputs(classifier: ImageClassifier, shapes: TrainState) -> None:
    config, method = classifier.config, classifier.method
    who = f"config.method.name is {config.method.name!r}"
    labels = jax.ShapeDtypeStruct((config.batch_size,), jnp.int32)
    given = jax.eval_shape(method.view_inputs, shapes.method, labels)
    if not isinstance(given, Mapping):
        raise ConfigError(f"{who}, whose view_inputs gives {shown(given)}; it must give a dict")
    for view in method.views:
        check_inputs(view, given, config.batch_size, f"{who}, but ")


def _create_parts(config: ml_collections.ConfigDict, method: Method) -> tuple[Part, ...]:
    parts, start = [], 0
    for stage in scheduled(method.stages(config.epochs)):
        parts.append(Part(start, stage.epochs, stage.sampler or config.data.sampler))
        start += stage.epochs
    return tuple(parts)


def _create_stages(classifier: ImageClassifier, augment: Callable) -> tuple[RunStage, ...]:
    config, method = classifier.config, classifier.method
    steps = classifier.steps_per_epoch
    stages, start = [], 0
    of_method = method.stages(config.epochs)
    whole = iter(scheduled(of_method))
    for number, stage in enumerate(of_method):
        begins = not (number and stage.continues)
        if begins:
            own = stage_config(config, next(whole))
            schedule = create_schedule(own, steps)
            optimizer, first_epoch = create_optimizer(own, schedule), start
        step = make_train_step(
            classifier.network,
            method,
            optimizer,
            schedule,
            augment,
            steps,
            config.accumulation,
            stage=number,
            first_epoch=first_epoch,
            trains=stage.trains,
            rates=stage.rates,
            anew=stage.anew,
            ema=config.optimizer.ema,
            sam_rho=config.optimizer.sam_rho,
            soften=make_soften(config, classifier.context.num_classes),
        )
        begin = None
        if number and begins:
            begin = _make_begin(classifier, optimizer, stage.anew, number)
        stages.append(RunStage(start, stage.epochs, optimizer, step, begin))
        start += stage.epochs
    return tuple(stages)


def _make_begin(
    classifier: ImageClassifier,
    optimizer: optax.GradientTransformation,
    anew: tuple[str, ...],
    number: int,
) -> Callable[[TrainState], TrainState]:
    """Closes over what begins a stage; new parameters are a function of the run's key."""

    def begin(state: TrainState) -> TrainState:
        params = state.params
        if anew:
            key = jax.random.fold_in(jax.random.fold_in(state.key, _STAGE_STREAM), number)
            new, _ = parted(classifier.init(*jax.random.split(key)).params, anew)
            params = joined(parted(params, anew)[1], new)
        return state.replace(params=params, opt_state=optimizer.init(params))

    def sharded(state: TrainState) -> TrainState:
        shapes = jax.eval_shape(lambda: state)
        return jax.jit(begin, out_shardings=classifier.shardings(shapes))(state)

    return sharded
