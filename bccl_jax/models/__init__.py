"""Backbones by name, heads, and the network that joins them."""

import functools
from collections.abc import Callable
from typing import TypeVar

import flax.linen as nn
import jax.numpy as jnp

from bccl_jax.errors import ConfigError
from bccl_jax.models import outside
from bccl_jax.models.cifar_resnet import CifarResNet
from bccl_jax.models.heads import CosineClassifier, LinearClassifier, Projector, l2_normalize
from bccl_jax.models.imagenet_resnet import ImageNetResNet
from bccl_jax.models.network import Network
from bccl_jax.settings.registry import Origin, Registry

BACKBONES = {
    "resnet8": functools.partial(CifarResNet, blocks=1),
    "resnet32": functools.partial(CifarResNet, blocks=5),
    "resnet32x4": functools.partial(CifarResNet, blocks=5, width=64),
    "resnet50": ImageNetResNet,
    "resnext50": functools.partial(ImageNetResNet, inner_factor=2, groups=32),
}

OWN = Registry("backbone", BACKBONES, taken=tuple(BACKBONES))

# Options that not every backbone has: the value by which one that lacks them goes, and their keys.
_OPTIONAL = {
    "dtype": (jnp.dtype("float32"), "dtype"),
    "remat": (False, "model.remat"),
    "zero_init_residual": (False, "model.zero_init_residual"),
    "norm_groups": (1, "model.batch_norm"),
}

B = TypeVar("B")


def register(name: str) -> Callable[[B], B]:
    """Makes a Flax module the backbone called `name`, as a decorator of its class.

    The module maps (images [B, H, W, 3], train) to features [B, d]. Its fields need defaults; of
    `dtype`, `remat`, `zero_init_residual` and `norm_groups` it has those that it can do, and a
    config that asks for another one is refused.

    Args:
      name: which `config.model.backbone` calls it by.

    Returns:
      The decorator, of a class or of a `functools.partial` of one; it gives it back as it is.

    Raises:
      ConfigError: the name is taken, or the class is no such module.
    """
    origin = Origin.of_caller()

    def add(found: B) -> B:
        outside.check_module(name, found)
        OWN.add(name, found, origin)
        return found

    return add


def create_backbone(name: str, **options) -> nn.Module:
    """Builds the backbone called `name`.

    Args:
      name: a key of `BACKBONES`.
      **options: fields of the module, such as `dtype` or `width`. `dtype`, `remat`,
        `zero_init_residual` and `norm_groups` may be given to any backbone as long as they ask for
        nothing.

    Returns:
      A Linen module that maps (images [B, H, W, 3], train) to float32 features [B, d].

    Raises:
      ConfigError: no backbone has that name, or this one cannot do what an option asks for.
    """
    if name not in BACKBONES:
        raise ConfigError(f"no backbone is called {name!r}; there are {', '.join(BACKBONES)}")
    for option, (off, key) in _OPTIONAL.items():
        if option not in options or _has(name, option):
            continue
        if options.pop(option) != off:
            able = ", ".join(other for other in BACKBONES if _has(other, option))
            raise ConfigError(
                f"config.{key} asks for what config.model.backbone {name!r} does not have, a field "
                f"{option}; leave it as it is by default or choose one of {able}"
            )
    return BACKBONES[name](**options)


def module_class(name: str) -> type:
    """The class of a backbone."""
    return getattr(BACKBONES[name], "func", BACKBONES[name])


def _has(name: str, field: str) -> bool:
    return field in getattr(module_class(name), "__dataclass_fields__", ())


__all__ = [
    "BACKBONES",
    "CosineClassifier",
    "LinearClassifier",
    "Network",
    "Projector",
    "create_backbone",
    "l2_normalize",
    "module_class",
    "register",
]
