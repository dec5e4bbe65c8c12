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

from bccl_jax import methods
from bccl_jax.augment.views import SimView, StrongView, make_views, normalize
from bccl_jax.config.sizing import sized
from bccl_jax.config.validation import validate, validate_against_data
from bccl_jax.data.order import epoch_order
from bccl_jax.data.photographs.crops import Crop
from bccl_jax.data.sources import load_dataset
from bccl_jax.data.split import Dataset
from bccl_jax.devices.mesh import create_mesh, replicated, speaks, split_over
from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Context, Method
from bccl_jax.models import Network, create_backbone
from bccl_jax.models.pretrained import load as load_pretrained
from bccl_jax.optimization.optimizer import create_optimizer
from bccl_jax.optimization.schedule import create_schedule
from bccl_jax.system.progress import under_way
from bccl_jax.training.memory import check_memory
from bccl_jax.training.state import TrainState
from bccl_jax.training.step import make_predict, make_train_step


@dataclasses.dataclass(frozen=True)
class Assembly:
    """The objects of a run, all of them stateless.

    Attributes:
      config: the validated config, sized to the data.
      dataset: training and evaluation splits.
      mesh: the devices that share each batch.
      class_counts: int [K], training images of each class.
      steps_per_epoch: training images // batch size.
      order: epoch -> int32 [steps, B], the images of its batches.
      network: backbone and heads.
      augment: (images uint8 [B, H, W, 3] or crops [B, V, S, S, 3], key) -> the method's views.
      crops: of photographs, one for each view; empty for images in memory.
      optimizer: renews the parameters.
      train_step: (state, batch) -> (state, metrics), not yet compiled.
      predict: (state, images, offset) -> (predictions, confidences), jitted.
      init_state: () -> the state before the first step, on the devices of the mesh; raises
        DataError where `config.model.pretrained` cannot be used.
      state_shardings: of the state's arrays over the mesh, a pytree like the state.
      abstract_state: shapes, dtypes and shardings of the state, for a checkpoint to be read into.
    """

    config: ml_collections.ConfigDict
    dataset: Dataset
    mesh: Mesh
    method: Method
    class_counts: np.ndarray
    steps_per_epoch: int
    order: Callable
    network: Network
    augment: Callable
    crops: tuple[Crop, ...]
    optimizer: optax.GradientTransformation
    train_step: Callable
    predict: Callable
    init_state: Callable[[], TrainState]
    state_shardings: TrainState
    abstract_state: TrainState


