"""Balanced clustering contrastive learning (Kim & Ko 2025).

A strong view of each image is classified (logit compensation, Eq. 8), two SimAugment views are
projected, in one pass. Embeddings fill a queue for each class, of which k-means makes centroids
between epochs. These join the contrastive loss as candidates and positives (Eq. 6) and carry the
centroid loss (Eq. 5). The authors' code differs in almost every part: `docs/paper_and_code.md`.

Family: contrast
Paper: Kim & Ko, "Balanced clustering contrastive learning for long-tailed visual recognition",
  2025.
Equation: `alpha L_SCL + gamma L_CL + beta L_LC`, Eq. 9.
State: a queue of embeddings for each class, [K, M, D], and centroids [K, C, D].
Printed: 52.55 on CIFAR-100-LT at imbalance 100, 57.1 on ImageNet-LT.
"""

import dataclasses
import functools
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from bccl_jax.clustering.kmeans import STARTS
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss, logit_compensation_loss
from bccl_jax.losses.cosines import mean_cosines
from bccl_jax.methods import base
from bccl_jax.methods.shared.agreement import check_agreement
from bccl_jax.methods.shared.contrasting import combine, contrast
from bccl_jax.methods.shared.one_pass import forward_views
from bccl_jax.methods.shared.queued_centroids import (
    BCCLState,
    cluster_queues,
    enqueue,
    init_state,
)
from bccl_jax.methods.shared.readings import PRESETS, VIEW_SETS, WEIGHTS
from bccl_jax.models.heads import CLASSIFIER_STARTS, CLASSIFIERS, PROJECTOR_STARTS, Projector
from bccl_jax.settings.bounds import Choice, Maybe, Real, Whole, shown

CENTROID_LOSS_FORMS = ("softmax", "linear")
CLUSTERINGS = ("kmeans", "mean_shift", "affinity_propagation")

_WEIGHT = Maybe(Real(0, 1000))
_TEMPERATURE = Real(0.001, 1000)
_EPOCHS = 1_000_000


