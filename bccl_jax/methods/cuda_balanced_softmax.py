"""CUDA (Ahn et al. 2023) over balanced softmax; `cuda` tells how it works.

Family: images
Paper: Ahn, Ko, Yun, "CUDA: Curriculum of Data Augmentation for Long-Tailed Recognition", ICLR
  2023.
Equation: `CE(f + log n)`, of images augmented by the level of their class.
State: the level of each class, and what `balanced_softmax` keeps.
Printed: none looked up.
"""

import dataclasses

from bccl_jax.methods.balanced_softmax import BalancedSoftmax
from bccl_jax.methods.shared.curriculum import Curriculum


@dataclasses.dataclass(frozen=True)
class CudaBalancedSoftmax(Curriculum, BalancedSoftmax):
    """Balanced softmax of the strong view under a curriculum; the settings are those of both."""


METHOD = CudaBalancedSoftmax
