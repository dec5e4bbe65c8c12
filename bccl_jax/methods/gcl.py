"""Gaussian clouded logits (GCL, Li et al. 2022), both stages.

Softmax cross-entropy of cosines of which a random amount is taken, the larger the rarer the class:
a cloud of logits around each, so that rare classes get a wider margin on both sides (Eq. 5 to 7).
The second stage trains the classifier on, over frozen features and on classes drawn by their
effective numbers of images, with the same clouds, a margin that is taken from the label's cosine,
and less weight for images that are nearly certain. It costs no more than cross-entropy and keeps
nothing beside the class counts; `refit_epochs` 0 is the first stage alone.

Where images are mixed the public code draws noise for each of the two labels; here both have the
same.

Family: losses
Paper: Li, Cheung, Lu, "Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment", CVPR
  2022.
Equation: `CE(s (cos_j - nu |eps_j| d_j))`, `d_j = (log n_max - log n_j) / max(.)`; then `(1 - p_y)`
  times the same with a margin on the label.
State: the class counts, and the scale of the stage.
Printed: 54.9 on ImageNet-LT and 72.0 on iNaturalist 2018, 200 epochs; by its repository 54.9 and
  71.6, the first stage alone 52.9 and 70.3.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp

from bccl_jax.data.sampling import SAMPLERS
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.losses.clouds import clouded_logits, draw_noise
from bccl_jax.losses.focal import focal_margin_loss
from bccl_jax.methods import base
from bccl_jax.methods.shared.refitting import Refit, classify_frozen
from bccl_jax.models.heads import CLASSIFIERS
from bccl_jax.settings.bounds import Choice, Real, Whole


@dataclasses.dataclass(frozen=True)
class GaussianClouds(Refit):
    """Both stages on the strong view; s of the first one is `classifier_scale`.

    Of `published` the second stage is what the released scripts do by themselves. They draw classes
    equally often there, the paper by effective numbers; of up to 500 images both are nearly one.

    Attributes:
      classifier: "cosine": the clouds are of cosines.
      cloud: nu, the factor of the noise of the class with the fewest images.
      refit_epochs: of the second stage, the last ones of the run; 0 for the first stage alone.
      refit_scale: s of the second stage, by which it predicts from then on.
      refit_margin: taken from the cosine of the label in the second stage.
      refit_focus: power of 1 - p, the factor of an image whose label has the probability p there.
    """

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Its views are crop and mirror alone, and every batch is mixed in both stages.
        "cifar": {
            # 200, then 30.
            "epochs": 230,
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
            "method.refit_sampler": "class_balanced",
        },
    }

    classifier: Annotated[str, Choice(CLASSIFIERS)] = "cosine"
    cloud: Annotated[float, Real(0, 1000)] = 0.5
    refit_epochs: Annotated[int, Whole(0, 1_000_000)] = 30
    # 0.2 of it, times 0.2, is what the script makes of its flag.
    refit_learning_rate: Annotated[float, Real(1e-30, 1e30, also=(0,))] = 0.008
    refit_sampler: Annotated[str, Choice(SAMPLERS)] = "effective_number"
    refit_scale: Annotated[float, base.CLASSIFIER_SCALE] = 20.0
    refit_margin: Annotated[float, Real(0, 2)] = 0.1
    refit_focus: Annotated[float, Real(0, 100)] = 1.0

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if self.classifier != "cosine":
            raise ConfigError(
                f"config.method.classifier is {self.classifier!r}, but the clouds of gcl are of "
                "cosines; write 'cosine'"
            )
        if self.start_from and not self.refit_epochs:
            raise ConfigError(
                "config.method.start_from names the first stage and config.method.refit_epochs is "
                "0, so that nothing would be trained; raise the latter"
            )

    def stages(self, epochs):
        """See `base.Method.stages`."""
        return super().stages(epochs) if self.refit_epochs else (base.Stage(epochs),)

    def init(self, key, context):
        """Returns {"class_counts": int32 [K], "scale": float32 []}."""
        del key
        return {
            "class_counts": jnp.asarray(context.class_counts, jnp.int32),
            "scale": jnp.float32(self.classifier_scale),
        }

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        again = bool(progress.stage)
        forward = classify_frozen if again else base.classify
        logits, batch_stats = apply(params, forward, batch.views[0])
        clouded = clouded_logits(
            logits / self.classifier_scale,
            draw_noise(key, logits.shape),
            state["class_counts"],
            cloud=self.cloud,
        )
        scale = self.refit_scale if again else self.classifier_scale
        if again:
            loss = focal_margin_loss(
                clouded,
                batch.truth,
                scale=scale,
                margin=self.refit_margin,
                focus=self.refit_focus,
            )
        else:
            loss = cross_entropy_loss(scale * clouded, batch.truth)
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state | {"scale": jnp.float32(scale)}, batch_stats)

    def logits(self, apply, params, images, state):
        """See `base.Method.logits`; by the scale of the stage that was trained last."""
        logits = super().logits(apply, params, images, state)
        return logits * (state["scale"] / self.classifier_scale)


METHOD = GaussianClouds
