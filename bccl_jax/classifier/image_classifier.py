"""An image classifier: config, classes, network, method and preprocessing, without any data.

Prediction, evaluation and embedding stand on it, and a run adds what trains it. It is stateless:
the arrays (`Variables`, or the state of a run, which has them too) are handed to its functions.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh

from bccl_jax import methods, models
from bccl_jax.augment.views import normalize
from bccl_jax.classifier.variables import Variables
from bccl_jax.config.sizing import sized
from bccl_jax.data.subset import trained_counts
from bccl_jax.devices.mesh import create_mesh, replicated, split_over
from bccl_jax.methods.base import Apply, Context, Method
from bccl_jax.methods.seam.prior import carried_prior
from bccl_jax.models import Network, create_backbone
from bccl_jax.models.outside import check_features


@dataclasses.dataclass(frozen=True)
class ImageClassifier:
    """What is needed to predict with a network, but for its arrays.

    Attributes:
      config: validated, sized to the training images.
      class_names: K names.
      class_counts: int [K], images of each class in the training split.
      image_shape: (H, W, 3) of what the network sees.
      mesh: the devices that share each batch.
      method: owns heads, state and logits.
      network: backbone and heads.
      normalize: images uint8 [B, H, W, 3] -> floats.
      predict: (variables, images uint8 [B, H, W, 3], offset float32 [K], others float32 [T, K]) ->
        (predictions int32 [B], confidences float32 [B]) of the logits minus `offset`, and
        predictions int32 [B, T] of the logits minus each of `others`; jitted, every process gets
        all of them.
      judge: (variables, images, labels int32 [B], offset, others) -> the same and, of the class
        that is each image's label, its probability float32 [B] and its rank among all int32 [B], 1
        for the predicted one; jitted, every process gets all of them.
    """

    config: ml_collections.ConfigDict
    class_names: tuple[str, ...]
    class_counts: np.ndarray
    image_shape: tuple[int, int, int]
    mesh: Mesh
    method: Method
    network: Network
    normalize: Callable
    predict: Callable
    judge: Callable

    @property
    def context(self) -> Context:
        """What the method may know before the run starts."""
        return _context(self.config, self.method, self.class_counts, self.mesh)

    @property
    def trained_counts(self) -> np.ndarray:
        """Those images that the method does not hold out, int [K]: the prior of its training."""
        return trained_counts(self.class_counts, self.method.streams)

    @functools.cached_property
    def carried_prior(self) -> np.ndarray:
        """The class prior that its logits carry at the end of a run, float64 [K], sum 1."""
        config = self.config
        return carried_prior(self.method, config.epochs, config.data.sampler, self.trained_counts)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch of the run that trains it."""
        return int(self.trained_counts.sum()) // self.config.batch_size

    def init(self, network_key: jax.Array, method_key: jax.Array) -> Variables:
        """The arrays before the first step, pure and to be jitted.

        Args:
          network_key: for the network's parameters.
          method_key: for the method's own state.

        Returns:
          The arrays.
        """
        context = self.context
        # Two images for each group, for one alone has no batch statistics.
        images = jnp.zeros((2 * context.norm_groups, *self.image_shape), jnp.float32)
        variables = self.network.init(network_key, images, method=self.method.init_forward)
        params, own = variables["params"], self.method.init(method_key, context)
        return Variables(
            step=jnp.int32(0),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            method=self.method.follow(own, params, first=True),
        )

    def shardings(self, shapes: Any) -> Any:
        """Where arrays lie over the mesh: on each device, but what the method splits over classes.

        Args:
          shapes: shapes of `Variables`, or of the state of a run.

        Returns:
          A pytree like it of shardings.
        """
        everywhere, split = replicated(self.mesh), split_over(self.mesh)
        shared = self.method.split_over_classes(shapes.method)
        return jax.tree.map(lambda _: everywhere, shapes).replace(
            method=jax.tree.map(lambda shares: split if shares else everywhere, shared)
        )

    @functools.cached_property
    def abstract_variables(self) -> Variables:
        """Shapes, dtypes and shardings of the arrays, for a checkpoint to be read into."""
        shapes = jax.eval_shape(self.init, jax.random.key(0), jax.random.key(0))
        return with_shardings(shapes, self.shardings(shapes))

    @functools.cached_property
    def predicting_variables(self) -> Variables:
        """Those of them that a prediction reads: no method's own state where that is unread.

        Queues may take gigabytes, and as many places as the devices of the run made of them.
        """
        abstract = self.abstract_variables
        images = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.uint8)

        def logits(params, batch_stats, images):
            apply = inference(self.network, batch_stats)
            return self.method.logits(apply, params, self.normalize(images), {})

        try:
            jax.eval_shape(logits, abstract.params, abstract.batch_stats, images)
        except Exception:  # of any kind: a method may be a user's own
            return abstract
        return abstract.replace(method={})


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """Joins shapes and shardings to what a checkpoint is read into."""
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def create_classifier(
    config: ml_collections.ConfigDict,
    class_names: tuple[str, ...],
    class_counts: np.ndarray,
    image_shape: tuple[int, int, int],
    mesh: Mesh | None = None,
) -> ImageClassifier:
    """Builds what a config says of a network and its method.

    Args:
      config: as `bccl_jax.config.get_config` documents it, validated.
      class_names: K names.
      class_counts: int [K], images of each class in the training split; what the method holds out
        of them is a function of these numbers.
      image_shape: (H, W, 3) of images in memory, or of the crops of photographs.
      mesh: the devices that share each batch; None for those that the config asks for.

    Returns:
      The classifier.

    Raises:
      ConfigError: a value does not fit the devices or the number of images.
    """
    config = sized(config, int(class_counts.sum()))
    mesh = create_mesh(config) if mesh is None else mesh
    method = methods.create(config.method)
    context = _context(config, method, class_counts, mesh)
    backbone = create_backbone(
        config.model.backbone,
        dtype=context.dtype,
        remat=config.model.remat,
        zero_init_residual=config.model.zero_init_residual,
        norm_groups=context.norm_groups,
    )
    if config.model.backbone in models.OWN.origins:
        check_features(config.model.backbone, backbone, tuple(image_shape))
    network = Network(backbone, method.heads(context))
    colors = {"mean": tuple(config.augment.mean), "std": tuple(config.augment.std)}
    preprocess = functools.partial(normalize, **colors, dtype=context.dtype)
    return ImageClassifier(
        config=config,
        class_names=tuple(class_names),
        class_counts=class_counts,
        image_shape=tuple(image_shape),
        mesh=mesh,
        method=method,
        network=network,
        normalize=preprocess,
        predict=make_predict(network, method, preprocess, mesh),
        judge=make_judge(network, method, preprocess, mesh),
    )


