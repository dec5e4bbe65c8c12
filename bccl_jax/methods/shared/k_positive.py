"""K-positive contrast and, after it, a classifier over frozen features: what KCL and TSC share."""

import dataclasses
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp

from bccl_jax.losses.k_positive import draw_positives, k_positive_contrastive_loss
from bccl_jax.methods import base
from bccl_jax.methods.shared.key_queue import empty_queue, enter
from bccl_jax.methods.shared.momentum_copy import check_shared_statistics, followed_copy
from bccl_jax.methods.shared.refitting import Refit
from bccl_jax.models.forward import project
from bccl_jax.models.heads import Projector
from bccl_jax.settings.bounds import Choice, Maybe, Real, Whole

# What both have on photographs, of the code of Li et al. 2022, which trains both; see `kcl`. The
# second stage has batches of 2,048 there and a learning rate of 10, in proportion to which this is.
PHOTOGRAPHS = {
    "batch_size": 256,
    "optimizer.learning_rate": 0.1,
    "optimizer.weight_decay": 1e-4,
    "optimizer.warmup_epochs": 0,
    "optimizer.schedule": "cosine_per_epoch",
    "augment.strong.policy": "none",
    "augment.sim.jitter": (0.4, 0.4, 0.4, 0.0),
    "augment.sim.jitter_prob": 1.0,
    "augment.sim.grayscale_prob": 0.0,
    "method.projector_hidden": 2048,
    "method.refit_epochs": 40,
    "method.refit_learning_rate": 1.25,
    "method.refit_weight_decay": 0.0,
    "method.refit_schedule": "step",
}


