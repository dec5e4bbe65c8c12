"""cRT (Kang et al. 2020): the classifier trained anew on balanced classes over frozen features.

Family: classifiers
Paper: Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR
  2020.
Equation: `CE(f)`, first of all parameters, then of the classifier alone, class-balanced.
State: none.
Printed: none looked up.
"""

import dataclasses
from typing import ClassVar

from bccl_jax.methods.shared.refitting import Refit


@dataclasses.dataclass(frozen=True)
class ClassifierRetraining(Refit):
    """Section 4.2 of Kang et al.; the settings are those of `Refit`."""

    anew: ClassVar[tuple[str, ...]] = ("heads_classifier",)


METHOD = ClassifierRetraining
