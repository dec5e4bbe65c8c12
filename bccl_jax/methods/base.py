"""The seam between the training engine and a method.

A method is a frozen dataclass of plain settings (they are `config.method`), in a file of its own
that names its class `METHOD`. It owns its heads, its own state, its loss and its refresh between
epochs; the engine knows nothing of any method. To add one, write one file here, one config and one
test: `docs/architecture.md` walks through an example.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.data.subset import BalancedSubset as BalancedSubset
from bccl_jax.data.subset import Source
from bccl_jax.methods.seam.batch import Batch as Batch
from bccl_jax.methods.seam.between import Between as Between
from bccl_jax.methods.seam.between import Compute as Compute
from bccl_jax.methods.seam.between import Passed as Passed
from bccl_jax.methods.seam.context import NOTHING as NOTHING
from bccl_jax.methods.seam.context import Context as Context
from bccl_jax.methods.seam.context import Progress as Progress
from bccl_jax.methods.seam.context import Stage as Stage
from bccl_jax.methods.seam.context import scheduled as scheduled
from bccl_jax.methods.seam.prior import over_prior
from bccl_jax.models.forward import classify as classify
from bccl_jax.models.forward import plain_features as plain_features
from bccl_jax.models.forward import plain_logits
from bccl_jax.models.heads import CLASSIFIER_STARTS, CLASSIFIERS, create_classifier
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Choice, Real

# The options that soften labels, for the `unfit` of a method that mixes images itself.
SOFTENING = ("label_smoothing", "augment.mixup_alpha", "augment.cutmix_alpha")

CLASSIFIER_SCALE = Real(0.01, 10_000)

# apply(params, forward, *inputs) -> (what forward(network, *inputs) returns, new batch statistics).
# `batch_stats=` chains a second training pass onto the statistics of the first.
Apply = Callable[..., tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Method:
    """Settings and pure functions of one method; subclasses override what differs.

    A setting that is a number or one of a few words has its bound in its annotation.

    `taps` names the places of the forward pass (`models.taps.tapped`) at which the norm of the
    gradient is logged, as the metric NAME_gradient. `fine_metrics` names the metrics that an
    epoch's record also has as means over the quarters of its steps. `soft_labels` says that the
    classification loss is of `Batch.truth`, so that labels may be soft. `unfit` has the options of
    a run that the method cannot go with, by flat config key, each with the reason. `published` has
    the method's own recipes, by what they are for ("cifar", or "cifar10" where that differs;
    "photographs" for ImageNet-LT; "inaturalist2018"): what they change in the harness's, by flat
    config key. On any other photographs the settings among them that are the method's are those of
    "photographs".

    Attributes:
      classifier: "linear" or "cosine".
      classifier_scale: s of the cosine classifier, unused by the linear one.
      classifier_start: first weights of the cosine classifier: "unit" of unit norm, or "uniform" in
        (-1, 1), cut to a norm of 5.
    """

    views: ClassVar[tuple[str, ...]] = ("strong",)
    taps: ClassVar[tuple[str, ...]] = ()
    fine_metrics: ClassVar[tuple[str, ...]] = ()
    soft_labels: ClassVar[bool] = False
    unfit: ClassVar[Mapping[str, str]] = {}
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # Settings that stay None in a config, so that another preset changes them.
    left_to_preset: ClassVar[tuple[str, ...]] = ()

    classifier: Annotated[str, Choice(CLASSIFIERS)] = "linear"
    classifier_scale: Annotated[float, CLASSIFIER_SCALE] = 30.0
    classifier_start: Annotated[str, Choice(CLASSIFIER_STARTS)] = "unit"

    @property
    def prior_in_loss(self) -> bool:
        """Whether the loss adds the log class prior, so that the logits are free of it already."""
        return False

    def carried_prior(self, drawn: np.ndarray, class_counts: np.ndarray) -> np.ndarray:
        """The class prior that the logits carry in the end, up to a factor.

        It is that of the images which the classifier was last trained on, over what the loss makes
        up for. Post-hoc adjustment takes its log off; where it is flat there is nothing to take.

        Args:
          drawn: float64 [K], share of the images that was drawn of each class in the last stage.
          class_counts: int [K], training images.

        Returns:
          float64 [K], not negative, 0 for a class without images.
        """
        return over_prior(drawn, class_counts) if self.prior_in_loss else drawn

    @property
    def mixable(self) -> bool:
        """Whether the first view is classified and nothing else, so that it may be mixed."""
        return self.soft_labels

    def validate(self, epochs: int) -> None:
        """Checks the settings, each within its bound, against each other and the run's length.

        Raises:
          ConfigError: they cannot work together; the message names their config keys.
        """
        del epochs

    @property
    def streams(self) -> tuple[Source, ...]:
        """Further batches, as large as the first one, by what each is drawn from.

        A sampler (of `data.sampling`) draws from the images that the first batch is drawn
        from; a `BalancedSubset` from a part of its own, which it may hold out of all others.
        """
        return ()

    def trained_epochs(self, epochs: int) -> int:
        """Of the epochs that `config.epochs` asks for, how many the run has.

        They are fewer where another run has made a stage (`methods.shared.staged`).
        """
        return epochs

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        """The parts of a run of so many epochs, one after the other; together as long as it."""
        return (Stage(epochs),)

    def heads(self, context: Context) -> Mapping[str, nn.Module]:
        """Returns what hangs on the backbone, by name; "classifier" is what predicts."""
        return {
            "classifier": create_classifier(
                self.classifier,
                context.num_classes,
                self.classifier_scale,
                self.classifier_start,
            )
        }

    def init(self, key: jax.Array, context: Context) -> Any:
        """Returns the method's own state, a pytree of arrays that lies in `TrainState`."""
        del key, context
        return {}

    def follow(self, state: Any, params: Any, first: bool = False) -> Any:
        """Renews what of the method's own state follows the parameters, as a momentum copy does.

        Called with the first parameters, and once before each step, however many passes that makes.

        Args:
          state: the method's own state.
          params: the network's parameters.
          first: whether they are those before the first step, which a copy starts as.

        Returns:
          The state; with `first` alone it may have more arrays than before.
        """
        del params, first
        return state

    def split_over_classes(self, state: Any) -> Any:
        """Which arrays of the method's own state the devices share, class by class.

        Args:
          state: the method's own state, or its shapes.

        Returns:
          A pytree of bools like it; where True the first axis is the classes', its length a
          multiple of the number of devices.
        """
        return jax.tree.map(lambda _: False, state)

    def init_forward(self, network: Network, images: jax.Array) -> None:
        """Calls every module once, so that Flax can create its parameters."""
        features = network.backbone(images, train=True)
        for name, head in network.heads.items():
            if name == "classifier":
                head(features)
            else:
                head(features, train=True)

    def loss(
        self,
        apply: Apply,
        params: Any,
        batch: Batch,
        state: Any,
        key: jax.Array,
        progress: Progress,
    ) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any, Any]]:
        """The training loss of one batch.

        Args:
          apply: runs a forward function over the network in training mode.
          params: the network's parameters.
          batch: views and labels.
          state: the method's own state.
          key: this step's key for whatever the method draws.
          progress: step, epoch and learning rate, as arrays.

        Returns:
          The scalar float32 loss, and (scalar metrics by name, new method state, new batch
          statistics).
        """
        raise TypeError(f"{type(self).__name__} defines no loss")

    def view_inputs(self, state: Any, labels: jax.Array) -> Mapping[str, jax.Array]:
        """What the method's views take beside images and key, such as a strength of each image.

        Args:
          state: the method's own state as it is before the step: the parts of an accumulated batch
            and both passes of SAM see the views of one and the same state, as they have the same
            parameters.
          labels: int32 [B], of the batch or of one of the further streams.

        Returns:
          Arrays [B, ...] by the names of the arguments that a view has them by
          (`augment.views.register`); what no view takes is left out.
        """
        del state, labels
        return {}

    def network_views(self, batch: Batch, key: jax.Array) -> tuple[jax.Array, ...]:
        """The views as the loss hands them to the network, for a person to see them.

        They are those of the batch, but of a method that mixes images itself.

        Args:
          batch: as the loss has it.
          key: the same.

        Returns:
          A view [B, H, W, 3] for each of the method's.
        """
        del key
        return batch.views

    def validate_splits(self, splits: Collection[str]) -> None:
        """Checks that the data set has the splits that the method looks at between epochs.

        Args:
          splits: "train", "test" and, if one was set aside or is the data set's own, "validation".

        Raises:
          ConfigError: one is missing; the message names what to write.
        """
        del splits

    def refresh_due(self, epoch: int, epochs: int = 0) -> bool:
        """Whether `refresh` is to be called once `epoch` of the run's `epochs` are complete."""
        del epoch, epochs
        return False

    def refresh(
        self, state: Any, key: jax.Array, between: Between | None = None
    ) -> tuple[Any, dict[str, float]]:
        """Renews the method's state between epochs.

        Args:
          state: the method's own state.
          key: for whatever it draws.
          between: what it may look at; None for a method that looks at its own state alone.

        Returns:
          The state, of the same shapes, and what to log of it.
        """
        del key, between
        return state, {}

    def logits(self, apply: Apply, params: Any, images: jax.Array, state: Any) -> jax.Array:
        """Predicts float32 logits [B, K] of normalised images [B, H, W, 3]."""
        del state
        return apply(params, plain_logits, images)[0]


def interleave(views: tuple[jax.Array, ...]) -> jax.Array:
    """Joins V views [B, H, W, 3] image by image to [B * V, H, W, 3].

    A device that has a part of the batch then has all views of it, and nothing needs to be moved.
    """
    return jnp.stack(views, axis=1).reshape(-1, *views[0].shape[1:])


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Share of a batch, in percent, whose largest logit [B, K] is its label's [B]."""
    return 100.0 * jnp.mean(jnp.argmax(logits, axis=-1) == labels)
