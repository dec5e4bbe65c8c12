"""ProCo, probabilistic contrastive learning (Du et al. 2024).

One strong view is classified, two SimAugment views are projected. An embedding z is contrasted with
the distributions of the classes instead of with other embeddings: class c has the mean direction
mu_c and the concentration `kappa_c = p R / (1 - R^2)`, by the length R of its mean (p dimensions),
and its contrast logit is (Eq. 20)

    log C_p(kappa_c) - log C_p(||kappa_c mu_c + z / tau||)

with C_p the normaliser of the von Mises-Fisher distribution (`losses/von_mises_fisher.py`). The
loss (Eq. 24) is the cross-entropy of the classifier's logits plus the log prior, and beside it the
mean over both views of the same of the contrast logits.

Kept are two running means of each class's embeddings, [K, D] each: `fresh`, of this epoch, and
`known`, of the epoch before and this one, which is contrasted with. As in the released code (in the
paper the known ones stay as they are) both take a view in before it is compared, one view after the
other, so that an embedding is part of its class's mean; between two epochs the fresh means become
the known ones. Here that happens in the first step of an epoch, so that a resumed run needs nothing
but the state.

Beside cross-entropy a step runs three views instead of one, a small projector, and of each view
three products of the batch with the classes; nothing grows with the number of contrasted pairs.

The released code differs in two places:
- It sums I_v from twice its order on alone, which is off where kappa is large against p (log I by
  0.08 at p = 16 and kappa 61, by 0.03 at p = 128 and kappa 3,162), and cuts a ratio above 1 that it
  then has in the gradient. Here both are exact. Most of the error cancels in a logit: 1e-4 are left
  of it at p = 128, 0.04 at p = 16.
- A class of which nothing was seen yet has a random mean of length 0.9 there, a direction that
  embeddings are then pushed away from. Here its mean is 0, as in the paper, and its distribution
  uniform.

Family: contrast
Paper: Du et al., "Probabilistic Contrastive Learning for Long-Tailed Visual Recognition", TPAMI
  2024.
Equation: `CE(f + log pi) + CE(g + log pi)` of the contrast logits g, Eq. 20 and 24.
State: two running means of each class's embeddings, [K, D] each.
Printed: 52.8 on CIFAR-100-LT at imbalance 100, 57.3 on ImageNet-LT.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp

from bccl_jax.clustering.class_means import ClassMeans, class_means, merged, no_means
from bccl_jax.losses.classification import logit_compensation_loss
from bccl_jax.losses.probabilistic import (
    LARGEST_KAPPA,
    concentrations,
    probabilistic_contrastive_loss,
)
from bccl_jax.methods import base
from bccl_jax.methods.shared.one_pass import forward_views
from bccl_jax.models.heads import PROJECTOR_STARTS, Projector
from bccl_jax.settings.bounds import Choice, Real, Whole

# Of ImageNet-LT.
_PHOTOGRAPHS = {
    "epochs": 90,
    "batch_size": 256,
    "optimizer.learning_rate": 0.1,
    "optimizer.weight_decay": 5e-4,
    "optimizer.schedule": "cosine_per_epoch",
    "optimizer.warmup_epochs": 0,
    "optimizer.clip_norm": 1.0,
    "method.classifier": "cosine",
    "method.temperature": 0.07,
    "method.projector_hidden": 2048,
    "method.projector_dim": 1024,
    "method.projector_start": "pytorch",
}


@flax.struct.dataclass
class ProCoState:
    """What is known of the classes.

    Attributes:
      class_counts: int32 [K], training images.
      known: the means that are contrasted with: of the epoch before and this one.
      fresh: of this epoch alone.
      epoch: int32 [], which one that is.
    """

    class_counts: jax.Array
    known: ClassMeans
    fresh: ClassMeans
    epoch: jax.Array


def begin_epoch(state: ProCoState, epoch: jax.Array) -> ProCoState:
    """Makes the fresh means the known ones, if `epoch` is another one than the state's."""
    begins = epoch != state.epoch
    empty = jax.tree.map(jnp.zeros_like, state.fresh)
    return state.replace(
        known=jax.tree.map(functools.partial(jnp.where, begins), state.fresh, state.known),
        fresh=jax.tree.map(functools.partial(jnp.where, begins), empty, state.fresh),
        epoch=jnp.asarray(epoch, jnp.int32),
    )


