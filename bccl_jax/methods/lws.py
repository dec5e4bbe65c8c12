"""LWS (Kang et al. 2020): a scale for each class, learned on balanced classes, all else frozen.

Family: classifiers
Paper: Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR
  2020.
Equation: `CE(f)`, then `CE(s * f)` of the scales s [K] alone, class-balanced.
State: none.
Printed: 49.9 on ImageNet-LT and 65.9 on iNaturalist 2018.
"""

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

    fitted: ClassVar[tuple[str, ...]] = ("backbone", "heads_classifier/classifier")
    refitted: ClassVar[tuple[str, ...]] = ("heads_classifier/scale",)

    refit_epochs: Annotated[int, Whole(1, 1_000_000)] = 5

    def heads(self, context):
        """See `base.Method.heads`."""
        classifier = super().heads(context)["classifier"]
        return {"classifier": ScaledClassifier(classifier, context.num_classes)}


METHOD = LearnableWeightScaling
