"""Plain cross-entropy: the baseline that knows nothing of the long tail.

Family: losses
Paper: none; the baseline of all.
Equation: `CE(f)`, of the logits f.
State: none.
Printed: none.
"""

import dataclasses
from typing import ClassVar

from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.methods import base


@dataclasses.dataclass(frozen=True)
class CrossEntropy(base.Method):
    """Softmax cross-entropy of the strong view."""

    soft_labels: ClassVar[bool] = True

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key, progress
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        loss = cross_entropy_loss(logits, batch.truth)
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)


METHOD = CrossEntropy
