"""CUDA (Ahn et al. 2023) over BCL, on its strong view alone; `cuda` tells how it works.

The repository of CUDA has a BCL of its own, which it trains as it does its other methods.

Family: images
Paper: Ahn, Ko, Yun, "CUDA: Curriculum of Data Augmentation for Long-Tailed Recognition", ICLR
  2023.
Equation: that of `bcl`, whose strong view is augmented by the level of the class.
State: the level of each class.
Printed: 52.3 on CIFAR-100-LT at imbalance 100.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from bccl_jax.methods.bcl import BalancedContrast
from bccl_jax.methods.shared.curriculum import CIFAR, INATURALIST, PHOTOGRAPHS, Curriculum
from bccl_jax.methods.shared.prototypes import PHOTOGRAPHS as PROTOTYPES

# What is BCL's own on photographs.
_OWN = {key: value for key, value in PROTOTYPES.items() if key.startswith("method.")}


@dataclasses.dataclass(frozen=True)
class CudaBalancedContrast(Curriculum, BalancedContrast):
    """BCL, its strong view under a curriculum; the settings are those of both.

    Of "photographs" and "inaturalist2018" projector, scale of the classifier and temperature are
    BCL's: the public code of CUDA lacks that network, and leaves the temperature at 0.1.
    """

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": CIFAR | {"augment.sim.scale": (0.2, 1.0), "augment.sim.blur_prob": 0.5},
        "photographs": PHOTOGRAPHS | _OWN,
        "inaturalist2018": INATURALIST | _OWN,
    }


METHOD = CudaBalancedContrast
