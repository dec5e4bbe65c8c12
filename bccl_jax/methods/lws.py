"""LWS (Kang et al. 2020): a scale for each class, learned on balanced classes, all else frozen."""

import dataclasses
from typing import Annotated, ClassVar

from bccl_jax.methods.shared.refitting import Refit
from bccl_jax.models.heads import ScaledClassifier
from bccl_jax.settings.bounds import Whole


@dataclasses.dataclass(frozen=True)
class LearnableWeightScaling(Refit):
    """Section 4.2 of Kang et al.; the settings are those of `Refit`.

    In the first stage the scales are 1 and stay so.
    """

    refitted: ClassVar[tuple[str, ...]] = ("heads_classifier/scale",)

    refit_epochs: Annotated[int, Whole(1, 1_000_000)] = 5

    def stages(self, epochs):
        """See `base.Method.stages`."""
        first, second = super().stages(epochs)
        trains = ("backbone", "heads_classifier/classifier")
        return dataclasses.replace(first, trains=trains), second

    def heads(self, context):
        """See `base.Method.heads`."""
        classifier = super().heads(context)["classifier"]
        return {"classifier": ScaledClassifier(classifier, context.num_classes)}


METHOD = LearnableWeightScaling
