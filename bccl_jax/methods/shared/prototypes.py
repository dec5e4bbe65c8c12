"""Contrast with a learned prototype of every class: what BCL and what extends it have in common."""

import dataclasses
from typing import Annotated

import jax

from bccl_jax.losses.contrastive import balanced_contrastive_loss
from bccl_jax.methods.shared.beside import Beside
from bccl_jax.models.heads import class_weights, l2_normalize
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Real, Whole

# What the published recipes of such methods have in common.
CIFAR = {
    "epochs": 200,
    "batch_size": 256,
    "optimizer.learning_rate": 0.15,
    "optimizer.weight_decay": 5e-4,
    "optimizer.warmup_epochs": 5,
    "optimizer.schedule": "step",
    "optimizer.step_epochs": (160, 180),
    "optimizer.step_factor": 0.1,
}
PHOTOGRAPHS = {
    "batch_size": 256,
    "optimizer.warmup_epochs": 0,
    "optimizer.schedule": "cosine_per_epoch",
    "method.weight_contrastive": 0.35,
    "method.weight_classification": 1.0,
    "method.temperature": 0.07,
    "method.classifier": "cosine",
    "method.projector_hidden": 2048,
    "method.projector_dim": 1024,
}


def prototype_centers(network: Network) -> jax.Array:
    """What the head "prototypes" makes of the classifier's weights: [K, D] of any length."""
    weights = class_weights(network.heads["classifier"])
    return network.heads["prototypes"].unnormalized(weights, train=True)


@dataclasses.dataclass(frozen=True)
class WithPrototypes(Beside):
    """The balanced contrastive loss of Zhu et al. 2022 beside the classification loss.

    Attributes:
      weight_contrastive: 0.6 on CIFAR-LT, 0.35 on photographs.
      weight_classification: 2 on CIFAR-LT, 1 on photographs.
      class_chunk: classes whose prototypes the loss compares with at a time; 0 for all.
    """

    weight_contrastive: Annotated[float, Real(0, 1000)] = 0.6
    weight_classification: Annotated[float, Real(0, 1000)] = 2.0
    class_chunk: Annotated[int, Whole(0, 2**20)] = 0

    def heads(self, context):
        """Returns the classifier, the projector, and the MLP that makes prototypes."""
        # Its batch is the classes, which every device has.
        prototypes = self.projector(dataclasses.replace(context, norm_groups=1))
        return {**super().heads(context), "prototypes": prototypes}

    def centers(self, network: Network) -> jax.Array:
        """What the prototypes are before they are normalised, [K, D]."""
        return prototype_centers(network)

    def beside(self, network, features):
        """The prototypes, [K, D] of unit norm."""
        del features
        return l2_normalize(self.centers(network))

    def contrast(self, embeddings, labels, beside):
        """See `Beside.contrast`; beside are the prototypes."""
        return balanced_contrastive_loss(
            embeddings,
            labels,
            beside,
            temperature=self.temperature,
            chunk_size=self.class_chunk or None,
        )
