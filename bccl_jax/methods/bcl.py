"""Balanced contrastive learning (BCL, Zhu et al. 2022).

Supervised contrast of two SimAugment views whose denominator is averaged within each class (class
averaging, Eq. 4) and has a prototype of every class (class complement, Eq. 5), beside logit
compensation of a strong view. The prototypes are an MLP's outputs over the rows of the classifier's
weights, so that the contrast trains the classifier too. A step costs what one of `bccl` does
without queue and k-means, and the MLP over K rows. No state is kept.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from bccl_jax.losses.contrastive import balanced_contrastive_loss
from bccl_jax.methods.shared.beside import Beside
from bccl_jax.models.heads import class_weights
from bccl_jax.settings.bounds import Real, Whole

# Of ImageNet-LT and iNaturalist 2018, whose repository is the authors' own.
_PHOTOGRAPHS = {
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


@dataclasses.dataclass(frozen=True)
class BalancedContrast(Beside):
    """The loss of Eq. 7 of Zhu et al.

    Attributes:
      weight_contrastive: 0.6 on CIFAR-LT, 0.35 on photographs.
      weight_classification: 2 on CIFAR-LT, 1 on photographs.
      class_chunk: classes whose prototypes the loss compares with at a time; 0 for all.
    """

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The paper's section 4.1 has batch, learning rate, schedule and weight decay.
        "cifar": {
            "epochs": 200,
            "batch_size": 256,
            "optimizer.learning_rate": 0.15,
            "optimizer.weight_decay": 5e-4,
            "optimizer.warmup_epochs": 5,
            "optimizer.schedule": "step",
            "optimizer.step_epochs": (160, 180),
            "optimizer.step_factor": 0.1,
        },
        "photographs": _PHOTOGRAPHS | {"epochs": 90, "optimizer.learning_rate": 0.1},
        "inaturalist2018": _PHOTOGRAPHS
        | {"epochs": 100, "optimizer.learning_rate": 0.2, "optimizer.weight_decay": 1e-4},
    }

    weight_contrastive: Annotated[float, Real(0, 1000)] = 0.6
    weight_classification: Annotated[float, Real(0, 1000)] = 2.0
    class_chunk: Annotated[int, Whole(0, 2**20)] = 0

    def heads(self, context):
        """Returns the classifier, the projector, and the MLP that makes prototypes."""
        # Its batch is the classes, which every device has.
        prototypes = self.projector(dataclasses.replace(context, norm_groups=1))
        return {**super().heads(context), "prototypes": prototypes}

    def beside(self, network):
        """The prototypes, [K, D] of unit norm."""
        weights = class_weights(network.heads["classifier"])
        return network.heads["prototypes"](weights, train=True)

    def contrast(self, embeddings, labels, beside):
        """See `Beside.contrast`."""
        return balanced_contrastive_loss(
            embeddings,
            labels,
            beside,
            temperature=self.temperature,
            chunk_size=self.class_chunk or None,
        )


METHOD = BalancedContrast
