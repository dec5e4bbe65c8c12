"""A backbone and the heads that a method hangs on it, as one Flax module."""

from collections.abc import Mapping

import flax.linen as nn


class Network(nn.Module):
    """Holds a backbone and named heads; a method writes its forward pass over them.

    The forward pass is any function of the bound network, given to `apply` as `method`:

        def forward(network, images):
            return network.heads["classifier"](network.backbone(images, train=True))

        network.apply(variables, images, method=forward, mutable=["batch_stats"])

    Attributes:
      backbone: maps (images [B, H, W, 3], train) to features [B, d].
      heads: modules over features, by name.
    """

    backbone: nn.Module
    heads: Mapping[str, nn.Module]
