"""Two stages: a network by cross-entropy, then a part of its classifier (Kang et al. 2020)."""

import dataclasses
from typing import Annotated, ClassVar

import jax

from bccl_jax.data.sampling import SAMPLERS
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.methods import base
from bccl_jax.methods.shared.staged import Staged
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Choice, Real, Whole


@dataclasses.dataclass(frozen=True)
class Refit(Staged):
    """Cross-entropy of the strong view, in the second stage over frozen features.

    Frozen features are those of running statistics. The second stage has a cosine schedule of its
    own, without warm-up, over its own epochs.

    Attributes:
      refit_epochs: of the second stage, the last ones of the run; with `start_from` all that are
        trained, of `config.epochs`.
      refit_learning_rate: its peak; 0 for that of the run.
      refit_sampler: how its images are drawn.
    """

    soft_labels: ClassVar[bool] = True
    # What the first stage trains, () for all; of the second one what trains, and what of it anew.
    fitted: ClassVar[tuple[str, ...]] = ()
    refitted: ClassVar[tuple[str, ...]] = ("heads_classifier",)
    anew: ClassVar[tuple[str, ...]] = ()

    refit_epochs: Annotated[int, Whole(1, 1_000_000)] = 10
    refit_learning_rate: Annotated[float, Real(1e-30, 1e30, also=(0,))] = 0.0
    refit_sampler: Annotated[str, Choice(SAMPLERS)] = "class_balanced"

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if self.refit_epochs > epochs:
            raise ConfigError(
                f"config.method.refit_epochs is {self.refit_epochs} in a run of {epochs} epochs; "
                "lower it or raise config.epochs"
            )

    def trained_epochs(self, epochs):
        """See `base.Method.trained_epochs`."""
        return min(self.refit_epochs, epochs) if self.start_from else epochs

    def stages(self, epochs):
        """See `base.Method.stages`."""
        optimizer = {"warmup_epochs": 0, "schedule": "cosine"}
        if self.refit_learning_rate:
            optimizer["learning_rate"] = self.refit_learning_rate
        last = epochs if self.start_from else self.refit_epochs
        second = base.Stage(
            last,
            trains=self.refitted,
            anew=self.anew,
            sampler=self.refit_sampler,
            optimizer=optimizer,
            set_by="config.method.refit_epochs",
        )
        return base.Stage(epochs - last, trains=self.fitted), second

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key
        forward = classify_frozen if progress.stage else base.classify
        logits, batch_stats = apply(params, forward, batch.views[0])
        loss = cross_entropy_loss(logits, batch.truth)
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)


def classify_frozen(network: Network, images: jax.Array) -> jax.Array:
    """The forward pass of a classifier over a backbone that is not trained: logits [B, K]."""
    features = jax.lax.stop_gradient(network.backbone(images, train=False))
    return network.heads["classifier"](features)