def inference(network: Network, batch_stats: Any) -> Apply:
    """Runs forward functions over a network as it is, none of which renews anything.

    Args:
      network: backbone and heads.
      batch_stats: its running statistics.

    Returns:
      apply(params, forward, *inputs), which returns what forward(network, *inputs) returns, and
      the statistics; `batch_stats=` has it take others, as of a momentum copy.
    """

    def apply(params, forward, *inputs, batch_stats=batch_stats):
        collections = {"params": params, "batch_stats": batch_stats}
        return network.apply(collections, *inputs, method=forward), batch_stats

    return apply


def make_predict(network: Network, method: Method, normalize: Callable, mesh: Mesh) -> Callable:
    """Closes the prediction over everything static; see `ImageClassifier.predict`."""

    @functools.partial(jax.jit, out_shardings=replicated(mesh))
    def predict(variables: Variables, images: jax.Array, offset: jax.Array, others: jax.Array):
        logits = _logits(network, method, variables, normalize(images))
        _, *found = _predicted(logits, offset, others)
        return tuple(found)

    return predict


def make_judge(network: Network, method: Method, normalize: Callable, mesh: Mesh) -> Callable:
    """Closes over everything static what is told of each image; see `ImageClassifier.judge`."""

    @functools.partial(jax.jit, out_shardings=replicated(mesh))
    def judge(
        variables: Variables,
        images: jax.Array,
        labels: jax.Array,
        offset: jax.Array,
        others: jax.Array,
    ):
        logits = _logits(network, method, variables, normalize(images))
        probabilities, *found = _predicted(logits, offset, others)
        of_true = jnp.take_along_axis(probabilities, labels[:, None], axis=-1)
        # Of equal ones the first class is predicted.
        first = jnp.arange(probabilities.shape[-1])[None, :] < labels[:, None]
        before = (probabilities > of_true) | ((probabilities == of_true) & first)
        return *found, of_true[:, 0], 1 + jnp.sum(before, axis=-1, dtype=jnp.int32)

    return judge


def _logits(network: Network, method: Method, variables: Variables, images: jax.Array) -> jax.Array:
    """Of normalised images, float32 [B, K]."""
    apply = inference(network, variables.batch_stats)
    return method.logits(apply, variables.params, images, variables.method)


def _predicted(
    logits: jax.Array, offset: jax.Array, others: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Probabilities [B, K], predictions [B], confidences [B], predictions with others [B, T]."""
    probabilities = jax.nn.softmax(logits - offset[None, :])
    # One after the other: all together would be T times the logits.
    under = jax.lax.map(lambda other: jnp.argmax(logits - other[None, :], axis=-1), others)
    predictions = jnp.argmax(probabilities, axis=-1)
    return probabilities, predictions, jnp.max(probabilities, axis=-1), under.T


def _context(
    config: ml_collections.ConfigDict, method: Method, class_counts: np.ndarray, mesh: Mesh
) -> Context:
    norm_groups = mesh.size if config.model.batch_norm == "device" else 1
    trained = trained_counts(class_counts, method.streams)
    return Context(trained, config.epochs, jnp.dtype(config.dtype), norm_groups, mesh.size)
