"""CUDA (Ahn et al. 2023) over balanced softmax; see `methods.shared.curriculum`."""

import dataclasses

from bccl_jax.methods.balanced_softmax import BalancedSoftmax
from bccl_jax.methods.shared.curriculum import Curriculum


@dataclasses.dataclass(frozen=True)
class CudaBalancedSoftmax(Curriculum, BalancedSoftmax):
    """Balanced softmax of the strong view under a curriculum; the settings are those of both."""


METHOD = CudaBalancedSoftmax
