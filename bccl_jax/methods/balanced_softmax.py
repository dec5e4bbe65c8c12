"""Balanced softmax (Ren et al. 2020): cross-entropy of the logits plus the log class counts.

Family: losses
Paper: Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020.
Equation: `CE(f + log n)`, by the class counts n.
State: the counts.
Printed: none looked up.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from bccl_jax.losses.classification import balanced_softmax_loss
from bccl_jax.methods import base


@dataclasses.dataclass(frozen=True)
class BalancedSoftmax(base.Method):
    """The loss of Eq. 4 of Ren et al. on the strong view.

    A constant, the log of all images, apart it is that of `logit_adjustment`: the same training.
    """

    soft_labels: ClassVar[bool] = True

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`."""
        return True

    def init(self, key, context):
        """Returns {"class_counts": int32 [K]}."""
        del key
        return {"class_counts": jnp.asarray(context.class_counts, jnp.int32)}

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key, progress
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        loss = balanced_softmax_loss(logits, batch.truth, state["class_counts"])
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)


METHOD = BalancedSoftmax
