"""Balanced contrastive learning (BCL, Zhu et al. 2022).

Supervised contrast of two SimAugment views whose denominator is averaged within each class (class
averaging, Eq. 4) and has a prototype of every class (class complement, Eq. 5), beside logit
compensation of a strong view. The prototypes are an MLP's outputs over the rows of the classifier's
weights, so that the contrast trains the classifier too. A step costs what one of `bccl` does
without queue and k-means, and the MLP over K rows. No state is kept.

Family: contrast
Paper: Zhu et al., "Balanced Contrastive Learning for Long-Tailed Visual Recognition", CVPR 2022.
Equation: `alpha CE(f + log pi) + beta L_BCL`, Eq. 7.
State: none.
Printed: 51.93 on CIFAR-100-LT at imbalance 100, 56.0 on ImageNet-LT.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from bccl_jax.methods.shared.prototypes import CIFAR, PHOTOGRAPHS, WithPrototypes


@dataclasses.dataclass(frozen=True)
class BalancedContrast(WithPrototypes):
    """The loss of Eq. 7 of Zhu et al.; the settings are those of `WithPrototypes`."""

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Of the paper; its code has photographs alone. Unverified.
        "cifar": CIFAR,
        "photographs": PHOTOGRAPHS | {"epochs": 90, "optimizer.learning_rate": 0.1},
        "inaturalist2018": PHOTOGRAPHS
        | {"epochs": 100, "optimizer.learning_rate": 0.2, "optimizer.weight_decay": 1e-4},
    }


METHOD = BalancedContrast