@dataclasses.dataclass(frozen=True)
class BCCL(base.Method):
    """The whole method; every choice the paper leaves open is a field (`docs/choices.md`).

    Where a field is None the preset decides it (`PRESETS`); once made, a method has no None but
    that of `temperature_start`.

    Attributes:
      preset: reading of the method: "sec43", "eq9" or "bcl" are the paper with the weights
        (1, 0.1, 1), (1, 1, 0.1) or (0.6, 0.6, 2) in Eq. 9; "released" is its authors' code, with
        settings of its own and another learning-rate schedule, chosen by the config's argument, as
        in --config=cifar100_lt:bccl,released.
      view_set: "strong+sim+sim": a strong view is classified and two SimAugment views contrasted;
        "strong+sim" or "sim+sim": both views are contrasted and the first is classified too;
        "strong+sim+sim+sim+sim": four SimAugment views are contrasted, so that more of an anchor's
        candidates are its positives.
        "released" has "strong+sim".
      weight_contrastive: replaces the preset's weight of the contrastive loss.
      weight_centroid: replaces the preset's weight of the centroid loss (gamma of Figure 5).
      weight_classification: replaces the preset's weight of the classification loss.
      centroid_loss: False drops the centroid loss (Table 4).
      centroid_loss_form: "softmax" is Eq. 5; "linear" that of "released", the mean of all
        similarities to centroids, those of the own class negative.
      logit_compensation: False trains the classifier by plain cross-entropy (Table 4).
      class_complement: False keeps Eq. 2 after warm-up, instead of Eq. 6, as "released" does.
      class_average: averages the exponentials within each class, as in BCL and "released".
      one_view_counts: for that average counts a class's images in the batch and not their views, as
        "released" does.
      temperature: tau of both contrastive losses.
      temperature_start: tau of the first epoch, from which it goes to `temperature` in equal steps;
        None for none.
      temperature_epochs: epochs that this takes.
      contrastive_ramp_epochs: epochs in which the weight of the contrastive loss rises to its own,
        in equal steps; 0 for none.
      classifier: "linear", or "cosine" as in "released".
      classifier_scale: s of the cosine classifier; 1 / 0.03 in "released".
      classifier_start: first weights of the cosine classifier: "unit" of unit norm, or "uniform" in
        (-1, 1), cut to a norm of 5, as in "released".
      warmup_epochs: epochs before the first centroids.
      refresh_epochs: epochs between two clusterings.
      refresh_twice: clusters again after the first epoch with new centroids; "released" clusters in
        every step of that epoch.
      clustering: "kmeans", or "mean_shift" or "affinity_propagation" on the host (Figure 4).
      num_centroids: C, centroids per class.
      queue_size: M, embeddings kept per class.
      queue_dtype: of the stored embeddings.
      queue_max_age: epochs after which an embedding is no longer clustered, though still in its
        queue; 0 for no limit.
      kmeans_start: "plus_plus": greedy k-means++, the best of four; "random": points drawn at
        random, once, as in "released".
      kmeans_iterations: Lloyd iterations of a refresh.
      centroids_on_sphere: clusters by cosine and keeps centroids at unit norm; False clusters by
        distance and keeps the means, shorter than 1, as "released" does.
      class_chunk: classes whose centroids the losses compare with at a time; 0 for all. Bounds the
        memory where there are thousands of classes.
      split_classes: each device keeps the queues and centroids of its part of the classes, instead
        of all.
      projector_hidden: width of the projector's hidden layer.
      projector_dim: D, dimension of the embeddings.
      projector_start: first weights of the projector: "kaiming", or "pytorch", its default for
        dense layers, with a bias in the hidden one, as in "released".
      projector_start_scale: factor of the first weights of the projector's last layer.
    """

    taps: ClassVar[tuple[str, ...]] = ("contrastive", "classification")
    fine_metrics: ClassVar[tuple[str, ...]] = (
        "contrastive_loss",
        "cosine_within",
        "cosine_between",
        "contrastive_gradient",
        "classification_gradient",
    )
    soft_labels: ClassVar[bool] = True
    left_to_preset: ClassVar[tuple[str, ...]] = WEIGHTS

    preset: Annotated[str, Choice(PRESETS)] = "sec43"
    view_set: Annotated[str | None, Choice(VIEW_SETS)] = None
    weight_contrastive: Annotated[float | None, _WEIGHT] = None
    weight_centroid: Annotated[float | None, _WEIGHT] = None
    weight_classification: Annotated[float | None, _WEIGHT] = None
    centroid_loss: bool = True
    centroid_loss_form: Annotated[str | None, Choice(CENTROID_LOSS_FORMS)] = None
    logit_compensation: bool = True
    class_complement: bool | None = None
    class_average: bool | None = None
    one_view_counts: bool | None = None
    temperature: Annotated[float, _TEMPERATURE] = 0.1
    temperature_start: Annotated[float | None, Maybe(_TEMPERATURE)] = None
    temperature_epochs: Annotated[int, Whole(0, _EPOCHS)] = 0
    contrastive_ramp_epochs: Annotated[int, Whole(0, _EPOCHS)] = 0
    classifier: Annotated[str | None, Choice(CLASSIFIERS)] = None
    classifier_scale: Annotated[float | None, base.CLASSIFIER_SCALE] = None
    classifier_start: Annotated[str | None, Choice(CLASSIFIER_STARTS)] = None
    warmup_epochs: Annotated[int | None, Whole(0, _EPOCHS, also=(-1,))] = None
    refresh_epochs: Annotated[int | None, Whole(1, _EPOCHS)] = None
    refresh_twice: bool | None = None
    clustering: Annotated[str, Choice(CLUSTERINGS)] = "kmeans"
    num_centroids: Annotated[int, Whole(1, 2**16)] = 5
    queue_size: Annotated[int | None, Whole(1, 2**16)] = None
    queue_dtype: Annotated[str, Choice(("float32", "bfloat16"))] = "float32"
    queue_max_age: Annotated[int, Whole(0, _EPOCHS)] = 0
    kmeans_start: Annotated[str | None, Choice(STARTS)] = None
    kmeans_iterations: Annotated[int, Whole(1, 10_000)] = 20
    centroids_on_sphere: bool | None = None
    class_chunk: Annotated[int, Whole(0, 2**20)] = 0
    split_classes: bool = False
    projector_hidden: Annotated[int, Whole(1, 2**16)] = 512
    projector_dim: Annotated[int, Whole(1, 2**16)] = 128
    projector_start: Annotated[str | None, Choice(PROJECTOR_STARTS)] = None
    projector_start_scale: Annotated[float, Real(0.0001, 1000)] = 1.0

    def __post_init__(self):
        """Fills in what the preset decides.

        Raises:
          ConfigError: no preset has that name.
        """
        if self.preset not in PRESETS:
            raise ConfigError(
                f"config.method.preset is {shown(self.preset)}; it must be {Choice(PRESETS)}"
            )
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    @property
    def views(self):
        """See `base.Method.views`."""
        return VIEW_SETS[self.view_set]

    @property
    def contrasted(self) -> int:
        """How many of the views, the last ones, are contrasted."""
        return max(len(self.views) - 1, 2)

    @property
    def mixable(self):
        """See `base.Method.mixable`; False where the classified view is contrasted too."""
        return self.contrasted < len(self.views)

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of (contrastive, centroid, classification) loss; a dropped term has weight 0."""
        centroid = self.weight_centroid if self.centroid_loss else 0.0
        return self.weight_contrastive, centroid, self.weight_classification

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`; only with logit compensation (Eq. 8)."""
        return self.logit_compensation

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        check_agreement(self, epochs)

    def heads(self, context):
        """Returns the classifier and the projector."""
        projector = Projector(
            self.projector_hidden,
            self.projector_dim,
            context.dtype,
            context.norm_groups,
            self.projector_start,
            self.projector_start_scale,
        )
        return {**super().heads(context), "projector": projector}

    def init(self, key, context) -> BCCLState:
        """Returns empty queues; see `base.Method.init`."""
        del key
        return init_state(
            context.class_counts,
            self.num_centroids,
            self.queue_size,
            self.projector_dim,
            dtype=jnp.dtype(self.queue_dtype),
            stamped=self.queue_max_age > 0,
            split_over=context.num_devices if self.split_classes else None,
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
        del key
        images, views = base.interleave(batch.views), len(batch.views)
        forward = functools.partial(forward_views, num_views=views, contrasted=self.contrasted)
        (logits, embeddings), batch_stats = apply(params, forward, images)
        if self.logit_compensation:
            classification = logit_compensation_loss(logits, batch.truth, state.class_counts)
        else:
            classification = cross_entropy_loss(logits, batch.truth)
        loss, metrics, state = self.contrasted_beside(
            classification, embeddings, batch, state, progress
        )
        metrics["accuracy"] = base.accuracy(logits, batch.labels)
        return loss, (metrics, state, batch_stats)

    def contrasted_beside(
        self, classification, embeddings, batch, state, progress, prototypes=None
    ):
        """Eq. 9 of a classification loss and embeddings [N, D]: loss, metrics and new state."""
        labels = jnp.tile(batch.labels, self.contrasted)
        losses = contrast(self, embeddings, labels, state, progress, prototypes)
        loss, metrics = combine(self, *losses, classification, progress)
        cosine_within, cosine_between = mean_cosines(embeddings, labels)
        metrics |= {"cosine_within": cosine_within, "cosine_between": cosine_between}
        stamp = progress.epoch if self.queue_max_age else None
        state = enqueue(state, embeddings, labels, stamp, split_classes=self.split_classes)
        return loss, metrics, state

    def refresh_due(self, epoch, epochs=0):
        """True at the end of warm-up and every `refresh_epochs` epochs after it."""
        return self._renews(epoch) or (self.refresh_twice and self._renews(epoch - 1))

    def _renews(self, epoch):
        since = epoch - self.warmup_epochs
        return epoch > 0 and since >= 0 and since % self.refresh_epochs == 0

    def refresh(self, state, key, between=None):
        """Clusters every class's queue (Eq. 4); see `base.Method.refresh`."""
        return cluster_queues(
            state,
            key,
            self.num_centroids,
            clustering=self.clustering,
            max_age=self.queue_max_age,
            start=self.kmeans_start,
            num_iters=self.kmeans_iterations,
            spherical=self.centroids_on_sphere,
            split_classes=self.split_classes,
            cluster_counts=self.cluster_counts(state),
        )

    def cluster_counts(self, state) -> jax.Array | None:
        """How many centroids each class is to have, int32 [K]; None for `num_centroids` each."""
        del state


METHOD = BCCL