def take_in(state: ProCoState, embeddings: jax.Array, labels: jax.Array) -> ProCoState:
    """Adds embeddings [N, D] of classes [N] to both means; they carry no gradient."""
    new = class_means(embeddings, labels, len(state.class_counts))
    return state.replace(known=merged(state.known, new), fresh=merged(state.fresh, new))


@dataclasses.dataclass(frozen=True)
class ProCo(base.Method):
    """The whole method.

    `published` is the recipe of the released scripts: of CIFAR-100-LT and CIFAR-10-LT at every
    imbalance (for 400 epochs its learning rate falls at 360 and 380, after 10 of warm-up), and of
    ImageNet-LT and iNaturalist 2018, in 90 or 180 epochs. On CIFAR its warm-up rises once an epoch,
    here with each step; that the paper has a weight decay of 4e-4 there, as a port of it says, is
    unverified.

    Attributes:
      temperature: tau.
      weight_contrastive: of the contrast logits' loss beside the classifier's; 0 leaves the loss of
        logit adjustment.
      largest_kappa: what a concentration is at most, such as that of a single embedding.
      projector_hidden: width of the projector's hidden layer.
      projector_dim: D, dimension of the embeddings.
      projector_start: first weights of the projector: "kaiming", or "pytorch", its default for
        dense layers, with a bias in the hidden one, as in the released code.
    """

    views: ClassVar[tuple[str, ...]] = ("strong", "sim", "sim")
    soft_labels: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": {
            "epochs": 200,
            "batch_size": 256,
            "optimizer.learning_rate": 0.3,
            "optimizer.weight_decay": 2e-4,
            "optimizer.schedule": "step",
            "optimizer.step_epochs": (160, 180),
            "optimizer.warmup_epochs": 5,
            "method.projector_start": "pytorch",
        },
        "photographs": _PHOTOGRAPHS,
        "inaturalist2018": _PHOTOGRAPHS
        | {"optimizer.learning_rate": 0.2, "optimizer.weight_decay": 1e-4},
    }

    temperature: Annotated[float, Real(0.001, 1000)] = 0.1
    weight_contrastive: Annotated[float, Real(0, 1000)] = 1.0
    largest_kappa: Annotated[float, Real(1, 1e6)] = LARGEST_KAPPA
    projector_hidden: Annotated[int, Whole(1, 2**16)] = 512
    projector_dim: Annotated[int, Whole(1, 2**16)] = 128
    projector_start: Annotated[str, Choice(PROJECTOR_STARTS)] = "kaiming"

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`."""
        return True

    def heads(self, context):
        """Returns the classifier and the projector."""
        projector = Projector(
            self.projector_hidden,
            self.projector_dim,
            context.dtype,
            context.norm_groups,
            self.projector_start,
        )
        return {**super().heads(context), "projector": projector}

    def init(self, key, context) -> ProCoState:
        """Returns means of nothing; see `base.Method.init`."""
        del key
        # Arrays of their own each, for a step may write over its state.
        known, fresh = (no_means(context.num_classes, self.projector_dim) for _ in range(2))
        counts = jnp.asarray(context.class_counts, jnp.int32)
        return ProCoState(counts, known, fresh, jnp.int32(0))

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key
        forward = functools.partial(forward_views, num_views=3, contrasted=2)
        (logits, embeddings), batch_stats = apply(params, forward, base.interleave(batch.views))
        state = begin_epoch(state, progress.epoch)
        contrastive = jnp.float32(0)
        for view in jnp.split(embeddings, 2):
            state = take_in(state, view, batch.labels)
            contrastive += 0.5 * probabilistic_contrastive_loss(
                view,
                batch.labels,
                state.known.means,
                state.class_counts,
                temperature=self.temperature,
                largest_kappa=self.largest_kappa,
            )
        classification = logit_compensation_loss(logits, batch.truth, state.class_counts)
        loss = classification
        # 0 * inf is NaN: a term without weight is left out.
        if self.weight_contrastive:
            loss += self.weight_contrastive * contrastive
        metrics = {
            "accuracy": base.accuracy(logits, batch.labels),
            "contrastive_loss": contrastive,
            "classification_loss": classification,
            "median_kappa": jnp.median(concentrations(state.known.means, self.largest_kappa)),
        }
        return loss, (metrics, state, batch_stats)


METHOD = ProCo
