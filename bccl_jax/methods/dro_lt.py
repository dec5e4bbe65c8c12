"""DRO-LT, distributional robustness of features (Samuel and Chechik 2021).

The mean feature of a rare class is a poor guess of its centre. The robust loss draws features to
the worst centre within a radius around the mean, which is learned for each class and begins at 1.
The stages of a run, all of the strong view:

1. Cross-entropy of the whole network.
2. Cross-entropy, by the classifier as it is, plus the robust loss (`losses.robust`): backbone and
   radii are trained, with classes drawn equally often at a low, constant rate. The cross-entropy
   weighs an image by its class's number of images, so that it fits the classifier, which was made
   on classes as they come; the robust loss has each class alike. The prototypes are the class
   means of the features of the training images under the strong view, by running statistics, and
   are renewed after each epoch.
3. The classifier alone by cross-entropy, with classes drawn equally often, over frozen features.
   Frozen are the statistics of batch normalisation too: they are part of the features.

A step of the second stage costs one of cross-entropy and a distance from each image to each class;
each of its epochs has a forward pass over the training set beside it. Kept are a prototype for each
class and a radius, K (D + 1) numbers.

The authors' code differs:
- It takes the radii of a class's images in the order of the batch and those images class by class,
  so that an image has the radius of another class unless the batch is sorted. Here each has that of
  its own.
- It chooses the features that the third stage begins with, and the epoch that is reported, on the
  test set. Here these are the last ones.
- An epoch of class-aware sampling has as many images as if all classes had those of the largest:
  50,000 of CIFAR-100-LT. Here each epoch has as many as the training set. It draws four images of
  a class one after the other, in both later stages; that the third one should not, as the command
  in its README says, has no effect.

Where another run takes the place of the first stage the first epoch has no prototypes yet, and the
robust loss is 0.

Family: classifiers
Paper: Samuel and Chechik, "Distributional Robustness Loss for Long-Tail Learning", ICCV 2021.
Equation: `CE(f)`; then `CE_n(f) + mean_c mean_{y_i = c} -log softmax_i((-||mu_c - z_i|| - eps_c
  [y_i = c]) / tau)`; then CE(f) of the classifier alone.
State: a prototype for each class, [K, D], and the class counts.
Printed: 47.3 on CIFAR-100-LT at imbalance 100.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from bccl_jax.clustering.class_means import means_of_split
from bccl_jax.data.sampling import SAMPLERS
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss, weighted_cross_entropy_loss
from bccl_jax.losses.margins import inverse_count_weights
from bccl_jax.losses.robust import robust_prototype_loss
from bccl_jax.methods import base
from bccl_jax.methods.shared.refitting import classify_frozen
from bccl_jax.methods.shared.staged import Staged
from bccl_jax.models.forward import plain_features
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Choice, Real

_RATE = Real(1e-30, 1e30, also=(0,))
# How much classes may weigh, and the power of their counts by whose inverse they do.
_WEIGHTS = {"none": 0.0, "counts": -1.0, "inverse": 1.0}


class Radii(nn.Module):
    """A learned number for each class, 1 at first; a head that does not look at features."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Returns float32 [K]."""
        del features, train
        return self.param("radii", nn.initializers.ones, (self.num_classes,))


