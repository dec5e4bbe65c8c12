"""Subclass-balancing contrastive learning (SBCL, Hou et al. 2023).

Frequent classes are split into subclasses about as large as the rarest classes, by k-means of the
projected training images; two SimAugment views are contrasted by subclass and, with a lower weight,
by class. The stages of a run:

1. Supervised contrast of classes, as long as features mean nothing yet.
2. The loss of SBCL. Before its first epoch, and every few epochs from there on, one pass over the
   training set under the SimAugment view finds the subclass of each image, and the temperature
   of each class from how far its embeddings spread.
3. A cosine classifier of the strong view over frozen features, by LDAM with weights for the
   classes. Frozen are the statistics of batch normalisation too: they are part of the features.

Until the last stage begins the classifier is that of the start, and the figures of an evaluation
are those of chance.

Class c has `m_c = max(1, n_c // max(n of the rarest class, delta))` subclasses. A step contrasts
two views and costs what one of `scl` does without its strong view; a pass over the training set
comes once in `refresh_epochs`. Its embeddings lie on the host; clustering them takes 0.7 GB of a
device at most. Kept are an integer for each training image and a temperature for each class.

Of its authors' code this is the one for CIFAR; on photographs they contrast with a queue of 65,536
keys of a momentum encoder, after 200 epochs of KCL. Here a batch is contrasted with itself on all
data, so that a large one pays. It differs from that code in k-means, which starts greedily instead
of at random, and in the projector, which normalises its hidden layer.

Family: contrast
Paper: Hou et al., "Subclass-Balancing Contrastive Learning for Long-Tailed Recognition", ICCV 2023.
Equation: `(tau / tau_0) L_SC(subclasses; tau) + beta L(classes but for the own subclass; tau_c)`,
  then LDAM of the classifier alone.
State: the subclass of each training image, [N], and a temperature for each class.
Printed: 44.9 / 48.7 / 57.9 on CIFAR-100-LT at 100, 50 and 10, with 1,000 epochs; 53.4 on
  ImageNet-LT and 70.8 on iNaturalist 2018.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.clustering.class_spread import class_temperatures
from bccl_jax.clustering.within_classes import cluster_within_classes, subclass_counts
from bccl_jax.data.sampling import SAMPLERS
from bccl_jax.errors import ConfigError
from bccl_jax.losses.contrastive import supervised_contrastive_loss
from bccl_jax.losses.cosines import mean_cosines
from bccl_jax.losses.margins import effective_number_weights, ldam_loss
from bccl_jax.losses.subclass_balance import between_subclasses_loss, subclass_loss
from bccl_jax.methods import base
from bccl_jax.methods.shared.refitting import Refit, classify_frozen
from bccl_jax.models.forward import plain_outputs, project
from bccl_jax.models.heads import CLASSIFIERS, Projector
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Choice, Real, Whole

_TEMPERATURE = Real(0.001, 1000)


@dataclasses.dataclass(frozen=True)
class SubclassBalance(Refit):
    """The whole method; s of the classifier is `classifier_scale`.

    `published` is of the scripts for CIFAR, 1,000 epochs of contrast and 200 of the classifier.
    These have batches of 128 and lower their rate tenfold at 140 and 180; here all stages have
    batches of one size, and the last one a cosine schedule. That clusters should be found less
    often on CIFAR-10, as its README says, is left out: it does not say how often.

    Attributes:
      classifier: "cosine": the margins of its stage are of cosines.
      temperature: tau, of the contrast of subclasses and on average of that of classes.
      base_temperature: tau_0. The contrast of subclasses weighs tau / tau_0.
      weight_class: beta, of the contrast of classes.
      warmup_epochs: of the first stage.
      refresh_epochs: epochs between two clusterings.
      subclass_size: delta, images of a subclass on average, at least, where the rarest class has
        fewer.
      spread_percentile: of all classes, to which the spread of a class is cut from below, and to
        100 less it from above.
      kmeans_iterations: Lloyd iterations of a clustering.
      projector_hidden: width of the projector's hidden layer.
      projector_dim: D, dimension of the embeddings.
      max_margin: of the class with the fewest images; others have it times (fewest / n)^(1/4).
      beta: of the effective number of images, by whose inverse the last stage weighs classes; 0
        weighs all alike.
      refit_epochs: of the last stage; with `start_from` all that are trained.
      refit_learning_rate: its peak; 0 for that of the run.
      refit_warmup_epochs: in which its rate rises to that; a quarter of the stage at most.
      refit_sampler: how its images are drawn.
    """

    views: ClassVar[tuple[str, ...]] = ("strong", "sim", "sim")
    soft_labels: ClassVar[bool] = False
    fitted: ClassVar[tuple[str, ...]] = ("backbone", "heads_projector")
    anew: ClassVar[tuple[str, ...]] = ("heads_classifier",)
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": {
            "epochs": 1200,
            "batch_size": 1024,
            "augment.strong.policy": "none",
            "augment.strong.cutout": 0,
            "augment.sim.scale": (0.2, 1.0),
            "optimizer.learning_rate": 0.5,
            "optimizer.weight_decay": 2e-4,
            "optimizer.warmup_epochs": 10,
            "optimizer.schedule": "cosine",
            "method.projector_hidden": 64,
            "method.refit_epochs": 200,
        },
    }

    classifier: Annotated[str, Choice(CLASSIFIERS)] = "cosine"
    temperature: Annotated[float, _TEMPERATURE] = 0.1
    base_temperature: Annotated[float, _TEMPERATURE] = 0.07
    weight_class: Annotated[float, Real(0, 1000)] = 0.25
    warmup_epochs: Annotated[int, Whole(0, 1_000_000)] = 10
    refresh_epochs: Annotated[int, Whole(1, 1_000_000)] = 10
    subclass_size: Annotated[int, Whole(1, 2**31 - 1)] = 10
    spread_percentile: Annotated[float, Real(0, 50, open_end=True)] = 20.0
    kmeans_iterations: Annotated[int, Whole(1, 10_000)] = 20
    projector_hidden: Annotated[int, Whole(1, 2**16)] = 512
    projector_dim: Annotated[int, Whole(1, 2**16)] = 128
    max_margin: Annotated[float, Real(0, 1)] = 0.5
    beta: Annotated[float, Real(0, 1, open_end=True)] = 0.9999
    refit_epochs: Annotated[int, Whole(1, 1_000_000)] = 20
    refit_learning_rate: Annotated[float, Real(1e-30, 1e30, also=(0,))] = 0.1
    refit_warmup_epochs: Annotated[int, Whole(0, 1_000_000)] = 5
    refit_sampler: Annotated[str, Choice(SAMPLERS)] = "instance_balanced"

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if self.classifier != "cosine":
            raise ConfigError(
                f"config.method.classifier is {self.classifier!r}, but the last stage of sbcl has "
                "margins of cosines; write 'cosine'"
            )
        left = epochs - self.refit_epochs - self.warmup_epochs
        # Without any contrast the network is another run's.
        if left <= 0 and self.refit_epochs < epochs and not self.start_from:
            raise ConfigError(
                f"config.method.warmup_epochs is {self.warmup_epochs} and "
                f"config.method.refit_epochs {self.refit_epochs} in a run of {epochs} epochs, "
                "which leave none to contrast subclasses; lower one of them or raise config.epochs"
            )

    def carried_prior(self, drawn, class_counts):
        """See `base.Method.carried_prior`; with the weights of the last stage."""
        return drawn * np.asarray(effective_number_weights(class_counts, self.beta), np.float64)

    def stages(self, epochs):
        """See `base.Method.stages`."""
        contrast, last = super().stages(epochs)
        warmup = min(self.warmup_epochs, max(contrast.epochs, 0))
        # Without a warm-up the first steps throw the directions of rare classes far off.
        rise = min(self.refit_warmup_epochs, last.epochs // 4)
        optimizer = {**last.optimizer, "warmup_epochs": rise, "weight_decay": 0.0}
        return (
            dataclasses.replace(contrast, epochs=warmup, set_by="config.method.warmup_epochs"),
            dataclasses.replace(contrast, epochs=contrast.epochs - warmup, continues=True),
            dataclasses.replace(last, optimizer=optimizer),
        )

    def heads(self, context):
        """Returns the classifier and the projector."""
        projector = Projector(
            self.projector_hidden, self.projector_dim, context.dtype, context.norm_groups
        )
        return {**super().heads(context), "projector": projector}

    def init(self, key, context):
        """Returns counts and weights of the classes, and each of them as one subclass."""
        del key
        split = subclass_counts(context.class_counts, self.subclass_size)
        counts = jnp.asarray(context.class_counts, jnp.int32)
        return {
            "class_counts": counts,
            "class_weights": effective_number_weights(counts, self.beta),
            "subclass_counts": jnp.asarray(split, jnp.int32),
            # Of each training image, counted from 0 in each class.
            "subclasses": jnp.zeros(int(np.sum(context.class_counts)), jnp.int32),
            "temperatures": jnp.full(context.num_classes, self.temperature, jnp.float32),
        }

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key
        if progress.stage == 2:
            return self._classification(apply, params, batch, state)
        embeddings, batch_stats = apply(params, _embed, base.interleave(batch.views[1:]))
        labels = jnp.tile(batch.labels, 2)
        cosine_within, cosine_between = mean_cosines(embeddings, labels)
        metrics = {"cosine_within": cosine_within, "cosine_between": cosine_between}
        if progress.stage == 0:
            loss = supervised_contrastive_loss(embeddings, labels, temperature=self.temperature)
            return loss, (metrics, state, batch_stats)
        loss, terms = self.contrast(embeddings, labels, jnp.tile(batch.indices, 2), state)
        return loss, (metrics | terms, state, batch_stats)

    def contrast(
        self, embeddings: jax.Array, labels: jax.Array, indices: jax.Array, state: Any
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of the second stage, a float32 scalar, and its terms.

        Args:
          embeddings: [2 B, D] of unit norm, view by view.
          labels: int32 [2 B].
          indices: int32 [2 B], which images of the training split.
          state: the method's own.
        """
        ends = jnp.cumsum(state["subclass_counts"])
        subclasses = (ends - state["subclass_counts"])[labels] + state["subclasses"][indices]
        within = subclass_loss(
            embeddings,
            subclasses,
            temperature=self.temperature,
            base_temperature=self.base_temperature,
        )
        between = between_subclasses_loss(embeddings, labels, subclasses, state["temperatures"])
        loss = within
        # 0 * inf is NaN: a term without weight is left out.
        if self.weight_class:
            loss += self.weight_class * between
        return loss, {"subclass_loss": within, "class_loss": between}

    def _classification(self, apply, params, batch, state):
        """The loss of the last stage."""
        logits, batch_stats = apply(params, classify_frozen, batch.views[0])
        loss = ldam_loss(
            logits / self.classifier_scale,
            batch.labels,
            state["class_counts"],
            max_margin=self.max_margin,
            scale=self.classifier_scale,
            class_weights=state["class_weights"],
        )
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)

    def refresh_due(self, epoch, epochs=0):
        """True before the second stage, and every `refresh_epochs` of its epochs."""
        first, second, _ = (stage.epochs for stage in self.stages(epochs))
        # A run that begins with the second stage clusters after an epoch of it.
        since = epoch - max(first, 1)
        return 0 <= since < first + second - max(first, 1) and since % self.refresh_epochs == 0

    def refresh(self, state, key, between=None):
        """Finds the subclasses and the temperatures anew; see `base.Method.refresh`."""
        view_key, cluster_key = jax.random.split(key)
        found = between.compute(_embedded, view="sim", key=view_key)
        counts = np.asarray(state["subclass_counts"])
        clusters = cluster_within_classes(
            found.outputs, found.labels, counts, cluster_key, num_iters=self.kmeans_iterations
        )
        # A photograph that cannot be decoded is in no batch.
        subclasses = np.array(state["subclasses"])
        subclasses[found.indices] = clusters
        temperatures = class_temperatures(
            found.outputs,
            found.labels,
            counts,
            temperature=self.temperature,
            clip=self.spread_percentile,
        )
        sizes = np.bincount((np.cumsum(counts) - counts)[found.labels] + clusters)
        report = {
            "subclasses": int(np.sum(sizes > 0)),
            "largest_subclass": int(sizes.max()),
            "lowest_temperature": float(temperatures.min()),
            "highest_temperature": float(temperatures.max()),
        }
        renewed = {
            "subclasses": jnp.asarray(subclasses),
            "temperatures": jnp.asarray(temperatures),
        }
        return state | renewed, report


def _embed(network: Network, images: jax.Array) -> jax.Array:
    """Embeddings of two views, from image by image [2 B, ...] to view by view [2 B, D]."""
    embeddings = project(network, images)
    return embeddings.reshape(-1, 2, embeddings.shape[-1]).swapaxes(0, 1).reshape(embeddings.shape)


def _embedded(apply, params, images, state):
    """Embeddings [B, D] by running statistics, of which subclasses are made."""
    del state
    return apply(params, plain_outputs("projector"), images)[0]


METHOD = SubclassBalance
