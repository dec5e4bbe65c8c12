"""CUDA (Ahn et al. 2023) over LDAM-DRW; see `methods.shared.curriculum`."""

import dataclasses

from bccl_jax.methods.ldam_drw import LdamDrw
from bccl_jax.methods.shared.curriculum import Curriculum


@dataclasses.dataclass(frozen=True)
class CudaLdamDrw(Curriculum, LdamDrw):
    """LDAM-DRW of the strong view under a curriculum; the settings are those of both."""


METHOD = CudaLdamDrw
