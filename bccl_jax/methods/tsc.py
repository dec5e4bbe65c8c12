"""Targeted supervised contrast, TSC (Li et al. 2022).

KCL, and then KCL with a target for each class: unit vectors spread over the sphere as evenly as can
be, so that rare classes are not crowded together. Every target is a candidate of every anchor, and
that of its class a further positive, of the weight `target_weight`. Which class takes which target
follows the features: the direction of each class is a moving average of its anchors' means, and
classes are matched to targets so that the sum of their cosines is the largest. A last stage trains
the classifier as `kcl` does.

Targets are made when they are first needed (`clustering.targets`): a regular simplex up to one
class more than dimensions, beyond by a short optimisation, the same in every run. Classes are
matched after each epoch, on the host, from the last one of plain KCL on; the authors' code does it
in each step. Matched exactly either way; 1,000 classes take half a second of a core, 8,142 take 1
to 7 seconds. Directions are averaged from the first step on, and those
of classes not seen yet are 0, which prefer no target; in the code they are random.

A step costs what one of `kcl` does and the product of anchors with K targets. With
`target_weight` 0 it is `kcl`, to the bit.

The loss is that of the authors' code, where a target counts as one of the positives whatever its
weight: their mean is over k + 2. `published` is its recipe for ImageNet-LT, 200 epochs of KCL, 200
with targets by an optimizer that starts anew, 40 of the classifier; the harness's has one schedule
for both. It has no command for CIFAR.

Family: contrast
Paper: Li et al., "Targeted Supervised Contrastive Learning for Long-Tailed Recognition", CVPR 2022.
Equation: that of `kcl` with K targets among the candidates and the class's own among the positives,
  of weight 0.2.
State: a queue of keys and labels, a momentum copy of backbone and projector, and for each class a
  target and a direction.
Printed: 43.8 on CIFAR-100-LT at imbalance 100; on ImageNet-LT 52.1 to 53.0 in five trials of its
  repository, 400 epochs before the classifier's 40.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.clustering.class_means import followed_directions
from bccl_jax.clustering.targets import match_targets, spread_targets
from bccl_jax.methods import base
from bccl_jax.methods.shared.k_positive import PHOTOGRAPHS, KPositive
from bccl_jax.settings.bounds import Real


@dataclasses.dataclass(frozen=True)
class TargetedContrast(KPositive):
    """The method of Li et al. 2022; the other settings are those of `KPositive`.

    Attributes:
      target_weight: of the target among the positives; 0 for no targets.
      untargeted: share of the epochs before the classifier's that have no targets; 0 where
        `config.model.pretrained` is a run of `kcl`.
      restart: whether the epochs with targets have an optimizer of their own and the whole of the
        learning-rate schedule, without warm-up, as in the published recipe, or go on with those of
        the epochs before.
      direction_momentum: the share of a class's direction that stays at each step that sees it.
    """

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "photographs": PHOTOGRAPHS | {"epochs": 440, "method.restart": True},
    }

    target_weight: Annotated[float, Real(0, 1000)] = 0.2
    untargeted: Annotated[float, Real(0, 1)] = 0.5
    restart: bool = False
    direction_momentum: Annotated[float, Real(0, 1, open_end=True)] = 0.9

    @property
    def contrast_stages(self):
        """See `KPositive.contrast_stages`."""
        return 2 if self.target_weight else 1

    def stages(self, epochs):
        """See `base.Method.stages`."""
        first, last = super().stages(epochs)
        if not self.target_weight:
            return first, last
        plain = round(self.untargeted * first.epochs)
        second = base.Stage(
            first.epochs - plain,
            trains=first.trains,
            optimizer={"warmup_epochs": 0} if self.restart else {},
            continues=not self.restart,
            set_by="config.epochs, lower config.method.untargeted",
        )
        changed = {"epochs": plain, "set_by": "config.method.untargeted"}
        return dataclasses.replace(first, **changed), second, last

    def init(self, key, context):
        """Adds {"targets", "directions": float32 [K, D], "matched": bool []} to those of KCL."""
        state = super().init(key, context)
        if not self.target_weight:
            return state
        shape = (context.num_classes, self.projector_dim)
        # An array of its own each, for a step may write over its state.
        own = {name: jnp.zeros(shape, jnp.float32) for name in ("targets", "directions")}
        return {**state, **own, "matched": jnp.asarray(False)}

    def targets_of(self, labels, state, stage):
        """See `KPositive.targets_of`; until classes have been matched there is none."""
        if not self.target_weight or not stage:
            return {}
        classes = jnp.arange(len(state["targets"]))
        return {
            "targets": state["targets"],
            "own_targets": labels[:, None] == classes[None, :],
            "target_candidates": jnp.broadcast_to(state["matched"], classes.shape),
            "target_weight": self.target_weight,
        }

    def seen(self, state, anchors, labels, stage):
        """Renews the directions; see `KPositive.seen`."""
        if not self.target_weight:
            return state, {}
        kept = self.direction_momentum
        directions = followed_directions(state["directions"], anchors, labels, kept)
        metrics = {}
        if stage:
            cosines = jnp.sum(anchors * state["targets"][labels], axis=1)
            metrics["cosine_target"] = jax.lax.stop_gradient(jnp.mean(cosines))
        return {**state, "directions": directions}, metrics

    def refresh_due(self, epoch, epochs=0):
        """True from the last epoch of plain KCL on to the last but one with targets."""
        if not self.target_weight:
            return False
        plain, targeted, _ = self.stages(epochs)
        return max(plain.epochs, 1) <= epoch < plain.epochs + targeted.epochs

    def refresh(self, state, key, between=None):
        """Matches classes to targets; see `base.Method.refresh`."""
        del key, between
        directions, before = (np.asarray(state[name]) for name in ("directions", "targets"))
        spread = spread_targets(*before.shape)
        targets = spread[match_targets(directions, spread)]
        report = {
            "moved_targets": float(np.sum(np.any(targets != before, axis=1))),
            "cosine_of_targets": float(np.mean(np.sum(directions * targets, axis=1))),
        }
        renewed = {"targets": jnp.asarray(targets), "matched": jnp.asarray(True)}
        return {**state, **renewed}, report


METHOD = TargetedContrast
