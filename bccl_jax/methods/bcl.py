"""Balanced contrastive learning (BCL, Zhu et al. 2022).

Supervised contrast of two SimAugment views whose denominator is averaged within each class (class
averaging, Eq. 4) and has a prototype of every class (class complement, Eq. 5), beside logit
compensation of a strong view. The prototypes are an MLP's outputs over the rows of the classifier's
weights, so that the contrast trains the classifier too. A step costs what one of `bccl` does
without queue and k-means, and the MLP over K rows. No state is kept.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from bccl_jax.methods.shared.prototypes import WithPrototypes

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
class BalancedContrast(WithPrototypes):
    """The loss of Eq. 7 of Zhu et al.; the settings are those of `WithPrototypes`."""

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


METHOD = BalancedContrast
