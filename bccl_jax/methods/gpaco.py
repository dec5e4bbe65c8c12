"""Generalized parametric contrastive learning, GPaCo (Cui et al. 2023): PaCo without momentum.

One network classifies and projects both views, so that each image gives two anchors with centres,
and each anchor is a candidate of all others, with gradient (`losses.parametric`). The embeddings of
the SimAugment views are the keys that enter the queue after the loss, without gradient.

State beyond the parameters: the queue, keys and labels. Beside cross-entropy a step costs a second
view, forward and backward, the projector, and the product of the anchors with anchors and queue.

Both views go through the network in one pass and share their batch statistics, as in all methods
here; the authors' code takes a pass for each view. With `model.batch_norm` "device" each device has
its own statistics of both views of its images, as there. Nothing is shuffled, there either.

Of a batch in `accumulation` parts each part is contrasted with itself, and its keys are in the
queue of the next one. SAM contrasts both its passes with the same queue.

The authors' code has two hidden layers without normalisation in the projector, where the harness
has one with; its queue starts with random vectors of random classes, which here are no candidates
until keys have replaced them; its CIFAR program leaves beta and gamma at 1, whatever is asked for.

Family: contrast
Paper: Cui et al., "Generalized Parametric Contrastive Learning", TPAMI 2023.
Equation: that of `paco`, each view an anchor.
State: a queue of keys and labels.
Printed: with 400 epochs and other views alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from bccl_jax.methods import base
from bccl_jax.methods.shared.key_queue import enter
from bccl_jax.methods.shared.parametric import CIFAR, PHOTOGRAPHS, Parametric
from bccl_jax.models.forward import classify_and_project


@dataclasses.dataclass(frozen=True)
class GPaCo(Parametric):
    """The method of Cui et al. 2023; the settings are those of `Parametric`.

    `published` is of the scripts of the authors' code: CIFAR-100-LT at 100, and ImageNet-LT with a
    ResNet-50. There the second view has RandAugment on top of grey and blur, which no view of the
    harness has; SimAugment's stands in its place, as on iNaturalist in the authors' code.
    """

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": CIFAR | {"optimizer.learning_rate": 0.1, "augment.sim.blur_prob": 0.2},
        "photographs": PHOTOGRAPHS | {"optimizer.learning_rate": 0.04, "method.alpha": 0.045},
    }

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key, progress
        images = base.interleave(batch.views)
        # Strong and SimAugment view of one image after another.
        (logits, embeddings), batch_stats = apply(params, classify_and_project, images)
        labels, targets = jnp.repeat(batch.labels, 2), batch.targets
        if targets is not None:
            targets = jnp.repeat(targets, 2, axis=0)
        none = embeddings[:0], labels[:0]
        loss = self.contrast(logits, embeddings, labels, targets, state, *none)
        metrics = {"accuracy": base.accuracy(logits[::2], batch.labels)}
        queue = enter(state["queue"], embeddings[1::2], batch.labels)
        return loss, (metrics, {**state, "queue": queue}, batch_stats)


METHOD = GPaCo
