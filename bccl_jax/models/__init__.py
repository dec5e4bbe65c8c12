"""Backbones by name, heads, and the network that joins them."""

import functools

import flax.linen as nn

from bccl_jax.errors import ConfigError
from bccl_jax.models.cifar_resnet import CifarResNet
from bccl_jax.models.heads import CosineClassifier, LinearClassifier, Projector, l2_normalize
from bccl_jax.models.imagenet_resnet import ImageNetResNet
from bccl_jax.models.network import Network

BACKBONES = {
    "resnet8": functools.partial(CifarResNet, blocks=1),
    "resnet32": functools.partial(CifarResNet, blocks=5),
    "resnet32x4": functools.partial(CifarResNet, blocks=5, width=64),
    "resnet50": ImageNetResNet,
    "resnext50": functools.partial(ImageNetResNet, inner_factor=2, groups=32),
}

# Options that not every backbone has, and the value by which one that lacks them goes.
_OPTIONAL = {"remat": False, "zero_init_residual": False, "norm_groups": 1}


def create_backbone(name: str, **options) -> nn.Module:
    """Builds the backbone called `name`.

    Args:
      name: a key of `BACKBONES`.
      **options: fields of the module, such as `dtype` or `width`. `remat`, `zero_init_residual`
        and `norm_groups` may be given to any backbone as long as they ask for nothing.

    Returns:
      A Linen module that maps (images [B, H, W, 3], train) to float32 features [B, d].

    Raises:
      ConfigError: no backbone has that name, or this one cannot do what an option asks for.
    """
    if name not in BACKBONES:
        raise ConfigError(f"no backbone is called {name!r}; there are {', '.join(BACKBONES)}")
    for option, off in _OPTIONAL.items():
        if option not in options or _has(name, option):
            continue
        if options.pop(option) != off:
            able = ", ".join(other for other in BACKBONES if _has(other, option))
            raise ConfigError(
                f"config.model.{option} asks for what config.model.backbone {name!r} does not "
                f"have; leave it at {off} or choose one of {able}"
            )
    return BACKBONES[name](**options)


def _has(name: str, field: str) -> bool:
    backbone = BACKBONES[name]
    return field in getattr(backbone, "func", backbone).__dataclass_fields__


__all__ = [
    "BACKBONES",
    "CosineClassifier",
    "LinearClassifier",
    "Network",
    "Projector",
    "create_backbone",
    "l2_normalize",
]
