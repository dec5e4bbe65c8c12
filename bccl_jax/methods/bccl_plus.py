"""BCCL with parts of its kin, each a setting: the single network that is to be best at one budget.

No part of it is Kim & Ko's, and no figure of it stands for BCCL. What each part is worth, which
were kept and by which test is in `docs/bccl_plus.md`; with all of them off it is `bccl`. The parts:

- class-balanced CutMix on the classified view, as in `concutmix`: a second batch, in which every
  class comes equally often, is pasted into it;
- all views classified, the contrasted ones too, as in `gpaco`;
- RegMixup (Pinto et al., "Using Mixup as a Regularizer Can Surprisingly Improve Accuracy & Out
  Distribution Robustness", NeurIPS 2022): a MixUp of the classified view, classified beside it;
- a part of the log prior alone, as in `concutmix`;
- sigmoids in place of the softmax (`losses.sigmoid`);
- learned prototypes among the candidates of the contrast, as in `bcl`;
- the centroid loss as classification by centroids (`losses.class_centroids`);
- more centroids for larger classes.

A step costs what one of `bccl` does, with CutMix the view of a second image, with RegMixup a view
more through the network.

Family: contrast
Paper: none.
Equation: that of `bccl`, its terms by the settings.
State: that of `bccl`.
Printed: none.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from bccl_jax.augment.mixing import blend, cutmix_with
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import logit_compensation_loss, mixed
from bccl_jax.losses.sigmoid import compensated_sigmoid_loss
from bccl_jax.methods import base
from bccl_jax.methods.bccl import BCCL, CENTROID_LOSS_FORMS
from bccl_jax.methods.seam.prior import over_prior
from bccl_jax.methods.shared.one_pass import outputs_of_views, view_features
from bccl_jax.methods.shared.prototypes import prototype_centers
from bccl_jax.models.heads import Projector, l2_normalize
from bccl_jax.models.taps import tapped
from bccl_jax.settings.bounds import Choice, Real, Whole

_ALPHA = Real(0.001, 1000)
_CLASSIFICATIONS = {"softmax": logit_compensation_loss, "sigmoid": compensated_sigmoid_loss}


@dataclasses.dataclass(frozen=True)
class BCCLPlus(BCCL):
    """BCCL, whose settings it has, and what may lift it.

    Attributes:
      cutmix_probability: that images of a class-balanced batch are pasted into the classified view
        of a batch; 0 for no such batch.
      cutmix_alpha: of the Beta(alpha, alpha) that CutMix's share is drawn from.
      all_classified: classifies the contrasted views too; the classification loss is the mean over
        the views.
      regmixup_weight: of the classification loss of a MixUp of the strong view, beside that of the
        views themselves; 0 for none.
      regmixup_alpha: of the Beta(alpha, alpha) that MixUp's share is drawn from.
      prior_factor: the part of the log prior that the logits are compensated by.
      classification: "softmax" (Eq. 8), or "sigmoid": every class against the others.
      prototypes: has one learned prototype a class among the candidates of the contrastive loss and
        among the positives of its class, made of the classifier's weights by an MLP.
      centroid_loss_form: also "class": classification by the centroids of each class.
      images_per_centroid: gives a class a centroid for so many training images, rounded up, one at
        least and `num_centroids` at most; 0 gives each class `num_centroids`.
    """

    soft_labels: ClassVar[bool] = False
    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        base.SOFTENING, "bccl_plus may mix the classified view itself, and its labels with it"
    )

    centroid_loss_form: Annotated[str | None, Choice((*CENTROID_LOSS_FORMS, "class"))] = None
    cutmix_probability: Annotated[float, Real(0, 1)] = 0.0
    cutmix_alpha: Annotated[float, _ALPHA] = 1.0
    all_classified: bool = False
    regmixup_weight: Annotated[float, Real(0, 1000)] = 0.0
    regmixup_alpha: Annotated[float, _ALPHA] = 10.0
    prior_factor: Annotated[float, Real(0, 10)] = 1.0
    classification: Annotated[str, Choice(_CLASSIFICATIONS)] = "softmax"
    prototypes: bool = False
    images_per_centroid: Annotated[int, Whole(0, 2**31 - 1)] = 0

    @property
    def streams(self):
        """See `base.Method.streams`; what CutMix pastes."""
        return ("class_balanced",) if self.cutmix_probability else ()

    @property
    def factor(self) -> float:
        """Of the log prior, 0 without logit compensation."""
        return self.prior_factor if self.logit_compensation else 0.0

    @property
    def prior_in_loss(self):
        """See `base.Method.prior_in_loss`."""
        return self.factor > 0

    def carried_prior(self, drawn, class_counts):
        """See `base.Method.carried_prior`; the loss has a part of it."""
        return over_prior(drawn, class_counts, self.factor)

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        _check_whole_classes(self)
        _check_effects(self)
        own = ("cutmix_probability", "all_classified")
        if self.contrasted == len(self.views) and (set_ := _used(self, own)):
            raise ConfigError(
                f"config.method.view_set is {self.view_set!r}, whose first view is classified and "
                f"contrasted, but config.method.{set_[0]} is {getattr(self, set_[0])}, which is "
                "for a view that is classified alone; set one of them otherwise"
            )

    def heads(self, context):
        """Returns the classifier, the projector and, with prototypes, the MLP that makes them."""
        heads = super().heads(context)
        if not self.prototypes:
            return heads
        # Its batch is the classes, which every device has.
        mlp = Projector(self.projector_hidden, self.projector_dim, context.dtype, norm_groups=1)
        return {**heads, "prototypes": mlp}

    def _mixed(self, batch, key):
        """What the network sees, the labels of its first view, and with RegMixup of its last."""
        classified, *contrasted = batch.views
        truth, last, cut_key, mix_key = batch.labels, None, *jax.random.split(key)
        if self.regmixup_weight:
            share_key, order_key = jax.random.split(mix_key)
            share = jax.random.beta(share_key, self.regmixup_alpha, self.regmixup_alpha)
            order = jax.random.permutation(order_key, len(classified))
            contrasted = [*contrasted, blend(classified, classified[order], share)]
            last = batch.labels, batch.labels[order], share
        if self.cutmix_probability:
            (other,) = batch.others
            classified, share = cutmix_with(
                classified,
                other.views[0],
                cut_key,
                alpha=self.cutmix_alpha,
                probability=self.cutmix_probability,
            )
            truth = batch.labels, other.labels, share
        return (classified, *contrasted), truth, last

    def network_views(self, batch, key):
        """See `base.Method.network_views`."""
        return self._mixed(batch, key)[0][: len(batch.views)]

    def _forward(self, network, images, num_views):
        """Logits [B, K] of every view, embeddings of the contrasted ones, and prototypes."""
        features = view_features(network, images, num_views)
        own = features[:, : len(self.views)]
        first, embeddings = outputs_of_views(network, own, self.contrasted)
        others = features[:, 1:]
        if self.all_classified or self.regmixup_weight:
            # What they send to the backbone is of the classification as well.
            others = tapped(network, "classification", others)
        logits = [first, *map(network.heads["classifier"], jnp.unstack(others, axis=1))]
        if not self.prototypes:
            return logits, embeddings, None
        return logits, embeddings, l2_normalize(prototype_centers(network))

    def loss(self, apply, params, batch, state, key, progress):
        """Eq. 9 of its parts; see `base.Method.loss`."""
        views, truth, last = self._mixed(batch, key)
        forward = functools.partial(self._forward, num_views=len(views))
        (logits, embeddings, prototypes), batch_stats = apply(
            params, forward, base.interleave(views)
        )
        classes = logits[0].shape[1]

        def classify(outputs, truth):
            if isinstance(truth, tuple):
                truth = mixed(*truth, classes)
            form = _CLASSIFICATIONS[self.classification]
            return form(outputs, truth, state.class_counts, factor=self.factor)

        classification = classify(logits[0], truth)
        if self.all_classified:
            others = [classify(each, batch.labels) for each in logits[1 : len(self.views)]]
            classification = (classification + sum(others)) / len(self.views)
        if self.regmixup_weight:
            classification += self.regmixup_weight * classify(logits[-1], last)
        loss, metrics, state = self.contrasted_beside(
            classification, embeddings, batch, state, progress, prototypes
        )
        metrics["accuracy"] = base.accuracy(logits[0], batch.labels)
        if self.cutmix_probability:
            metrics["kept_share"] = truth[2]
        return loss, (metrics, state, batch_stats)

    def cluster_counts(self, state):
        """See `BCCL.cluster_counts`."""
        if not self.images_per_centroid:
            return None
        wanted = -(-state.class_counts // self.images_per_centroid)
        return jnp.clip(wanted, 1, self.num_centroids)


def _check_whole_classes(method: BCCLPlus) -> None:
    """Refuses what needs all classes in one place, or k-means, where that is not to be had."""
    whole = {
        "prototypes": method.prototypes,
        "centroid_loss_form": method.centroid_loss_form == "class",
        "images_per_centroid": method.images_per_centroid > 0,
    }
    for name in (name for name, used in whole.items() if used):
        if method.split_classes:
            raise ConfigError(
                f"config.method.{name} is {getattr(method, name)!r}, which needs all classes on "
                "each device, but config.method.split_classes is True; set it to False"
            )
    if method.images_per_centroid and method.clustering != "kmeans":
        raise ConfigError(
            f"config.method.images_per_centroid is {method.images_per_centroid}, which k-means "
            f"alone heeds, but config.method.clustering is {method.clustering!r}; set the first "
            "to 0 or the second to 'kmeans'"
        )


def _used(method: BCCLPlus, names: Iterable[str]) -> list[str]:
    """Those of the settings that are not at their default."""
    usual = {field.name: field.default for field in dataclasses.fields(method)}
    return [name for name in names if getattr(method, name) != usual[name]]


def _check_effects(method: BCCLPlus) -> None:
    """Refuses settings without effect, each by what it waits for."""
    contrast, centroid, classification = method.weights
    classified = ("cutmix_probability", "all_classified", "regmixup_weight", "classification")
    silent = {
        "logit_compensation is False, so that the loss has no prior": (
            not method.logit_compensation,
            ("prior_factor",),
        ),
        "cutmix_probability is 0": (not method.cutmix_probability, ("cutmix_alpha",)),
        "regmixup_weight is 0": (not method.regmixup_weight, ("regmixup_alpha",)),
        "num_centroids is 1": (method.num_centroids == 1, ("images_per_centroid",)),
        "weight_contrastive is 0": (not contrast, ("prototypes",)),
        "weight_classification is 0": (not classification, (*classified, "prior_factor")),
    }
    for why, (without, names) in silent.items():
        if without and (found := _used(method, names)):
            raise ConfigError(
                f"config.method.{found[0]} is {getattr(method, found[0])!r} but config.method."
                f"{why}, so that it would do nothing; change one of them"
            )
    if method.centroid_loss_form != "class":
        return
    form = "config.method.centroid_loss_form is 'class' but"
    if not centroid:
        key = "weight_centroid" if method.centroid_loss else "centroid_loss"
        raise ConfigError(
            f"{form} config.method.{key} is {getattr(method, key)}, so that there is no centroid "
            "loss; change one of them"
        )
    if method.class_chunk:
        raise ConfigError(
            f"{form} config.method.class_chunk is {method.class_chunk}, and this form compares "
            "with the centroids of all classes at once; set the second to 0"
        )


METHOD = BCCLPlus
