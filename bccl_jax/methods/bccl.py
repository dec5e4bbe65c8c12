"""Balanced clustering contrastive learning (Kim & Ko 2025).

Per image one strong view feeds the classifier and two SimAugment views feed the projector, in one
forward pass. The embeddings of each class fill a queue of its own; between epochs k-means turns
each queue into centroids, which join the contrastive loss as candidates and positives (class
complement, Eq. 6) and carry the centroid loss (Eq. 5). The classifier trains with logit
compensation (Eq. 8).
"""

import dataclasses
from typing import Annotated, ClassVar

import flax.struct
import jax
import jax.numpy as jnp

from bccl_jax.bounds import Choice, Maybe, Real, Whole
from bccl_jax.clustering import host, sharded
from bccl_jax.clustering.kmeans import kmeans
from bccl_jax.clustering.queue import QueueState, filled_mask, init_queue, push
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss, logit_compensation_loss
from bccl_jax.losses.contrastive import (
    centroid_loss,
    complement_and_centroid_loss,
    supervised_contrastive_loss,
)
from bccl_jax.methods import base
from bccl_jax.models.heads import Projector

# The readings of Eq. 9 as weights of (contrastive, centroid, classification) loss: section 4.3 and
# Figure 5, Eq. 9 as printed, and BCL's CIFAR balance.
PRESETS = {"sec43": (1.0, 0.1, 1.0), "eq9": (1.0, 1.0, 0.1), "bcl": (0.6, 0.6, 2.0)}

CLUSTERINGS = ("kmeans", "mean_shift", "affinity_propagation")

_WEIGHT = Maybe(Real(0, 1000))


@flax.struct.dataclass
class BCCLState:
    """The method's own state.

    Attributes:
      queue: the embeddings seen last, class by class.
      centroids: float32 [K, C, D], unit vectors where valid.
      centroid_mask: bool [K, C]; all False until the first refresh.
      class_counts: int32, one for each class; K is larger where the classes are padded.
    """

    queue: QueueState
    centroids: jax.Array
    centroid_mask: jax.Array
    class_counts: jax.Array


def _forward(network, images):
    """One pass over the three views, so that they share one set of batch statistics."""
    features = network.backbone(images, train=True)  # [B * 3, d], image by image
    features = features.reshape(-1, 3, features.shape[-1])
    logits = network.heads["classifier"](features[:, 0])
    contrastive = features[:, 1:].reshape(-1, features.shape[-1])
    embeddings = network.heads["projector"](contrastive, train=True)
    # View by view from here on.
    embeddings = embeddings.reshape(-1, 2, embeddings.shape[-1]).swapaxes(0, 1)
    return logits, embeddings.reshape(-1, embeddings.shape[-1])


