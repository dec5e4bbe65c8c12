"""K-positive contrastive learning, KCL (Kang et al. 2021).

Supervised contrast in which every class has as many positives: an anchor is drawn to the key of
its image's other view and to k keys of its class, drawn at random, however many there are. A
momentum copy of backbone and projector makes the keys, a queue keeps those of earlier steps. A
second stage trains a linear classifier over the frozen features, class-balanced, on the strong
view. Until then the classifier is as it started, and accuracies are those of chance.

Keys of the anchor's class that were not drawn stay in the denominator: so the equation has it, and
both public codes. The draw is uniform without repetition, in the compiled step; of a class of fewer
keys all are taken. Of all keys, k = 0, without a queue it is supervised contrast (Khosla et al.
2020) of the batch.

In the first stage a step costs two forward passes, one backward pass, and the product of anchors
with the queue. Beside the network's, memory is that of the copy and of some five arrays of batch x
queue, 308 MiB by the compiler's account for 256 anchors and 65,536 keys of 128 dimensions; 8,142
targets of TSC add 8. The second stage is that of cRT.

Of a batch in `accumulation` parts the keys of each part are in the queue of the next one. SAM draws
the same positives in both passes.

The authors' code takes the first k keys of the class that it finds in place of random ones and
fills the queue before it trains; it has no class-balanced second stage. That of Li et al. 2022
(`tsc`) draws them, and reaches the printed figures of ImageNet-LT; `published` is its. It has no
recipe for CIFAR. Its queue starts with random vectors that are candidates; here a place without a
key is none.

Family: contrast
Paper: Kang, Li, Xie, Yuan, Feng, "Exploring Balanced Feature Spaces for Representation Learning",
  ICLR 2021.
Equation: mean of `-log softmax(z . x / tau)` over the own key and k keys of the class, among all
  keys; then `CE(f)` of the classifier alone, class-balanced.
State: a queue of keys and labels, and a momentum copy of backbone and projector.
Printed: 42.8 on CIFAR-100-LT at imbalance 100, 51.5 on ImageNet-LT with 200 epochs before the
  classifier's 40.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from bccl_jax.methods.shared.k_positive import PHOTOGRAPHS, KPositive


@dataclasses.dataclass(frozen=True)
class KPositiveContrast(KPositive):
    """The method of Kang et al. 2021; the settings are those of `KPositive`."""

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "photographs": PHOTOGRAPHS | {"epochs": 240},
    }


METHOD = KPositiveContrast
