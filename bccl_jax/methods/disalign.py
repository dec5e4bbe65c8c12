"""DisAlign (Zhang et al. 2021): the logits of a trained network aligned with balanced classes.

Each class has a magnitude and a margin, and each image a confidence, a sigmoid of a linear function
of its features, that says how much of both it gets: three small arrays, trained by cross-entropy
whose weights more than make up for the class prior, on the images as they come. All else is frozen,
running statistics included, as the features would move with the ones of a batch.

The magnitudes start at 0, so that the second stage starts as the first one ended. The authors'
released code for classification writes the map otherwise than their paper, and starts with the
logits times 1 + confidence: the same predictions, each more certain.

Family: classifiers
Paper: Zhang et al., "Distribution Alignment: A Unified Framework for Long-tail Visual Recognition",
  CVPR 2021.
Equation: `CE(f)`, then `w_y CE((1 + c(x) a) * f + c(x) b)` of a, b and c alone, w ~ pi^(-1.2) of
  mean 1.
State: the class weights.
Printed: 52.9 on ImageNet-LT and 69.5 on iNaturalist 2018.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import numpy as np

from bccl_jax.data.sampling import SAMPLERS
from bccl_jax.losses.classification import cross_entropy_loss, weighted_cross_entropy_loss
from bccl_jax.losses.margins import inverse_count_weights
from bccl_jax.methods import base
from bccl_jax.methods.shared.refitting import Refit, classify_frozen
from bccl_jax.models.heads import AlignedClassifier
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Choice, Real


@dataclasses.dataclass(frozen=True)
class DisAlign(Refit):
    """Section 3 of Zhang et al.; of the settings of `Refit` the sampler is another one.

    Attributes:
      weighting: rho of the weights pi^(-rho); 0 weighs all classes alike.
      magnitude_start: a at the start; with 0 the map is the identity, 1 is the released code's. The
        evaluations of the first stage see it too, and predict the same.
    """

    fitted: ClassVar[tuple[str, ...]] = ("backbone", "heads_classifier/classifier")
    refitted: ClassVar[tuple[str, ...]] = tuple(
        f"heads_classifier/{name}" for name in ("magnitude", "margin", "confidence")
    )
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Of ResNeXt-50; 90 epochs, then 10.
        "photographs": {
            "epochs": 100,
            "batch_size": 256,
            "model.zero_init_residual": True,
            "augment.strong.policy": "none",
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 5e-4,
            "optimizer.warmup_epochs": 0,
            "optimizer.schedule": "cosine_per_epoch",
        },
    }

    refit_sampler: Annotated[str, Choice(SAMPLERS)] = "instance_balanced"
    weighting: Annotated[float, Real(0, 10)] = 1.2
    magnitude_start: Annotated[float, Real(-1, 100)] = 0.0

    def carried_prior(self, drawn, class_counts):
        """See `base.Method.carried_prior`; the weights are part of it."""
        return drawn * np.asarray(inverse_count_weights(class_counts, self.weighting), np.float64)

    def heads(self, context):
        """See `base.Method.heads`."""
        classifier = super().heads(context)["classifier"]
        aligned = AlignedClassifier(classifier, context.num_classes, self.magnitude_start)
        return {"classifier": aligned}

    def init(self, key, context):
        """Returns {"class_weights": float32 [K]}."""
        del key
        return {"class_weights": inverse_count_weights(context.class_counts, self.weighting)}

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key
        forward = classify_frozen if progress.stage else _classify_unaligned
        logits, batch_stats = apply(params, forward, batch.views[0])
        if progress.stage:
            loss = weighted_cross_entropy_loss(logits, batch.truth, state["class_weights"])
        else:
            loss = cross_entropy_loss(logits, batch.truth)
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)


def _classify_unaligned(network: Network, images: jax.Array) -> jax.Array:
    features = network.backbone(images, train=True)
    return network.heads["classifier"].unaligned(features)


METHOD = DisAlign
