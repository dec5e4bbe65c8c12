"""CUDA (Ahn et al. 2023) over plain cross-entropy; see `methods.shared.curriculum`."""

import dataclasses

from bccl_jax.methods.cross_entropy import CrossEntropy
from bccl_jax.methods.shared.curriculum import Curriculum


@dataclasses.dataclass(frozen=True)
class CudaCrossEntropy(Curriculum, CrossEntropy):
    """Cross-entropy of the strong view under a curriculum; the settings are those of both."""


METHOD = CudaCrossEntropy
