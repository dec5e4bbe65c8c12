"""Logit adjustment (Menon et al. 2021): cross-entropy of the logits plus the log prior.

Family: losses
Paper: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.
Equation: `CE(f + log pi)`, by the class prior pi.
State: the prior.
Printed: none at the harness's budget; its recipe takes 1,419 epochs.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from bccl_jax.losses.classification import logit_compensation_loss
from bccl_jax.methods import base


@dataclasses.dataclass(frozen=True)
class LogitAdjustment(base.Method):
    """The loss of Eq. 10 of Menon et al. with tau = 1, which is Eq. 8 of BCCL, on the strong view.

    The post-hoc form is plain cross-entropy evaluated with `config.eval.logit_adjustment = 1`.
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
        loss = logit_compensation_loss(logits, batch.truth, state["class_counts"])
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)


METHOD = LogitAdjustment
