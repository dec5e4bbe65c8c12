"""A classifier trained beside a contrast: what such methods have in common."""

import dataclasses
import functools
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp

from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import logit_compensation_loss
from bccl_jax.losses.cosines import mean_cosines
from bccl_jax.methods import base
from bccl_jax.methods.shared.one_pass import outputs_of_views, view_features
from bccl_jax.models.heads import Projector
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Real, Whole


@dataclasses.dataclass(frozen=True)
class Beside(base.Method):
    """One strong view is classified and two SimAugment views are contrasted, in one forward pass.

    The loss is `weight_classification` times the classification loss, Eq. 8 of Kim & Ko 2025, plus
    `weight_contrastive` times `contrast`.

    Attributes:
      weight_contrastive: of the contrastive loss.
      weight_classification: of the classification loss.
      temperature: tau of the contrastive loss.
      projector_hidden: width of the projector's hidden layer.
      projector_dim: D, dimension of the embeddings.
    """

    views: ClassVar[tuple[str, ...]] = ("strong", "sim", "sim")
    taps: ClassVar[tuple[str, ...]] = ("contrastive", "classification")
    fine_metrics: ClassVar[tuple[str, ...]] = (
        "contrastive_loss",
        "cosine_within",
        "cosine_between",
        "contrastive_gradient",
        "classification_gradient",
    )
    soft_labels: ClassVar[bool] = True

    weight_contrastive: Annotated[float, Real(0, 1000)] = 1.0
    weight_classification: Annotated[float, Real(0, 1000)] = 1.0
    temperature: Annotated[float, Real(0.001, 1000)] = 0.1
    projector_hidden: Annotated[int, Whole(1, 2**16)] = 512
    projector_dim: Annotated[int, Whole(1, 2**16)] = 128

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`."""
        return True

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if not self.weight_contrastive and not self.weight_classification:
            raise ConfigError(
                "config.method.weight_contrastive and config.method.weight_classification are 0, "
                "so that nothing would be trained; raise one of them"
            )

    def heads(self, context):
        """Returns the classifier and the projector."""
        return {**super().heads(context), "projector": self.projector(context)}

    def projector(self, context: base.Context) -> Projector:
        """A new projector of the settings' sizes."""
        return Projector(
            self.projector_hidden, self.projector_dim, context.dtype, context.norm_groups
        )

    def init(self, key, context):
        """Returns {"class_counts": int32 [K]}."""
        del key
        return {"class_counts": jnp.asarray(context.class_counts, jnp.int32)}

    def beside(self, network: Network, features: jax.Array) -> Any:
        """What is needed of the network beside logits and embeddings; run after its other parts.

        Args:
          network: in training.
          features: [B, d] of the classified view.

        Returns:
          A pytree of arrays; `loss` hands it to the contrast.
        """
        del network, features

    def contrast(self, embeddings: jax.Array, labels: jax.Array, beside: Any) -> jax.Array:
        """The contrastive loss, a float32 scalar.

        Args:
          embeddings: [2 B, D] of unit norm, view by view.
          labels: int32 [2 B].
          beside: what `beside` returned.
        """
        raise TypeError(f"{type(self).__name__} defines no contrast")

    def classification(self, logits: jax.Array, truth: jax.Array, state: Any) -> jax.Array:
        """The classification loss, a float32 scalar; see `base.Batch.truth`."""
        return logit_compensation_loss(logits, truth, state["class_counts"])

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key, progress
        outputs, batch_stats = self.run(apply, params, batch.views)
        loss, metrics = self.combine(*outputs, batch.labels, batch.truth, state)
        return loss, (metrics, state, batch_stats)

    def run(self, apply: base.Apply, params: Any, views: tuple[jax.Array, ...]) -> tuple[Any, Any]:
        """One forward pass: ((logits [B, K], embeddings [2 B, D], `beside`), batch statistics)."""

        def forward(network, images):
            features = view_features(network, images, num_views=3)
            made = outputs_of_views(network, features, contrasted=2)
            return *made, self.beside(network, features[:, 0])

        return apply(params, forward, base.interleave(views))

    def combine(
        self,
        logits: jax.Array,
        embeddings: jax.Array,
        beside: Any,
        labels: jax.Array,
        truth: jax.Array,
        state: Any,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The weighted sum of both losses, and the metrics.

        Args:
          logits: [B, K] of the classified view.
          embeddings: [2 B, D], view by view.
          beside: what the contrast needs of `beside`.
          labels: int32 [B], by which is contrasted.
          truth: what the logits are compared with; see `base.Batch.truth`.
          state: the method's own.
        """
        both = jnp.tile(labels, 2)
        contrastive = self.contrast(embeddings, both, beside)
        classification = self.classification(logits, truth, state)
        terms = (
            (self.weight_contrastive, contrastive),
            (self.weight_classification, classification),
        )
        # 0 * inf is NaN: a term without weight is left out.
        loss = functools.reduce(jnp.add, (weight * term for weight, term in terms if weight))
        cosine_within, cosine_between = mean_cosines(embeddings, both)
        metrics = {
            "accuracy": base.accuracy(logits, labels),
            "contrastive_loss": contrastive,
            "classification_loss": classification,
            "cosine_within": cosine_within,
            "cosine_between": cosine_between,
        }
        return loss, metrics
