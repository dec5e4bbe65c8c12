"""Backbones by name, heads, and the network that joins them."""

import functools

import flax.linen as nn

from bccl_jax.models.cifar_resnet import CifarResNet
from bccl_jax.models.heads import CosineClassifier, LinearClassifier, Projector, l2_normalize
from bccl_jax.models.network import Network

BACKBONES = {
    "resnet8": functools.partial(CifarResNet, blocks=1),
    "resnet32": functools.partial(CifarResNet, blocks=5),
    "resnet32x4": functools.partial(CifarResNet, blocks=5, width=64),
}


def create_backbone(name: str, **options) -> nn.Module:
    """Builds the backbone called `name`.

    Args:
      name: a key of `BACKBONES`.
      **options: fields of the module, such as `dtype` or `width`.

    Returns:
      A Linen module that maps (images [B, H, W, 3], train) to float32 features [B, d].

    Raises:
      ValueError: no backbone has that name.
    """
    if name not in BACKBONES:
        raise ValueError(f"no backbone is called {name!r}; there are {', '.join(BACKBONES)}")
    return BACKBONES[name](**options)


__all__ = [
    "BACKBONES",
    "CosineClassifier",
    "LinearClassifier",
    "Network",
    "Projector",
    "create_backbone",
    "l2_normalize",
]
