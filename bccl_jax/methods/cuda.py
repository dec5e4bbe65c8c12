"""CUDA (Ahn et al. 2023), a curriculum of data augmentation, over plain cross-entropy.

Every class has a level from 0 to 10. Of its images one in two, drawn anew each time, goes through
as many augmenting operations as its level, as strong as that (`augment/curriculum.py`), after crop,
flip and policy, before Cutout. The classified view alone is changed; what is contrasted stays as it
is, and so do loss, heads and state of the method below. After each epoch but the last every class
is tested at all levels up to its own, at level s on 10 (s + 1) of its training images, drawn with
replacement, under the classified view and without a coin. Where more than 60 % are predicted right
at each of these levels it rises by one, else it falls by one. Levels start at 0.

State beyond the method's own: the levels. A step costs a round of operations over the batch for
each level up to the highest one that is drawn in it; the tests a forward pass over 10 images of a
class at level 0, 100 at level 3 and 660 at level 10.

The authors' code tests before each epoch, the untrained network too. Its code for photographs
clears the counts once it has come to the first class, so that no other one ever rises; here all do.

Family: images
Paper: Ahn, Ko, Yun, "CUDA: Curriculum of Data Augmentation for Long-Tailed Recognition", ICLR
  2023.
Equation: `CE(f)`, of images augmented by the level of their class.
State: the level of each class.
Printed: none looked up over plain cross-entropy.
"""

import dataclasses

from bccl_jax.methods.cross_entropy import CrossEntropy
from bccl_jax.methods.shared.curriculum import Curriculum


@dataclasses.dataclass(frozen=True)
class CudaCrossEntropy(Curriculum, CrossEntropy):
    """Cross-entropy of the strong view under a curriculum; the settings are those of both."""


METHOD = CudaCrossEntropy
