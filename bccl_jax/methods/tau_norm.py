"""tau-normalisation (Kang et al. 2020): a classifier's weights divided by a power of their norm.

Family: classifiers
Paper: Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR
  2020.
Equation: `CE(f)`, then `f_j = x . w_j / ||w_j||^tau`.
State: tau.
Printed: none looked up.
"""

import dataclasses
from typing import Annotated, ClassVar

import jax.numpy as jnp
import numpy as np

from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.methods import base
from bccl_jax.methods.shared.refitting import classify_frozen
from bccl_jax.methods.shared.staged import Staged
from bccl_jax.models.heads import CLASSIFIERS
from bccl_jax.models.rescaling import tau_normalized
from bccl_jax.settings.bounds import Choice, Maybe, Real

# What is tried where tau is to be chosen.
CANDIDATES = np.linspace(0, 2, 21)


@dataclasses.dataclass(frozen=True)
class TauNorm(Staged):
    """Cross-entropy of the strong view; predictions by w / ||w||^tau without the bias.

    With `start_from` nothing is trained: the run is a single epoch that looks at the images.

    Attributes:
      classifier: "linear": a cosine classifier has no norms.
      tau: 0 leaves the weights as they are, 1 makes all of norm 1. None chooses it on the
        validation split after the last epoch, by the mean accuracy of the classes; until then
        predictions are by 1.
    """

    soft_labels: ClassVar[bool] = True

    classifier: Annotated[str, Choice(CLASSIFIERS)] = "linear"
    tau: Annotated[float | None, Maybe(Real(0, 10))] = None

    def validate(self, epochs):
        """See `base.Method.validate`."""
        if self.classifier != "linear":
            raise ConfigError(
                f"config.method.classifier is {self.classifier!r}, whose weights have no norm to "
                "be divided by; write 'linear'"
            )

    def validate_splits(self, splits):
        """See `base.Method.validate_splits`."""
        if self.tau is None and "validation" not in splits:
            raise ConfigError(
                "config.method.tau is None, so that it is chosen on a validation split, and the "
                "data has none; choose it in a run with config.data.validation_fraction=0.2, whose "
                "metrics.jsonl tells it at the end, and write config.method.tau in the others"
            )

    def carried_prior(self, drawn, class_counts):
        """See `base.Method.carried_prior`; equal norms are to make up for it (Kang et al. 2020)."""
        del class_counts
        return drawn if self.tau == 0 else np.float64(drawn > 0)

    def init(self, key, context):
        """Returns {"tau": float32 []}."""
        del key, context
        return {"tau": jnp.float32(1.0 if self.tau is None else self.tau)}

    def trained_epochs(self, epochs):
        """See `base.Method.trained_epochs`."""
        return 1 if self.start_from else epochs

    def stages(self, epochs):
        """See `base.Method.stages`."""
        if not self.start_from:
            return (base.Stage(epochs),)
        # A schedule that any length fits; no parameter follows it.
        schedule = {"warmup_epochs": 0, "schedule": "cosine"}
        return base.Stage(0), base.Stage(epochs, trains=base.NOTHING, optimizer=schedule)

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        del key
        forward = classify_frozen if progress.stage else base.classify
        logits, batch_stats = apply(params, forward, batch.views[0])
        loss = cross_entropy_loss(logits, batch.truth)
        metrics = {"accuracy": base.accuracy(logits, batch.labels)}
        return loss, (metrics, state, batch_stats)

    def refresh_due(self, epoch, epochs=0):
        """True at the end of a run that is to choose tau."""
        return self.tau is None and epoch == epochs

    def refresh(self, state, key, between=None):
        """Chooses tau on the validation split; see `base.Method.refresh`."""
        del key
        features, labels = between.features("validation")
        kernel = np.asarray(_kernel(between.params), np.float64)
        accuracies = [_mean_accuracy(features, labels, kernel, tau) for tau in CANDIDATES]
        # Of equals the one nearest to the weights as they were trained.
        best = int(np.argmax(accuracies))
        chosen = {"tau": float(CANDIDATES[best]), "tau_accuracy": accuracies[best]}
        return {"tau": jnp.full_like(state["tau"], CANDIDATES[best])}, chosen

    def logits(self, apply, params, images, state):
        """See `base.Method.logits`."""
        features, _ = apply(params, lambda network, x: network.backbone(x, train=False), images)
        return features.astype(jnp.float32) @ tau_normalized(_kernel(params), state["tau"])


def _kernel(params):
    return params["heads_classifier"]["Dense_0"]["kernel"]


def _mean_accuracy(features, labels, kernel, tau):
    norms = np.linalg.norm(kernel, axis=0, keepdims=True)
    weights = kernel / np.where(norms > 0, norms, 1) ** tau
    right = np.argmax(features @ weights, axis=1) == labels
    return 100 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


METHOD = TauNorm