@dataclasses.dataclass(frozen=True)
class BCCL(base.Method):
    """The whole method; every choice the paper leaves open is a field (`docs/choices.md`).

    Attributes:
      preset: weights of Eq. 9: "sec43" (1, 0.1, 1), "eq9" (1, 1, 0.1) or "bcl" (0.6, 0.6, 2).
      weight_contrastive: replaces the preset's weight of the contrastive loss.
      weight_centroid: replaces the preset's weight of the centroid loss (gamma of Figure 5).
      weight_classification: replaces the preset's weight of the classification loss.
      centroid_loss: False drops the centroid loss (Table 4).
      logit_compensation: False trains the classifier by plain cross-entropy (Table 4).
      class_complement: False keeps Eq. 2 after warm-up, instead of Eq. 6.
      class_average: averages the exponentials within each class, as in BCL.
      temperature: tau of both contrastive losses.
      warmup_epochs: epochs before the first centroids.
      refresh_epochs: epochs between two clusterings.
      clustering: "kmeans", or "mean_shift" or "affinity_propagation" on the host (Figure 4).
      num_centroids: C, centroids per class.
      queue_size: M, embeddings kept per class.
      queue_dtype: of the stored embeddings.
      kmeans_iterations: Lloyd iterations of a refresh.
      class_chunk: classes whose centroids the losses compare with at a time; 0 for all. Bounds the
        memory where there are thousands of classes.
      split_classes: each device keeps the queues and centroids of its part of the classes, instead
        of all.
      projector_hidden: width of the projector's hidden layer.
      projector_dim: D, dimension of the embeddings.
    """

    views: ClassVar[tuple[str, ...]] = ("strong", "sim", "sim")

    preset: Annotated[str, Choice(PRESETS)] = "sec43"
    weight_contrastive: Annotated[float | None, _WEIGHT] = None
    weight_centroid: Annotated[float | None, _WEIGHT] = None
    weight_classification: Annotated[float | None, _WEIGHT] = None
    centroid_loss: bool = True
    logit_compensation: bool = True
    class_complement: bool = True
    class_average: bool = False
    temperature: Annotated[float, Real(0.001, 1000)] = 0.1
    warmup_epochs: Annotated[int, Whole(0, 1_000_000, also=(-1,))] = 20
    refresh_epochs: Annotated[int, Whole(1, 1_000_000)] = 5
    clustering: Annotated[str, Choice(CLUSTERINGS)] = "kmeans"
    num_centroids: Annotated[int, Whole(1, 2**16)] = 5
    queue_size: Annotated[int, Whole(1, 2**16)] = 256
    queue_dtype: Annotated[str, Choice(("float32", "bfloat16"))] = "float32"
    kmeans_iterations: Annotated[int, Whole(1, 10_000)] = 20
    class_chunk: Annotated[int, Whole(0, 2**20)] = 0
    split_classes: bool = False
    projector_hidden: Annotated[int, Whole(1, 2**16)] = 512
    projector_dim: Annotated[int, Whole(1, 2**16)] = 128

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of (contrastive, centroid, classification) loss; a dropped term has weight 0."""
        own = (self.weight_contrastive, self.weight_centroid, self.weight_classification)
        contrastive, centroid, classification = (
            preset if weight is None else weight
            for weight, preset in zip(own, PRESETS[self.preset], strict=True)
        )
        return contrastive, centroid if self.centroid_loss else 0.0, classification

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`; only with logit compensation (Eq. 8)."""
        return self.logit_compensation

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if not any(self.weights):
            raise ConfigError(
                f"config.method.preset and the weights beside it are {self.weights}, so that "
                "nothing would be trained; raise one of config.method.weight_contrastive, "
                "config.method.weight_centroid and config.method.weight_classification"
            )
        if self.num_centroids > self.queue_size:
            raise ConfigError(
                f"config.method.num_centroids is {self.num_centroids}, more than the "
                f"{self.queue_size} embeddings of a queue; lower it or raise "
                "config.method.queue_size"
            )
        if self.split_classes and self.clustering != "kmeans":
            raise ConfigError(
                f"config.method.clustering is {self.clustering!r}, which needs all queues in one "
                'place; take "kmeans" or set config.method.split_classes to False'
            )
        first = self.warmup_epochs or self.refresh_epochs
        if first >= epochs:
            raise ConfigError(
                f"config.method.warmup_epochs is {self.warmup_epochs} and "
                f"config.method.refresh_epochs {self.refresh_epochs} in a run of {epochs} epochs, "
                "so that no centroid would ever be used; lower them or raise config.epochs"
            )

    def heads(self, context):
        """Returns the classifier and the projector."""
        projector = Projector(
            self.projector_hidden, self.projector_dim, context.dtype, context.norm_groups
        )
        return {**super().heads(context), "projector": projector}

    def init(self, key, context):
        """Returns an empty `BCCLState`."""
        del key
        classes, centroids, dim = context.num_classes, self.num_centroids, self.projector_dim
        if self.split_classes:
            classes = sharded.padded_classes(classes, context.num_devices)
        return BCCLState(
            queue=init_queue(classes, self.queue_size, dim, jnp.dtype(self.queue_dtype)),
            centroids=jnp.zeros((classes, centroids, dim), jnp.float32),
            centroid_mask=jnp.zeros((classes, centroids), bool),
            class_counts=jnp.asarray(context.class_counts, jnp.int32),
        )

    def split_over_classes(self, state):
        """See `base.Method.split_over_classes`."""
        shared = jax.tree.map(lambda _: self.split_classes, state)
        return shared.replace(class_counts=False)

    def loss(self, apply, params, batch, state, key, progress):
        """Eq. 9; see `base.Method.loss`.

        Through warm-up `centroid_mask` is all False, which makes Eq. 6 equal Eq. 2 and the
        centroid loss 0: one compiled step serves both phases.
        """
        del key, progress
        images = base.interleave(batch.views)
        (logits, embeddings), batch_stats = apply(params, _forward, images)
        labels = jnp.concatenate([batch.labels, batch.labels])

        bank = {"centroids": state.centroids, "centroid_mask": state.centroid_mask}
        options = {
            "temperature": self.temperature,
            "class_average": self.class_average,
            "chunk_size": self.class_chunk or None,
            "mesh": jax.sharding.get_abstract_mesh() if self.split_classes else None,
        }
        weight_contrastive, weight_centroid, weight_classification = self.weights
        if self.class_complement and weight_centroid:
            contrastive, centroid = complement_and_centroid_loss(
                embeddings, labels, **bank, **options
            )
        else:
            complement = bank if self.class_complement else {}
            contrastive = supervised_contrastive_loss(embeddings, labels, **complement, **options)
            if weight_centroid:
                centroid = centroid_loss(embeddings, labels, **bank, **options)
        if self.logit_compensation:
            classification = logit_compensation_loss(logits, batch.labels, state.class_counts)
        else:
            classification = cross_entropy_loss(logits, batch.labels)

        terms = [(weight_contrastive, contrastive), (weight_classification, classification)]
        metrics = {
            "accuracy": base.accuracy(logits, batch.labels),
            "contrastive_loss": contrastive,
            "classification_loss": classification,
        }
        if weight_centroid:
            terms.append((weight_centroid, centroid))
            metrics["centroid_loss"] = centroid
        # 0 * inf is NaN: a term without weight is left out.
        loss = sum((weight * term for weight, term in terms if weight), start=jnp.float32(0))

        enqueue = sharded.push if self.split_classes else push
        state = state.replace(queue=enqueue(state.queue, embeddings, labels))
        return loss, (metrics, state, batch_stats)

    def refresh_due(self, epoch):
        """True at the end of warm-up and every `refresh_epochs` epochs after it."""
        since = epoch - self.warmup_epochs
        return since >= 0 and since % self.refresh_epochs == 0

    def refresh(self, state, key):
        """Clusters every class's queue (Eq. 4); see `base.Method.refresh`."""
        points, mask = state.queue.features, filled_mask(state.queue)
        if self.clustering == "kmeans":
            cluster = sharded.kmeans if self.split_classes else kmeans
            centroids, centroid_mask = cluster(
                points, mask, self.num_centroids, key, num_iters=self.kmeans_iterations
            )
        else:
            cluster = getattr(host, self.clustering)
            centroids, centroid_mask = cluster(points, mask, self.num_centroids)
        clustered = jnp.sum(jnp.any(centroid_mask, axis=1))
        report = {
            "centroids": float(jnp.sum(centroid_mask)),
            # Of the data's classes, and not of those that pad them.
            "classes_without_centroid": float(len(state.class_counts) - clustered),
        }
        return state.replace(centroids=centroids, centroid_mask=centroid_mask), report


METHOD = BCCL