def assemble(config: ml_collections.ConfigDict) -> Assembly:
    """Reads the data that a config names and builds everything that a run is made of.

    Args:
      config: as `bccl_jax.config.get_config` documents it.

    Returns:
      The assembly.

    Raises:
      ConfigError: a value cannot work, or does not fit the data or the devices.
      DataError: the data set is missing or broken.
    """
    dataset = load_data(config)
    labels = dataset.train.labels
    config = sized(config, len(labels))
    validate_against_data(config, dataset)
    mesh = create_mesh(config)
    class_counts = np.bincount(labels, minlength=dataset.num_classes)
    steps_per_epoch = len(labels) // config.batch_size

    method = methods.create(config.method)
    dtype = jnp.dtype(config.dtype)
    norm_groups = mesh.size if config.model.batch_norm == "device" else 1
    context = Context(class_counts, config.epochs, dtype, norm_groups, mesh.size)
    backbone = create_backbone(
        config.model.backbone,
        dtype=dtype,
        remat=config.model.remat,
        zero_init_residual=config.model.zero_init_residual,
        norm_groups=norm_groups,
    )
    network = Network(backbone, method.heads(context))
    schedule = create_schedule(config, steps_per_epoch)
    optimizer = create_optimizer(config, schedule)
    settings = config.augment
    colors = {"mean": tuple(settings.mean), "std": tuple(settings.std), "dtype": dtype}
    strong = StrongView(**{k: _frozen(v) for k, v in settings.strong.items()})
    sim = SimView(**{k: _frozen(v) for k, v in settings.sim.items()})
    augment = functools.partial(
        make_views, names=method.views, strong=strong, sim=sim, size=settings.size, **colors
    )
    views = {"strong": strong, "sim": sim}
    if dataset.train.encoded:
        image_shape = (settings.size, settings.size, 3)
        if unknown := set(method.views) - set(views):
            raise ConfigError(
                f"config.method.name is {config.method.name!r}, which asks for the views "
                f"{sorted(unknown)}; photographs have no such crops, choose another method"
            )
        crops = tuple(Crop(views[name].scale, views[name].ratio) for name in method.views)
    else:
        image_shape, crops = dataset.train.images.shape[1:], ()

    def build(key):
        return _init_state(key, network, method, optimizer, context, image_shape)

    key = jax.random.key(config.seed)
    shapes = jax.eval_shape(build, key)
    shardings = _state_shardings(mesh, method, shapes)
    check_memory(config, method, shapes, shardings, image_shape)

    def init_state():
        state = jax.jit(build, out_shardings=shardings)(key)
        if not config.model.pretrained:
            return state
        pretrained = load_pretrained(config.model.pretrained, config.model.backbone)
        params, batch_stats = (
            {**mine, "backbone": jax.device_put(theirs, replicated(mesh))}
            for mine, theirs in (
                (state.params, pretrained["params"]),
                (state.batch_stats, pretrained["batch_stats"]),
            )
        )
        return state.replace(params=params, batch_stats=batch_stats)

    return Assembly(
        config=config,
        dataset=dataset,
        mesh=mesh,
        method=method,
        class_counts=class_counts,
        steps_per_epoch=steps_per_epoch,
        order=functools.partial(epoch_order, len(labels), config.batch_size, config.seed),
        network=network,
        augment=augment,
        crops=crops,
        optimizer=optimizer,
        train_step=make_train_step(
            network, method, optimizer, schedule, augment, steps_per_epoch, config.accumulation
        ),
        predict=make_predict(network, method, functools.partial(normalize, **colors), mesh),
        init_state=init_state,
        state_shardings=shardings,
        abstract_state=jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            shapes,
            shardings,
        ),
    )


def load_data(config: ml_collections.ConfigDict) -> Dataset:
    """Reads the data set that a config names; `assemble` does this first.

    Raises:
      ConfigError: a value cannot work, or does not fit the data.
      DataError: the data set is missing or broken.
    """
    validate(config)
    data = config.data
    with under_way("reading the data set", shown=speaks()):
        return load_dataset(
            data.name,
            source=data.source,
            data_dir=data.dir,
            lists=data.lists,
            check_totals=data.check_totals,
            classes=data.classes,
            pixels=data.pixels,
            imbalance=data.imbalance,
            subset_seed=data.subset_seed,
            validation_fraction=data.validation_fraction,
            test_fraction=data.test_fraction,
            train_folder=data.train_folder,
            test_folder=data.test_folder,
            validation_folder=data.validation_folder,
            path_column=data.path_column,
            label_column=data.label_column,
            split_column=data.split_column,
        )


def _state_shardings(mesh: Mesh, method: Method, state: TrainState) -> TrainState:
    """Everything lies on each device, but what the method splits over its classes."""
    everywhere, split = replicated(mesh), split_over(mesh)
    shardings = jax.tree.map(lambda _: everywhere, state)
    shared = method.split_over_classes(state.method)
    return shardings.replace(
        method=jax.tree.map(lambda shares: split if shares else everywhere, shared)
    )


def _frozen(value):
    return tuple(value) if isinstance(value, list | tuple) else value


def _init_state(
    key: jax.Array,
    network: Network,
    method: Method,
    optimizer: optax.GradientTransformation,
    context: Context,
    image_shape: tuple[int, int, int],
) -> TrainState:
    run_key, network_key, method_key = jax.random.split(key, 3)
    # Two images for each group, for one alone has no batch statistics.
    images = jnp.zeros((2 * context.norm_groups, *image_shape), jnp.float32)
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