@dataclasses.dataclass(frozen=True)
class KPositive(Refit):
    """Contrast of two SimAugment views, then the classifier alone on the strong view.

    An anchor's positives are the key of its image's other view and `num_positives` of its class's
    keys; all other keys, those of its class too, are candidates.

    Attributes:
      num_positives: k, keys of its class that an anchor is drawn to beside its own, drawn anew in
        each step; 0 for all.
      temperature: tau, what similarities are divided by.
      queue_size: keys of earlier steps that are candidates, no more than there are training images.
        0: neither queue nor momentum copy; both views are anchors, and their candidates are those
        of the other images of the batch.
      momentum: m, the share of the copy that stays at each step.
      projector_hidden: width of the projector's hidden layer.
      projector_dim: D, dimension of the embeddings.
      refit_rate_factor: of the run's learning rate in the second stage, where
        `refit_learning_rate` is 0. A classifier that starts from nothing over frozen features takes
        a larger one than a network.
      refit_weight_decay: of the second stage; None for that of the run.
      refit_schedule: of the second stage: "cosine", or "step" for a tenth of the learning rate from
        half of its epochs on and a hundredth from three quarters on.
    """

    views: ClassVar[tuple[str, ...]] = ("strong", "sim", "sim")
    anew: ClassVar[tuple[str, ...]] = ("heads_classifier",)

    num_positives: Annotated[int, Whole(0, 1024)] = 6
    temperature: Annotated[float, Real(0.001, 1000)] = 0.07
    queue_size: Annotated[int, Whole(0, 2**20)] = 65_536
    momentum: Annotated[float, Real(0, 1, open_end=True)] = 0.999
    projector_hidden: Annotated[int, Whole(1, 2**16)] = 512
    projector_dim: Annotated[int, Whole(1, 2**16)] = 128
    refit_rate_factor: Annotated[float, Real(1e-6, 1e6)] = 10.0
    refit_weight_decay: Annotated[float | None, Maybe(Real(0, 1000))] = None
    refit_schedule: Annotated[str, Choice(("cosine", "step"))] = "cosine"

    @property
    def contrast_stages(self) -> int:
        """How many stages come before that of the classifier."""
        return 1

    def stages(self, epochs):
        """See `base.Method.stages`."""
        first, second = super().stages(epochs)
        optimizer = {**second.optimizer, "schedule": self.refit_schedule}
        if self.refit_schedule == "step":
            half = self.refit_epochs / 2
            optimizer |= {"step_epochs": (half, 1.5 * half), "step_factor": 0.1}
        if self.refit_weight_decay is not None:
            optimizer["weight_decay"] = self.refit_weight_decay
        # The classifier has no part in the contrast, and weight decay would shrink it.
        first = dataclasses.replace(first, trains=("backbone", "heads_projector"))
        factor = 1.0 if self.refit_learning_rate else self.refit_rate_factor
        return first, dataclasses.replace(second, optimizer=optimizer, rate_factor=factor)

    def heads(self, context):
        """Returns the classifier and the projector.

        Raises:
          ConfigError: there are keys, and each device has batch statistics of its own.
        """
        if self.queue_size:
            check_shared_statistics(context, "k-positive contrast")
        projector = Projector(
            self.projector_hidden, self.projector_dim, context.dtype, context.norm_groups
        )
        return {**super().heads(context), "projector": projector}

    def init(self, key, context) -> dict[str, Any]:
        """Returns {"queue": an empty `KeyQueue`}, or nothing without one."""
        del key
        if not self.queue_size:
            return {}
        size = min(self.queue_size, max(int(context.class_counts.sum()), 1))
        return {"queue": empty_queue(size, self.projector_dim)}

    def follow(self, state, params, first=False):
        """Renews the momentum copy, {"copy": {"backbone", "heads_projector"}}, if there is one."""
        return followed_copy(state, params, self.momentum, first) if self.queue_size else state

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        if progress.stage < self.contrast_stages:
            return self.contrast(apply, params, batch, state, key, progress.stage)
        return super().loss(apply, params, batch, state, key, progress)

    def contrast(self, apply, params, batch, state, key, stage):
        """The contrastive loss; takes and returns what `base.Method.loss` does, of one stage."""
        if self.queue_size:
            anchors, batch_stats = apply(params, project, batch.views[1])
            own_keys, _ = apply(state["copy"], project, batch.views[2])
            labels, queue = batch.labels, state["queue"]
            keys, key_labels = queue.keys, queue.labels
            candidates = jnp.broadcast_to(key_labels >= 0, (len(labels), len(keys)))
            renewed = {**state, "queue": enter(queue, own_keys, labels)}
        else:
            images = base.interleave(batch.views[1:])
            anchors, batch_stats = apply(params, project, images)
            # The two views of an image stand side by side.
            own_keys = anchors.reshape(-1, 2, anchors.shape[-1])[:, ::-1].reshape(anchors.shape)
            labels = key_labels = jnp.repeat(batch.labels, 2)
            keys, renewed = anchors, state
            image = jnp.arange(len(labels)) // 2
            candidates = image[:, None] != image[None, :]
        pool = candidates & (labels[:, None] == key_labels[None, :])
        positives = draw_positives(key, pool, self.num_positives)
        loss = k_positive_contrastive_loss(
            anchors,
            own_keys,
            keys,
            candidates=candidates,
            positives=positives,
            temperature=self.temperature,
            **self.targets_of(labels, state, stage),
        )
        metrics = {
            "contrastive_loss": loss,
            "positives": 1 + jnp.mean(jnp.sum(positives, axis=1)),
            "cosine_own_key": jnp.mean(jnp.sum(anchors * own_keys, axis=1)),
        }
        renewed, more = self.seen(renewed, anchors, labels, stage)
        return loss, (metrics | more, renewed, batch_stats)

    def targets_of(self, labels: jax.Array, state: dict[str, Any], stage: int) -> dict[str, Any]:
        """What the loss takes of targets, by its arguments' names; here nothing.

        Args:
          labels: int32 [N], of the anchors.
          state: the method's own, before the step.
          stage: a Python number.
        """
        del labels, state, stage
        return {}

    def seen(
        self, state: dict[str, Any], anchors: jax.Array, labels: jax.Array, stage: int
    ) -> tuple[dict[str, Any], dict[str, jax.Array]]:
        """The state after the anchors [N, D] were seen, and further metrics; here as it was."""
        del anchors, labels, stage
        return state, {}