@dataclasses.dataclass(frozen=True)
class RobustPrototypes(Staged):
    """The whole method.

    `published` is of the command in the README of its code, for CIFAR-100-LT at 100: 200 epochs of
    cross-entropy by the schedule of LDAM-DRW, 80 of the features, 20 of the classifier.

    Attributes:
      robust_after: share of the epochs after which the second stage begins.
      refit_after: share of the epochs after which the third one begins, which has the last epoch at
        least. With `start_from` both stages share out all of `config.epochs`, in the same
        proportion.
      weight_robust: of the robust loss.
      temperature: tau, what its distances are divided by.
      robust_weights: how much it weighs classes: "none" for all alike, "counts" by their images, or
        "inverse" by the inverse of these.
      classification_weights: the same of the cross-entropy beside it.
      robust_learning_rate: of the second stage, the same throughout; 0 for the run's.
      robust_sampler: how its images are drawn.
      refit_learning_rate: of the third stage, the same throughout; 0 for the run's.
      refit_sampler: how its images are drawn.
    """

    soft_labels: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": {
            "epochs": 300,
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 1e-4,
            "optimizer.warmup_epochs": 5,
            "optimizer.schedule": "step",
            "optimizer.step_epochs": (160, 180),
            "optimizer.step_factor": 0.01,
        },
    }

    robust_after: Annotated[float, Real(0, 1)] = 2 / 3
    refit_after: Annotated[float, Real(0, 1)] = 14 / 15
    weight_robust: Annotated[float, Real(0, 1000)] = 1.0
    temperature: Annotated[float, Real(0.001, 1000)] = 1.0
    robust_weights: Annotated[str, Choice(_WEIGHTS)] = "none"
    classification_weights: Annotated[str, Choice(_WEIGHTS)] = "counts"
    robust_learning_rate: Annotated[float, _RATE] = 0.005
    robust_sampler: Annotated[str, Choice(SAMPLERS)] = "class_balanced"
    refit_learning_rate: Annotated[float, _RATE] = 0.01
    refit_sampler: Annotated[str, Choice(SAMPLERS)] = "class_balanced"

    @property
    def mixable(self):
        """See `base.Method.mixable`; the classified view is held against prototypes too."""
        return False

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if self.robust_after > self.refit_after:
            raise ConfigError(
                f"config.method.robust_after is {self.robust_after:g} and "
                f"config.method.refit_after {self.refit_after:g}, but the robust loss comes before "
                "the classifier; lower the first or raise the second"
            )

    def stages(self, epochs):
        """See `base.Method.stages`."""
        first, last = self.robust_after, self.refit_after
        if self.start_from:
            first, last = 0.0, (last - first) / (1 - first) if first < 1 else 0.0
        end = min(round(last * epochs), epochs - 1)
        start = min(round(first * epochs), end)

        def options(rate):
            chosen = {"learning_rate": rate} if rate else {}
            return {"warmup_epochs": 0, "schedule": "constant", **chosen}

        return (
            base.Stage(
                start, ("backbone", "heads_classifier"), set_by="config.method.robust_after"
            ),
            base.Stage(
                end - start,
                ("backbone", "heads_radii"),
                sampler=self.robust_sampler,
                optimizer=options(self.robust_learning_rate),
                set_by="config.method.refit_after",
            ),
            base.Stage(
                epochs - end,
                ("heads_classifier",),
                sampler=self.refit_sampler,
                optimizer=options(self.refit_learning_rate),
            ),
        )

    def heads(self, context):
        """Returns the classifier and the radii."""
        return {**super().heads(context), "radii": Radii(context.num_classes)}

    def init(self, key, context):
        """Returns {"class_counts": int32 [K]}; `follow` adds the prototypes."""
        del key
        return {"class_counts": jnp.asarray(context.class_counts, jnp.int32)}

    def follow(self, state, params, first=False):
        """Adds room for prototypes to the first state, once the width of features is known."""
        if not first or "prototypes" in state:
            return state
        (kernel,) = (x for x in jax.tree.leaves(params["heads_classifier"]) if x.ndim == 2)
        width, num_classes = kernel.shape
        room = {
            "prototypes": jnp.zeros((num_classes, width), jnp.float32),
            "prototype_mask": jnp.zeros(num_classes, bool),
        }
        return state | room

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key
        if progress.stage == 1:
            return self._robust(apply, params, batch, state)
        forward = classify_frozen if progress.stage else base.classify
        logits, batch_stats = apply(params, forward, batch.views[0])
        loss = cross_entropy_loss(logits, batch.truth)
        return loss, ({"accuracy": base.accuracy(logits, batch.labels)}, state, batch_stats)

    def _robust(self, apply, params, batch, state):
        """The loss of the second stage."""
        (logits, features, radii), batch_stats = apply(params, _outputs, batch.views[0])
        counts, alike = state["class_counts"], self.robust_weights == "none"
        robust = robust_prototype_loss(
            features,
            batch.labels,
            state["prototypes"],
            radii,
            temperature=self.temperature,
            class_weights=(
                None if alike else inverse_count_weights(counts, _WEIGHTS[self.robust_weights])
            ),
            prototype_mask=state["prototype_mask"],
        )
        classification = weighted_cross_entropy_loss(
            logits,
            batch.truth,
            inverse_count_weights(counts, _WEIGHTS[self.classification_weights]),
        )
        loss = classification
        # 0 * inf is NaN: a term without weight is left out.
        if self.weight_robust:
            loss += self.weight_robust * robust
        metrics = {
            "accuracy": base.accuracy(logits, batch.labels),
            "classification_loss": classification,
            "robust_loss": robust,
            "mean_radius": jnp.mean(radii),
        }
        return loss, (metrics, state, batch_stats)

    def refresh_due(self, epoch, epochs=0):
        """True before each epoch of the second stage."""
        first, second, _ = (stage.epochs for stage in self.stages(epochs))
        return epoch > 0 and first <= epoch < first + second

    def refresh(self, state, key, between=None):
        """Makes the prototypes anew; see `base.Method.refresh`."""
        found = between.compute(_features, view="strong", key=key)
        means, counts = means_of_split(found.outputs, found.labels, len(state["class_counts"]))
        renewed = {"prototypes": jnp.asarray(means), "prototype_mask": jnp.asarray(counts > 0)}
        return state | renewed, {"prototypes": int((counts > 0).sum())}


def _outputs(network: Network, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits [B, K], features [B, D] and radii [K], in training."""
    features = network.backbone(images, train=True)
    return network.heads["classifier"](features), features, network.heads["radii"](features, True)


def _features(apply, params, images, state):
    """Features [B, D] by running statistics."""
    del state
    return apply(params, plain_features, images)[0]


METHOD = RobustPrototypes
