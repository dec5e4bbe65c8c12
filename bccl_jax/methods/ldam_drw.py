"""LDAM-DRW (Cao et al. 2019): a larger margin for rarer classes, and late a larger weight.

Family: losses
Paper: Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS
  2019.
Equation: `w_y CE(s (cos - m_y))`, m of the label alone and proportional to n^(-1/4); w by effective
  numbers from 4/5 of the run on.
State: the class counts and weights.
Printed: about 42 on CIFAR-100-LT at imbalance 100.
"""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
import numpy as np

from bccl_jax.errors import ConfigError
from bccl_jax.losses.margins import effective_number_weights, ldam_loss
from bccl_jax.methods import base
from bccl_jax.models.heads import CLASSIFIERS
from bccl_jax.settings.bounds import Choice, Real


@dataclasses.dataclass(frozen=True)
class LdamDrw(base.Method):
    """The loss of Eq. 13 of Cao et al. on the strong view, deferred re-weighting on top.

    The scale s of the logits in that loss is `classifier_scale`.

    Attributes:
      classifier: "cosine": the margins are of cosines.
      max_margin: of the class with the fewest images; others have it times (fewest / n)^(1/4).
      beta: of the effective number of images, by whose inverse classes are weighted.
      deferred: share of the epochs after which they are; 160 of 200 in the paper, 1 for never.
    """

    classifier: Annotated[str, Choice(CLASSIFIERS)] = "cosine"
    max_margin: Annotated[float, Real(0, 1)] = 0.5
    beta: Annotated[float, Real(0, 1, open_end=True)] = 0.9999
    deferred: Annotated[float, Real(0, 1)] = 0.8

    def validate(self, epochs):
        """See `base.Method.validate`."""
        if self.classifier != "cosine":
            raise ConfigError(
                f"config.method.classifier is {self.classifier!r}, but the margins of ldam_drw are "
                "of cosines; write 'cosine'"
            )

    def carried_prior(self, drawn, class_counts):
        """See `base.Method.carried_prior`; the late weights are part of it, the margins are not."""
        if self.deferred == 1:
            return drawn
        return drawn * np.asarray(effective_number_weights(class_counts, self.beta), np.float64)

    def init(self, key, context):
        """Returns class counts int32 [K], weights float32 [K], and the epoch that they wait for."""
        del key
        counts = jnp.asarray(context.class_counts, jnp.int32)
        return {
            "class_counts": counts,
            "class_weights": effective_number_weights(counts, self.beta),
            "deferred_epoch": jnp.int32(round(self.deferred * context.epochs)),
        }

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        weighted = progress.epoch >= state["deferred_epoch"]
        loss = ldam_loss(
            logits / self.classifier_scale,
            batch.labels,
            state["class_counts"],
            max_margin=self.max_margin,
            scale=self.classifier_scale,
            class_weights=jnp.where(weighted, state["class_weights"], 1.0),
        )
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)


METHOD = LdamDrw
