"""Parametric contrast over a queue of keys: what PaCo and GPaCo share."""

import dataclasses
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp

from bccl_jax.errors import ConfigError
from bccl_jax.losses.parametric import parametric_contrastive_loss
from bccl_jax.methods import base
from bccl_jax.methods.shared.key_queue import empty_queue
from bccl_jax.models.heads import Projector
from bccl_jax.settings.bounds import Real, Whole

# What the published recipes of both have in common.
CIFAR = {
    "epochs": 400,
    "optimizer.warmup_epochs": 10,
    "optimizer.schedule": "step",
    "optimizer.step_epochs": (321, 361),
    "augment.sim.scale": (0.2, 1.0),
    "method.projector_hidden": 64,
}
PHOTOGRAPHS = {
    "epochs": 400,
    "optimizer.warmup_epochs": 10,
    "optimizer.schedule": "cosine_per_epoch",
    "augment.sim.jitter": (0.4, 0.4, 0.4, 0.0),
    "augment.sim.jitter_prob": 1.0,
    "augment.sim.blur_prob": 0.5,
    "method.temperature": 0.2,
    "method.queue_size": 8192,
    "method.projector_hidden": 2048,
    "method.projector_dim": 128,
}


@dataclasses.dataclass(frozen=True)
class Parametric(base.Method):
    """A classifier whose rows are centres, a projector, and a queue of keys.

    A centre's logit is the classifier's, of the features before the projector, plus the log class
    prior. It predicts by the classifier alone: its logits are free of the prior.

    `label_smoothing` is of the centres. GPaCo's s among the other classes is s K / (K - 1) there.

    Attributes:
      alpha: weight of a positive of the anchor's class, where that of its centre is `beta`.
      beta: weight of the centre.
      gamma: weight of the embeddings among the candidates; the centres' is 1.
      temperature: what the similarities of embeddings are divided by.
      queue_size: M, keys of earlier steps that are candidates.
      projector_hidden: width of the projector's hidden layer.
      projector_dim: D, dimension of the embeddings.
    """

    views: ClassVar[tuple[str, ...]] = ("strong", "sim")
    soft_labels: ClassVar[bool] = True

    alpha: Annotated[float, Real(0, 1000)] = 0.01
    beta: Annotated[float, Real(0, 1000)] = 1.0
    gamma: Annotated[float, Real(0, 1000)] = 1.0
    temperature: Annotated[float, Real(0.001, 1000)] = 0.05
    queue_size: Annotated[int, Whole(1, 2**20)] = 1024
    projector_hidden: Annotated[int, Whole(1, 2**16)] = 512
    projector_dim: Annotated[int, Whole(1, 2**16)] = 32

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`."""
        return True

    @property
    def mixable(self):
        """See `base.Method.mixable`; the classified view is contrasted too."""
        return False

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if not self.alpha and not self.beta:
            raise ConfigError(
                "config.method.alpha and config.method.beta are 0, so that no candidate is a "
                "positive; raise one"
            )

    def heads(self, context):
        """Returns the classifier and the projector."""
        projector = Projector(
            self.projector_hidden, self.projector_dim, context.dtype, context.norm_groups
        )
        return {**super().heads(context), "projector": projector}

    def init(self, key, context) -> dict[str, Any]:
        """Returns {"class_counts": int32 [K], "queue": an empty `KeyQueue`}."""
        del key
        return {
            "class_counts": jnp.asarray(context.class_counts, jnp.int32),
            "queue": empty_queue(self.queue_size, self.projector_dim),
        }

    def contrast(
        self,
        logits: jax.Array,
        embeddings: jax.Array,
        labels: jax.Array,
        targets: jax.Array | None,
        state: dict[str, Any],
        keys: jax.Array,
        key_labels: jax.Array,
    ) -> jax.Array:
        """The loss of anchors among centres, each other, keys, and the queue as it is.

        Args:
          logits: [N, K], of the anchors.
          embeddings: [N, D], of the anchors.
          labels: [N] integer classes.
          targets: [N, K], shares of the classes, or None.
          state: whose queue holds further keys.
          keys: [M', D] of this step.
          key_labels: [M'] integer classes.

        Returns:
          The loss, a float32 scalar.
        """
        queue = state["queue"]
        return parametric_contrastive_loss(
            logits,
            embeddings,
            labels,
            jnp.concatenate([keys, queue.keys]),
            jnp.concatenate([key_labels, queue.labels]),
            class_counts=state["class_counts"],
            temperature=self.temperature,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            targets=targets,
        )
