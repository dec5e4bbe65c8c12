"""CUDA (Ahn et al. 2023) over BCCL, on its strong view alone; `cuda` tells how it works.

Queues and centroids are of the SimAugment views, and so of no augmentation of CUDA's; with
`view_set` "strong+sim" the strong view, which is contrasted there, enters them as it is augmented.

Family: images
Paper: Ahn, Ko, Yun, "CUDA: Curriculum of Data Augmentation for Long-Tailed Recognition", ICLR
  2023.
Equation: that of `bccl`, whose strong view is augmented by the level of the class.
State: the level of each class, and what `bccl` keeps.
Printed: none.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from bccl_jax.methods.bccl import BCCL
from bccl_jax.methods.shared.curriculum import Curriculum


@dataclasses.dataclass(frozen=True)
class CudaBCCL(Curriculum, BCCL):
    """BCCL, its classified view under a curriculum; the settings are those of both."""

    # Nobody has published such runs.
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


METHOD = CudaBCCL
