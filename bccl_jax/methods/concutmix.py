"""Contrastive CutMix (ConCutMix, Pan et al. 2024): BCL with a CutMix whose labels know semantics.

To BCL (`bcl`) it adds three things. A second batch, in which every class comes equally often, is
pasted into the classified view by CutMix, with probability 1/2 a batch and one share
lambda ~ Beta(1, 1), corrected to the area; the contrasted views stay as they are. In the second
half of a run the label y of a mixed image moves towards the classes whose prototypes are near,
(1 - w) y + w s (`losses.semantic_labels`). And the classification loss has a part of the log prior
alone. No state is kept. A step costs what one of `bcl` does, and the view of a second image.

Where the authors' code differs. Between its feature and a centre at distance 0 it divides by zero;
here the centre has the whole of s. Its projector's batch statistics are of all three views; here,
as in `bcl`, of the contrasted ones, and the classified view is projected by running statistics. Of
a linear classifier, as on CIFAR, its MLP sees the weights the wrong way round: a row for each
feature, K wide. The first K of these rows, repeated from device to device, are its prototypes, none
of which is of a class. Here they are of the classes' rows, as in `bcl` and as its own cosine
classifier has them.

Family: images
Paper: Pan et al., "Enhanced Long-Tailed Recognition with Contrastive CutMix Augmentation", 2024
  (arXiv:2407.04911).
Equation: that of `bcl`, its first term by soft labels.
State: none.
Printed: 53.16 on CIFAR-100-LT at imbalance 100, 58.49 on ImageNet-LT.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp

from bccl_jax.augment.mixing import cutmix_with
from bccl_jax.losses.classification import logit_compensation_loss, mixed
from bccl_jax.losses.semantic_labels import semantically_consistent_labels
from bccl_jax.methods import base
from bccl_jax.methods.seam.prior import over_prior
from bccl_jax.methods.shared.prototypes import CIFAR, PHOTOGRAPHS, WithPrototypes
from bccl_jax.models.heads import l2_normalize
from bccl_jax.settings.bounds import Real, Whole

# By the scripts in the repository's `run_files`; those of ImageNet-LT and iNaturalist 2018.
_PHOTOGRAPHS = PHOTOGRAPHS | {"epochs": 100, "method.prior_factor": 0.99}
_CIFAR = CIFAR | {
    "augment.strong.cutout": 0,
    "augment.sim.scale": (0.2, 1.0),
    "augment.sim.blur_prob": 0.5,
}


@dataclasses.dataclass(frozen=True)
class ConCutMix(WithPrototypes):
    """BCL, and on its strong view class-balanced CutMix with semantically consistent labels.

    Of `published` "cifar" is CIFAR-100-LT at imbalance 100; prior_factor is 0.75 at 50 and 1 at 10.
    "cifar10" is at 100 too. A ResNeXt-50 trains for 90 epochs on ImageNet-LT.

    Attributes:
      cutmix_probability: that the second batch is pasted into a batch.
      mix_alpha: of the Beta(alpha, alpha) that lambda is drawn from.
      semantic_after: share of the epochs after which labels are semantically consistent; 1 for
        never.
      omega: the scale of w.
      num_nearest: classes that s has, all where there are fewer.
      prior_factor: tau, the part of the log prior that the logits are compensated by.
    """

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": _CIFAR,
        "cifar10": _CIFAR
        | {"method.omega": 2 / 255, "method.num_nearest": 3, "method.prior_factor": 0.85},
        "photographs": _PHOTOGRAPHS
        | {
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 5e-4,
            "method.semantic_after": 0.7,
            "method.omega": 200 / 255,
        },
        # Each half of a batch goes through the network by itself.
        "inaturalist2018": _PHOTOGRAPHS
        | {
            "accumulation": 2,
            "optimizer.learning_rate": 0.2,
            "optimizer.weight_decay": 1e-4,
            "method.semantic_after": 0.8,
            "method.omega": 1628 / 255,
        },
    }
    soft_labels: ClassVar[bool] = False
    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        base.SOFTENING, "concutmix mixes the classified view itself, and its labels with it"
    )

    cutmix_probability: Annotated[float, Real(0, 1)] = 0.5
    mix_alpha: Annotated[float, Real(0.001, 1000)] = 1.0
    semantic_after: Annotated[float, Real(0, 1)] = 0.5
    omega: Annotated[float, Real(0, 1000)] = 20 / 255
    num_nearest: Annotated[int, Whole(1, 2**20)] = 30
    prior_factor: Annotated[float, Real(0, 10)] = 0.9

    @property
    def streams(self):
        """See `base.Method.streams`."""
        return ("class_balanced",)

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`."""
        return self.prior_factor > 0

    def carried_prior(self, drawn, class_counts):
        """See `base.Method.carried_prior`; the loss has a part of it."""
        return over_prior(drawn, class_counts, self.prior_factor)

    def init(self, key, context):
        """Returns {"class_counts": int32 [K], "semantic_epoch": int32 []}."""
        epoch = jnp.int32(round(self.semantic_after * context.epochs))
        return {**super().init(key, context), "semantic_epoch": epoch}

    def beside(self, network, features):
        """The prototypes and, for labels, centres [K, D] and projections [B, D] of any length."""
        centers = self.centers(network)
        projections = network.heads["projector"].unnormalized(features, train=False)
        return l2_normalize(centers), centers, projections

    def classification(self, logits, truth, state):
        """See `Beside.classification`; with a part of the prior."""
        return logit_compensation_loss(
            logits, truth, state["class_counts"], factor=self.prior_factor
        )

    def _mixed(self, batch, key):
        (other,) = batch.others
        classified, *contrasted = batch.views
        classified, share = cutmix_with(
            classified,
            other.views[0],
            key,
            alpha=self.mix_alpha,
            probability=self.cutmix_probability,
        )
        return (classified, *contrasted), share

    def network_views(self, batch, key):
        """See `base.Method.network_views`."""
        return self._mixed(batch, key)[0]

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        (other,) = batch.others
        views, share = self._mixed(batch, key)
        (logits, embeddings, beside), batch_stats = self.run(apply, params, views)
        prototypes, centers, projections = beside
        counts = state["class_counts"]
        labels = mixed(batch.labels, other.labels, share, len(counts))
        semantic = semantically_consistent_labels(
            labels, projections, centers, counts, omega=self.omega, num_nearest=self.num_nearest
        )
        moves = (share < 1) & (progress.epoch > state["semantic_epoch"])
        truth = jnp.where(moves, semantic, labels)
        loss, metrics = self.combine(logits, embeddings, prototypes, batch.labels, truth, state)
        return loss, (metrics | {"kept_share": share}, state, batch_stats)


METHOD = ConCutMix
