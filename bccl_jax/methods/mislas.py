"""MiSLAS (Zhong et al. 2021): MixUp, then labels smoothed the more the more frequent their class.

Made for calibration: networks of long-tailed data are too sure, of frequent classes above all. The
first stage mixes every batch. The second one trains the classifier, slowly, and a scale of each
class's logit on balanced classes, with label-aware smoothing. The backbone is frozen, but its batch
statistics are not: features are those of the batch's own, and the running ones, by which it
predicts in the end, move to those of balanced classes ("shift" of batch normalisation).

Family: classifiers
Paper: Zhong et al., "Improving Calibration for Long-Tailed Recognition", CVPR 2021.
Equation: `CE(f)` of mixed images, then `CE(s * f, (1 - e_y) y + e_y / K)` of classifier and scales
  s, class-balanced; `e_y = tail + (head - tail) sin((n_y - n_min) pi / (2 (n_max - n_min)))`.
State: the smoothing of each class.
Printed: 47.0 / 52.3 / 63.2 on CIFAR-100-LT at 100 / 50 / 10, with an ECE of 4.83 / 2.47 / 1.73;
  82.5 / 85.7 / 90.0 on CIFAR-10-LT, ECE 3.66 / 2.01 / 1.20; 52.7 on ImageNet-LT, ECE 1.78; 71.6 on
  iNaturalist 2018, ECE 7.67. The first stage alone has 39.5 / 45.4 / 59.1 on CIFAR-100-LT, ECE
  8.82 / 4.33 / 5.24.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax

from bccl_jax.augment.mixing import Mixing, mix
from bccl_jax.errors import ConfigError
from bccl_jax.losses.class_smoothing import FORMS, class_smoothing, smoothed_by_class
from bccl_jax.losses.classification import cross_entropy_loss, smoothed
from bccl_jax.methods import base
from bccl_jax.methods.shared.refitting import Refit, classify_frozen
from bccl_jax.models.heads import ScaledClassifier
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Choice, Real

_PHOTOGRAPHS = {
    "batch_size": 256,
    "augment.strong.policy": "none",
    "optimizer.learning_rate": 0.1,
    "optimizer.warmup_epochs": 0,
    "optimizer.schedule": "cosine_per_epoch",
    "method.mix_alpha": 0.2,
    "method.smooth_head": 0.3,
    "method.smooth_tail": 0.0,
    "method.classifier_rate": 0.05,
}
_CIFAR = {
    # 200, then 10.
    "epochs": 210,
    "batch_size": 128,
    "augment.strong.policy": "none",
    "augment.strong.cutout": 0,
    "optimizer.learning_rate": 0.1,
    "optimizer.weight_decay": 2e-4,
    "optimizer.warmup_epochs": 5,
    "optimizer.schedule": "step",
    "optimizer.step_epochs": (160, 180),
    "optimizer.step_factor": 0.1,
}


@dataclasses.dataclass(frozen=True)
class MiSLAS(Refit):
    """Both stages; those of the settings that are not here are those of `Refit`.

    Of `published` "cifar" is for CIFAR-100-LT at 100. At 50 its smoothing is 0.3 and 0, at 10 it is
    0.2 and 0 with a classifier's rate of 0.1.

    Attributes:
      mix_alpha: of the Beta(alpha, alpha) that MixUp's share is drawn from in the first stage; 0
        for no MixUp.
      smooth_head: share that a label of the most frequent class gives away in the second stage.
      smooth_tail: that of the rarest one.
      smooth_form: how it falls from the one to the other (`losses/class_smoothing.py`).
      shift_statistics: whether the second stage goes on with batch statistics.
      classifier_rate: learning rate of the classifier over that of the scales.
    """

    soft_labels: ClassVar[bool] = False
    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        base.SOFTENING, "mislas mixes images and smooths labels itself, each in a stage of its own"
    )
    fitted: ClassVar[tuple[str, ...]] = ("backbone", "heads_classifier/classifier")
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": _CIFAR,
        "cifar10": _CIFAR
        | {
            "method.smooth_head": 0.3,
            "method.smooth_tail": 0.0,
            "method.shift_statistics": False,
            "method.classifier_rate": 0.5,
        },
        # 180 and 200, then 10.
        "photographs": _PHOTOGRAPHS | {"epochs": 190, "optimizer.weight_decay": 5e-4},
        "inaturalist2018": _PHOTOGRAPHS | {"epochs": 210, "optimizer.weight_decay": 1e-4},
    }

    mix_alpha: Annotated[float, Real(0.001, 1000, also=(0,))] = 1.0
    smooth_head: Annotated[float, Real(0, 1, open_end=True)] = 0.4
    smooth_tail: Annotated[float, Real(0, 1, open_end=True)] = 0.1
    smooth_form: Annotated[str, Choice(FORMS)] = "concave"
    shift_statistics: bool = True
    classifier_rate: Annotated[float, Real(0, 1)] = 0.2

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if self.smooth_tail > self.smooth_head:
            raise ConfigError(
                f"config.method.smooth_tail is {self.smooth_tail:g} and config.method.smooth_head "
                f"{self.smooth_head:g}, so that rare classes would be smoothed more; lower the "
                "former"
            )

    def stages(self, epochs):
        """See `base.Method.stages`."""
        first, second = super().stages(epochs)
        rates = {"heads_classifier/classifier": self.classifier_rate}
        return first, dataclasses.replace(second, rates=rates)

    def heads(self, context):
        """See `base.Method.heads`."""
        classifier = super().heads(context)["classifier"]
        return {"classifier": ScaledClassifier(classifier, context.num_classes)}

    def init(self, key, context):
        """Returns {"smoothing": float32 [K]}."""
        del key
        smoothing = class_smoothing(
            context.class_counts,
            head=self.smooth_head,
            tail=self.smooth_tail,
            form=self.smooth_form,
        )
        return {"smoothing": smoothing}

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        images, labels = batch.views[0], batch.labels
        if progress.stage:
            forward = _classify_shifting if self.shift_statistics else classify_frozen
            labels = smoothed_by_class(labels, state["smoothing"])
        else:
            forward = base.classify
            if self.mix_alpha:
                onehot = smoothed(labels, len(state["smoothing"]), 0.0)
                images, labels = mix(images, onehot, key, Mixing(mixup_alpha=self.mix_alpha))
        logits, batch_stats = apply(params, forward, images)
        loss = cross_entropy_loss(logits, labels)
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)


def _classify_shifting(network: Network, images: jax.Array) -> jax.Array:
    """A classifier over a backbone of which the batch statistics alone are renewed."""
    features = jax.lax.stop_gradient(network.backbone(images, train=True))
    return network.heads["classifier"](features)


METHOD = MiSLAS
