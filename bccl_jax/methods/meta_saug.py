"""Meta semantic augmentation (MetaSAug, Li et al. 2021).

A first stage trains by cross-entropy. In the second one the loss is LDAM's, weighed by class, of
logits that stand for features moved at random along their class's covariance Sigma
(`losses.semantic_augmentation`), the more the later: `rho = lambda t / T`. The covariances are
those of the features so far, and are corrected by what helps a small balanced batch: with the
network's parameters theta and the learning rate alpha of the step

    theta' = theta - alpha dL(theta, Sigma) / dtheta        a virtual step, plain gradient descent
    Sigma' = Sigma - gamma dL_balanced(theta') / dSigma     plain cross-entropy
    theta  by its optimizer from dL(theta, Sigma') / dtheta

The virtual step moves all parameters, by the gradient alone, without momentum and weight decay.
Both of its passes have batch statistics of their own and leave the running ones as they are. Sigma
is not held positive semi-definite, as a correction is small beside it; a negative variance would
take from a logit what a positive one adds.

A step of the first stage is a plain one. One of the second takes three times as long and twice the
memory (ResNet-32 on a CPU: 3.3 and 2.2). Kept are a mean and a covariance of each class,
K D (D + 1) numbers: 1.7 MB for 100 classes and 64 features. Of 1,000 classes and 2,048 features
they would be 16.8 GB, so that photographs have variances alone, 2 K D numbers, as the authors have
there; they train the classifier alone in the second stage, over frozen features.

The released code corrects the covariances anew in each step, and drops the correction after it:
what stays is the plain estimate. `keep_correction` decides it; the published recipes drop it. Its
balanced images are further ones, beside a long-tailed split that is left whole: of the rest of
CIFAR, of ImageNet-LT's validation list; on iNaturalist they are training images. Here no method has
further images, so that they are training images too. With `held_out` they are taken from these,
which leaves one image of each class of up to eleven to train on.

Family: images
Paper: Li et al., "MetaSAug: Meta Semantic Augmentation for Long-Tailed Visual Recognition", CVPR
  2021.
Equation: `w_y CE(z_j + rho / 2 (w_j - w_y)' Sigma_y (w_j - w_y) - m_y [j = y])`, in the last fifth
  of the run.
State: a mean and a covariance of the features of each class, and class weights.
Printed: 48.01 on CIFAR-100-LT at imbalance 100 with LDAM, 46.87 with cross-entropy (its
  repository); 47.4 on ImageNet-LT and 65.6 on iNaturalist 2018 by Kim & Ko 2025.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bccl_jax.clustering.class_covariances import (
    class_covariances,
    merged_covariances,
    no_covariances,
)
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.losses.margins import effective_number_weights
from bccl_jax.losses.semantic_augmentation import semantic_augmentation_loss
from bccl_jax.methods import base
from bccl_jax.models.heads import class_weights
from bccl_jax.models.network import Network
from bccl_jax.optimization.virtual_step import meta_gradient
from bccl_jax.settings.bounds import Choice, Real, Whole

# Numbers of all covariances, 4 GiB, of which a step holds three: as they are, corrected, and what
# corrects them.
_MOST = 2**30


@dataclasses.dataclass(frozen=True)
class MetaSAug(base.Method):
    """MetaSAug with the LDAM loss; with `max_margin` 0 it is that with cross-entropy.

    Of `published` "cifar" is what the released script does, CIFAR-100-LT at 50 and 20; the paper
    chose `strength` of 0.25, 0.5, 0.75 and 1 for each data set. Its crops are padded by mirroring.
    "photographs" is of ImageNet-LT. The authors start there from a ResNet-50 that was trained for
    90 epochs by cross-entropy, in batches of 512 at twice the learning rate (Kang et al. 2020);
    here that is the first stage. A run that did so may take its place: `config.model.pretrained`,
    `config.epochs` 20 and `deferred` 0.

    Attributes:
      deferred: share of the epochs after which the second stage begins, which has the last one at
        least; 160 of 200 in the paper.
      strength: lambda. rho grows from 0 to it over the epochs of the run, or with `frozen_features`
        over those of the second stage.
      meta_learning_rate: gamma, of the covariances; 0 leaves them what the features have.
      keep_correction: whether the next step corrects what this one has corrected, or, as in the
        released code, what the features have.
      covariance: "full", or "diagonal" for variances alone.
      per_class: images of each class that the balanced batches are drawn from.
      held_out: whether these are taken from the training images and not trained on.
      max_margin: of the class with the fewest images; others have it times (fewest / n)^(1/4).
      beta: of the effective number of images, by whose inverse classes are weighted.
      frozen_features: whether the second stage trains the classifier alone, by an optimizer of its
        own.
      frozen_learning_rate: of that one, the same throughout; 0 for the run's.
    """

    unfit: ClassVar[Mapping[str, str]] = {
        "optimizer.name": "the virtual step of meta_saug is one of gradient descent, at the "
        "learning rate of SGD",
        "optimizer.sam_rho": "meta_saug corrects its covariances where the parameters are, and "
        "SAM takes its gradient elsewhere",
    }
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": {
            "epochs": 200,
            "batch_size": 100,
            "augment.strong.policy": "none",
            "augment.strong.cutout": 0,
            "optimizer.learning_rate": 0.1,
            "optimizer.nesterov": True,
            "optimizer.weight_decay": 5e-4,
            "optimizer.warmup_epochs": 0,
            "optimizer.schedule": "step",
            # Its epochs count from 1 there, and from 0 where the second stage begins.
            "optimizer.step_epochs": (159, 179),
            "optimizer.step_factor": 0.01,
            "method.keep_correction": False,
        },
        "photographs": {
            "epochs": 110,
            "batch_size": 256,
            "optimizer.learning_rate": 0.1,
            "optimizer.nesterov": True,
            "optimizer.weight_decay": 5e-4,
            "optimizer.warmup_epochs": 0,
            "optimizer.schedule": "cosine",
            "method.deferred": 90 / 110,
            "method.strength": 0.25,
            "method.keep_correction": False,
            "method.covariance": "diagonal",
            "method.max_margin": 0.0,
            "method.frozen_features": True,
        },
    }

    deferred: Annotated[float, Real(0, 1)] = 0.8
    strength: Annotated[float, Real(0, 1000)] = 0.75
    meta_learning_rate: Annotated[float, Real(0, 1e6)] = 0.1
    keep_correction: bool = True
    covariance: Annotated[str, Choice(("full", "diagonal"))] = "full"
    per_class: Annotated[int, Whole(1, 2**20)] = 10
    held_out: bool = False
    max_margin: Annotated[float, Real(0, 1)] = 0.5
    beta: Annotated[float, Real(0, 1, open_end=True)] = 0.9999
    frozen_features: bool = False
    frozen_learning_rate: Annotated[float, Real(1e-30, 1e30, also=(0,))] = 3e-4

    def carried_prior(self, drawn, class_counts):
        """See `base.Method.carried_prior`; with the weights of the second stage."""
        return drawn * np.asarray(effective_number_weights(class_counts, self.beta), np.float64)

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if self.classifier != "linear":
            raise ConfigError(
                f"config.method.classifier is {self.classifier!r}, but meta_saug moves features "
                "along the rows of a linear one; write 'linear'"
            )

    @property
    def streams(self):
        """See `base.Method.streams`."""
        return (base.BalancedSubset(self.per_class, self.held_out),)

    def stages(self, epochs):
        """See `base.Method.stages`."""
        length = min(round(self.deferred * epochs), epochs - 1)
        first = base.Stage(length, set_by="config.method.deferred")
        if not self.frozen_features:
            return first, base.Stage(epochs - length, continues=True)
        optimizer = {"warmup_epochs": 0, "schedule": "constant"}
        if self.frozen_learning_rate:
            optimizer["learning_rate"] = self.frozen_learning_rate
        second = base.Stage(epochs - length, trains=("heads_classifier",), optimizer=optimizer)
        return first, second

    def init(self, key, context):
        """Returns class counts int32 [K], weights float32 [K], and the epochs that rho grows over.

        `follow` adds the covariances, once the width of the features is known.
        """
        del key
        counts = jnp.asarray(context.class_counts, jnp.int32)
        first, second = self.stages(context.epochs)
        start, epochs = (
            (first.epochs, second.epochs) if self.frozen_features else (0, context.epochs)
        )
        return {
            "class_counts": counts,
            "class_weights": effective_number_weights(counts, self.beta),
            "growth_start": jnp.int32(start),
            "growth_epochs": jnp.int32(epochs),
        }

    def follow(self, state, params, first=False):
        """Adds covariances of nothing to the first state.

        Raises:
          ConfigError: they would be too large.
        """
        if not first or "covariances" in state:
            return state
        dim, num_classes = params["heads_classifier"]["Dense_0"]["kernel"].shape
        full = self.covariance == "full"
        if full and num_classes * dim**2 > _MOST:
            raise ConfigError(
                f"config.method.covariance is 'full', which are {num_classes:,} matrices of "
                f"{dim:,} x {dim:,}, {4 * num_classes * dim**2 / 2**30:.1f} GiB, and a step needs "
                "three times as much; write 'diagonal'"
            )
        return {**state, "covariances": no_covariances(num_classes, dim, not full)}

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key
        if progress.stage:
            return self._meta_loss(apply, params, batch, state, progress)
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return cross_entropy_loss(logits, batch.labels), (metrics, state, batch_stats)

    def _meta_loss(self, apply, params, batch, state, progress):
        """The loss of the second stage."""
        (balanced,) = batch.others
        forward = _classify_frozen if self.frozen_features else _classify
        grown = progress.epoch - state["growth_start"]
        strength = self.strength * grown / state["growth_epochs"]

        def augmented(params, covariances):
            outputs, batch_stats = apply(params, forward, batch.views[0])
            logits, features, rows = outputs
            loss = semantic_augmentation_loss(
                logits,
                batch.labels,
                rows,
                covariances,
                state["class_counts"],
                strength=strength,
                max_margin=self.max_margin,
                class_weights=state["class_weights"],
            )
            return loss, (logits, features, batch_stats)

        def judge(params):
            (logits, *_), _ = apply(params, forward, balanced.views[0])
            return cross_entropy_loss(logits, balanced.labels)

        known = state["covariances"]
        meta_loss, gradient = meta_gradient(
            lambda *where: augmented(*where)[0],
            judge,
            params,
            known.covariances,
            progress.learning_rate,
        )
        correction = self.meta_learning_rate * gradient
        corrected = known.covariances - correction
        loss, (logits, features, batch_stats) = augmented(params, corrected)
        if self.keep_correction:
            known = known.replace(covariances=corrected)
        new = class_covariances(
            features, batch.labels, len(state["class_counts"]), self.covariance == "diagonal"
        )
        metrics = {
            "accuracy": base.accuracy(logits, batch.labels),
            "meta_loss": meta_loss,
            "covariance_norm": optax.global_norm(corrected),
            "correction_norm": optax.global_norm(correction),
        }
        state = {**state, "covariances": merged_covariances(known, new)}
        return loss, (metrics, state, batch_stats)


def _classify(network: Network, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits [B, K], features [B, D] and the classifier's rows [K, D], in training."""
    return _classified(network, network.backbone(images, train=True))


def _classify_frozen(network: Network, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same over a backbone that is not trained."""
    return _classified(network, jax.lax.stop_gradient(network.backbone(images, train=False)))


def _classified(network, features):
    classifier = network.heads["classifier"]
    return classifier(features), features, class_weights(classifier)


METHOD = MetaSAug
