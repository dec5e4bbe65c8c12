"""CUDA (Ahn et al. 2023) over LDAM-DRW; `cuda` tells how it works.

Family: images
Paper: Ahn, Ko, Yun, "CUDA: Curriculum of Data Augmentation for Long-Tailed Recognition", ICLR
  2023.
Equation: that of `ldam_drw`, of images augmented by the level of their class.
State: the level of each class, and what `ldam_drw` keeps.
Printed: none looked up.
"""

import dataclasses

from bccl_jax.methods.ldam_drw import LdamDrw
from bccl_jax.methods.shared.curriculum import Curriculum


@dataclasses.dataclass(frozen=True)
class CudaLdamDrw(Curriculum, LdamDrw):
    """LDAM-DRW of the strong view under a curriculum; the settings are those of both."""


METHOD = CudaLdamDrw
