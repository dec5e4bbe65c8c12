"""Gaussian clouded logits (GCL, Li et al. 2022), its first stage.

Softmax cross-entropy of cosines of which a random amount is taken, the larger the rarer the class:
a cloud of logits around each, so that rare classes get a wider margin on both sides (Eq. 5 to 7).
It costs no more than cross-entropy and keeps no state beside the class counts. The paper's second
stage, which trains the classifier anew, is not part of it. Its public code mixes images by MixUp
and draws noise for each of the two labels; here both have the same.

Family: losses
Paper: Li, Cheung, Lu, "Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment", CVPR
  2022.
Equation: `CE(s (cos_j - nu |eps_j| d_j))`, `d_j = (log n_max - log n_j) / max(.)`.
State: the class counts.
Printed: 54.9 on ImageNet-LT and 72.0 on iNaturalist 2018, both stages, 200 epochs.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp

from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.losses.clouds import clouded_logits, draw_noise
from bccl_jax.methods import base
from bccl_jax.models.heads import CLASSIFIERS
from bccl_jax.settings.bounds import Choice, Real


@dataclasses.dataclass(frozen=True)
class GaussianClouds(base.Method):
    """The loss of the first stage on the strong view; s is `classifier_scale`.

    Attributes:
      classifier: "cosine": the clouds are of cosines.
      cloud: nu, the factor of the noise of the class with the fewest images.
    """

    soft_labels: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Its views are crop and mirror alone, and every batch is mixed.
        "cifar": {
            "epochs": 200,
            "batch_size": 64,
            "augment.mixup_alpha": 1.0,
            "augment.strong.policy": "none",
            "augment.strong.cutout": 0,
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 2e-4,
            "optimizer.warmup_epochs": 5,
            "optimizer.schedule": "step",
            "optimizer.step_epochs": (160, 180),
            "optimizer.step_factor": 0.1,
        },
    }

    classifier: Annotated[str, Choice(CLASSIFIERS)] = "cosine"
    cloud: Annotated[float, Real(0, 1000)] = 0.5

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if self.classifier != "cosine":
            raise ConfigError(
                f"config.method.classifier is {self.classifier!r}, but the clouds of gcl are of "
                "cosines; write 'cosine'"
            )

    def init(self, key, context):
        """Returns {"class_counts": int32 [K]}."""
        del key
        return {"class_counts": jnp.asarray(context.class_counts, jnp.int32)}

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del progress
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        noise = draw_noise(key, logits.shape)
        clouded = clouded_logits(
            logits / self.classifier_scale, noise, state["class_counts"], cloud=self.cloud
        )
        loss = cross_entropy_loss(self.classifier_scale * clouded, batch.truth)
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)


METHOD = GaussianClouds
