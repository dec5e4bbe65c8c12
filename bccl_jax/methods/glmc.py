"""Global and local mixture consistency cumulative learning (GLMC, Du et al. 2023).

Two views of each image are mixed with two of an image of a second batch, whose images are drawn
with weights n^(-r): one by MixUp, one by CutMix, in one share lambda ~ Beta(beta, beta). Two
classifiers hang on the backbone. With a = 1 - (t / T)^2 over the epochs the loss is

    a CE(plain) + (1 - a) CE(weighted) + gamma (sim(u_g, h_l) + sim(u_l, h_g)),

both cross-entropies summed over the views, that of the weighted classifier by soft labels times
n^(-k) of mean 1, and sim the negative cosine of SimSiam between the prediction u of one view and
the projection h, without gradient, of the other. The weighted classifier predicts. No state is
kept but the class weights. A step costs two forward and backward passes of a plain step, and the
views of four images.

Where the authors' code differs from the paper, this is the code, whose figures are printed. It
weighs images and not classes by n^(-r), so that classes come in proportion to n^(1 - r); sums the
views' losses where the paper halves them; draws lambda from Beta(1, 1) whatever its --beta; and
leaves lambda as it is where the border cuts CutMix's box. Other than there, both views share one
forward pass and so one set of batch statistics.

Family: images
Paper: Du et al., "Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual
  Recognitions", CVPR 2023.
Equation: `a CE(plain) + (1 - a) CE(weighted) + gamma (sim(u_g, h_l) + sim(u_l, h_g))`.
State: the class weights.
Printed: 55.88 on CIFAR-100-LT at imbalance 100 with a network 4 times as wide, corrected by the
  authors to 57.97; 43.55 with ResNet-32 by Kim & Ko 2025.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment.mixing import mix_globally_and_locally
from bccl_jax.data.sampling import class_shares, power_sampler
from bccl_jax.losses.classification import mixed
from bccl_jax.losses.margins import inverse_count_weights
from bccl_jax.losses.mixture import cumulative_loss, negative_cosine
from bccl_jax.methods import base
from bccl_jax.models.convolution import kaiming_normal
from bccl_jax.models.network import Network
from bccl_jax.settings.bounds import Real, Whole

# Of ImageNet-LT and iNaturalist 2018, by the commands in the repository's README.
_PHOTOGRAPHS = {
    "optimizer.learning_rate": 0.1,
    "optimizer.warmup_epochs": 10,
    "optimizer.schedule": "cosine_per_epoch",
    "method.resampling": 0.2,
    "method.label_weighting": 1.0,
    "method.weight_consistency": 10.0,
    "method.projector_dim": 256,
}


@dataclasses.dataclass(frozen=True)
class GLMC(base.Method):
    """L_total of Du et al. on two strong views.

    Both views are classified, so that both are strong; the authors' two are drawn alike as well, on
    CIFAR by padded crop and flip alone.

    Of `published` "cifar" is CIFAR-100-LT at imbalance 100; at 50 resampling is 0.2 and
    weight_consistency 6, at 10 they are 0.2 and 4. CIFAR-10-LT has weight_consistency 4 by the
    README's text and 1 by its commands. The authors' network is the ResNet-32 four times as wide.
    A later state of their code has a learning-rate warm-up of 10 epochs on CIFAR too.

    Attributes:
      resampling: r, of n^(-r), by which the images of the second batch are drawn; 0 draws all
        alike, 1 all classes.
      label_weighting: k, of n^(-k), by which the weighted classifier's labels are weighed.
      weight_consistency: gamma.
      mix_alpha: beta, of the Beta(beta, beta) that lambda is drawn from.
      projector_dim: D, dimension of projections and predictions, each a dense layer.
    """

    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        base.SOFTENING, "glmc mixes both of its views itself, and their labels with them"
    )
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": {
            "epochs": 200,
            "batch_size": 64,
            "optimizer.learning_rate": 0.01,
            "optimizer.weight_decay": 5e-3,
            "optimizer.warmup_epochs": 0,
            "optimizer.schedule": "cosine_per_epoch",
            "augment.strong.policy": "none",
            "augment.strong.cutout": 0,
        },
        "photographs": _PHOTOGRAPHS
        | {"epochs": 135, "batch_size": 120, "optimizer.weight_decay": 2e-4},
        "inaturalist2018": _PHOTOGRAPHS
        | {"epochs": 120, "batch_size": 128, "optimizer.weight_decay": 1e-4},
    }
    views: ClassVar[tuple[str, ...]] = ("strong", "strong")

    resampling: Annotated[float, Real(0, 2)] = 0.0
    label_weighting: Annotated[float, Real(0, 10)] = 1.2
    weight_consistency: Annotated[float, Real(0, 1000)] = 4.0
    mix_alpha: Annotated[float, Real(0.001, 1000)] = 1.0
    projector_dim: Annotated[int, Whole(1, 2**16)] = 128

    @property
    def streams(self):
        """See `base.Method.streams`."""
        return (power_sampler(1 - self.resampling),)

    def carried_prior(self, drawn, class_counts):
        """See `base.Method.carried_prior`: of mixed images, weighed as those of the classifier."""
        (other,) = self.streams
        mean = (drawn + class_shares(other, class_counts)) / 2
        weights = inverse_count_weights(class_counts, self.label_weighting)
        return mean * np.asarray(weights, np.float64)

    def heads(self, context):
        """Returns both classifiers, of which the weighted one predicts, projector, predictor."""
        weighted, plain = (super(GLMC, self).heads(context)["classifier"] for _ in range(2))

        def dense():
            return nn.Dense(self.projector_dim, kernel_init=kaiming_normal, dtype=context.dtype)

        return {
            "classifier": weighted,
            "plain_classifier": plain,
            "projector": dense(),
            "predictor": dense(),
        }

    def init(self, key, context):
        """Returns {"class_weights": float32 [K], "epochs": int32 []}."""
        del key
        return {
            "class_weights": inverse_count_weights(context.class_counts, self.label_weighting),
            "epochs": jnp.int32(context.epochs),
        }

    def init_forward(self, network, images):
        """See `base.Method.init_forward`."""
        _forward(network, images)

    def _mixed(self, batch, key):
        (other,) = batch.others
        return mix_globally_and_locally(batch.views, other.views, key, alpha=self.mix_alpha)

    def network_views(self, batch, key):
        """See `base.Method.network_views`."""
        return self._mixed(batch, key)[0]

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        (other,) = batch.others
        views, share = self._mixed(batch, key)
        (weighted, plain, projections, predictions), batch_stats = apply(
            params, _forward, base.interleave(views)
        )
        labels = mixed(batch.labels, other.labels, share, len(state["class_weights"]))
        classification = sum(
            cumulative_loss(
                plain[view],
                weighted[view],
                labels,
                state["class_weights"],
                progress.epoch,
                state["epochs"],
            )
            for view in (0, 1)
        )
        consistency = negative_cosine(predictions[0], projections[1])
        consistency += negative_cosine(predictions[1], projections[0])
        metrics = {
            "accuracy": base.accuracy(weighted[0], batch.labels),
            "classification_loss": classification,
            "consistency_loss": consistency,
        }
        loss = classification + self.weight_consistency * consistency
        return loss, (metrics, state, batch_stats)


def _forward(network: Network, images: jax.Array) -> tuple[tuple[jax.Array, jax.Array], ...]:
    """Runs the network in training on both views of a batch.

    Returns:
      Logits [B, K] of the weighted classifier, of the global view and of the local one; the same of
      the plain one; projections [B, D]; predictions [B, D].
    """
    features = network.backbone(images, train=True)
    projections = network.heads["projector"](features)
    outputs = (
        network.heads["classifier"](features),
        network.heads["plain_classifier"](features),
        projections,
        network.heads["predictor"](projections),
    )
    # Image by image; see `base.interleave`.
    views = (output.reshape(-1, 2, output.shape[-1]) for output in outputs)
    return tuple((output[:, 0], output[:, 1]) for output in views)


METHOD = GLMC
