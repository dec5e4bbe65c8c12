"""Parametric contrastive learning, PaCo (Cui et al. 2021).

The strong view is classified and, projected, an anchor; a momentum copy of backbone and projector
makes a key of the SimAugment view. Candidates of an anchor are the class centres, which are the
classifier's logits with the log class prior, the other anchors, the keys of this step and those of
a queue; positives are its centre and, with the weight alpha, each candidate of its class
(`losses.parametric`). The keys are without gradient and enter the queue after the loss.

State beyond the parameters: the queue, keys and labels, and the momentum copy. That is renewed once
a step, before the keys are made: m copy + (1 - m) parameters. It makes keys in training mode, of
which each batch has statistics of its own; running ones it would write and never read, and has
none. The network's own running statistics are of the strong view alone.

Beside cross-entropy a step costs the forward pass of a second view, two projectors, and the product
of anchors with anchors, keys and queue; the copy takes the memory of a backbone and a projector.

MoCo, and PaCo's code, shuffle the key images among devices, for a device's batch statistics would
tell which keys are of its own anchors' images. Here all devices share the statistics of the whole
batch, which are the same for every key, and nothing needs to be shuffled. With
`model.batch_norm` "device" it would be, and that is refused.

Of a batch in `accumulation` parts each part is contrasted with itself, and its keys are in the
queue of the next one. SAM contrasts both its passes with the same queue and copy. An average of the
weights (`optimizer.ema`) is of the network that predicts; the copy is not averaged.

The authors' code differs: its queue starts with random vectors of random classes, which here are no
candidates until keys have replaced them; a batch must divide the queue; it keeps a copy of the
classifier too, which it does not use.

Family: contrast
Paper: Cui et al., "Parametric Contrastive Learning", ICCV 2021.
Equation: softmax over centres, anchors and keys; weight 1 for the centre, alpha for each key of the
  class.
State: a queue of keys and labels, and a momentum copy of backbone and projector.
Printed: with 400 epochs and other views alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from bccl_jax.methods import base
from bccl_jax.methods.shared.key_queue import enter
from bccl_jax.methods.shared.momentum_copy import check_shared_statistics, followed_copy
from bccl_jax.methods.shared.parametric import CIFAR, PHOTOGRAPHS, Parametric
from bccl_jax.models.forward import classify_and_project, project
from bccl_jax.settings.bounds import Real


@dataclasses.dataclass(frozen=True)
class PaCo(Parametric):
    """The method of Cui et al. 2021; the other settings are those of `Parametric`.

    `published` is of the scripts of the authors' code: on CIFAR-100-LT the same at 100, 50 and 10,
    on photographs that of ImageNet-LT with a ResNet-50. Their eleventh epoch on CIFAR has 1.1 times
    the learning rate, which is left out.

    Attributes:
      momentum: m, the share of the copy that stays at each step.
    """

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": CIFAR | {"optimizer.learning_rate": 0.05, "augment.sim.blur_prob": 0.5},
        "photographs": PHOTOGRAPHS | {"optimizer.learning_rate": 0.02, "method.alpha": 0.05},
    }

    momentum: Annotated[float, Real(0, 1, open_end=True)] = 0.999

    def heads(self, context):
        """Returns the classifier and the projector.

        Raises:
          ConfigError: each device has batch statistics of its own.
        """
        check_shared_statistics(context, "paco")
        return super().heads(context)

    def follow(self, state, params, first=False):
        """Renews the momentum copy, {"copy": {"backbone", "heads_projector"}}."""
        return followed_copy(state, params, self.momentum, first)

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key, progress
        anchored, keyed = batch.views
        (logits, anchors), batch_stats = apply(params, classify_and_project, anchored)
        keys, _ = apply(state["copy"], project, keyed)
        labels = batch.labels
        loss = self.contrast(logits, anchors, labels, batch.targets, state, keys, labels)
        metrics = {"accuracy": base.accuracy(logits, labels)}
        return loss, (metrics, {**state, "queue": enter(state["queue"], keys, labels)}, batch_stats)


METHOD = PaCo
