"""Supervised contrastive learning (Khosla et al. 2020) with a classifier trained beside it.

The row "SCL" of Kim & Ko 2025: Eq. 2 on two SimAugment views, plain cross-entropy on a strong one,
in one network and one pass over three views. A step costs what one of `bccl` does without centroids
and queue.

Family: contrast
Paper: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020.
Equation: `CE(f) + L_SCL`, Eq. 2 of Kim & Ko 2025.
State: none.
Printed: 49.8 on ImageNet-LT and 66.4 on iNaturalist 2018 by Kim & Ko 2025.
"""

import dataclasses

from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.losses.contrastive import supervised_contrastive_loss
from bccl_jax.methods.shared.beside import Beside


@dataclasses.dataclass(frozen=True)
class SupervisedContrast(Beside):
    """Eq. 2 of Kim & Ko; the settings are those of `Beside`."""

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`."""
        return False

    def contrast(self, embeddings, labels, beside):
        """See `Beside.contrast`."""
        del beside
        return supervised_contrastive_loss(embeddings, labels, temperature=self.temperature)

    def classification(self, logits, truth, state):
        """See `Beside.classification`; without the prior."""
        del state
        return cross_entropy_loss(logits, truth)


METHOD = SupervisedContrast
