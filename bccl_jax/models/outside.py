"""What the module of a backbone of one's own must be to be registered."""

import dataclasses
import functools
import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError

from bccl_jax.errors import ConfigError
from bccl_jax.settings.bounds import shown


def check_module(name: str, found: Any) -> None:
    """Checks what is to be the backbone called `name`.

    Raises:
      ConfigError: it is no class of Flax's modules, a field has no default, or it is not called
        with images and `train`.
    """
    given = found.keywords if isinstance(found, functools.partial) else {}
    kind = found.func if isinstance(found, functools.partial) else found
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        raise ConfigError(
            f"what is registered as the backbone {name!r} is {shown(found)}; it must be a class "
            "below flax.linen.Module, or a functools.partial of one"
        )
    what = f"the backbone {name!r} is the class {kind.__name__}, "
    for field in dataclasses.fields(kind):
        missing = field.default is field.default_factory is dataclasses.MISSING
        if field.init and missing and field.name not in given:
            raise ConfigError(f"{what}whose field {field.name!r} has no default; give it one")
    try:
        call = next(vars(owner)["__call__"] for owner in kind.__mro__ if "__call__" in vars(owner))
        inspect.signature(call).bind(None, None, train=True)
    except (TypeError, StopIteration) as error:
        raise ConfigError(
            f"{what}which cannot be called with (images, train); write "
            "`def __call__(self, images, train):`"
        ) from error


def check_features(name: str, backbone: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Checks what a backbone makes of images; nothing is computed.

    Args:
      name: of the backbone.
      backbone: the module.
      image_shape: (H, W, 3).

    Raises:
      ConfigError: its features are not float32 [B, d], it draws random numbers, or it has variables
        that a run does not keep.
    """

    def forward(key, images):
        variables = backbone.init(key, images, train=True)
        return backbone.apply(variables, images, train=True, mutable=True)

    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    what = f"config.model.backbone is {name!r}, which "
    try:
        features, variables = jax.eval_shape(forward, jax.random.key(0), images)
    except InvalidRngError as error:
        raise ConfigError(
            f"{what}draws random numbers, as nn.Dropout does; in a run a backbone has none"
        ) from error
    if others := sorted(set(variables) - {"params", "batch_stats"}):
        raise ConfigError(f"{what}has variables {others}; a run keeps params and batch_stats alone")
    shape, dtype = getattr(features, "shape", None), getattr(features, "dtype", None)
    if shape is None or len(shape) != 2 or shape[0] != 2 or dtype != jnp.float32:
        told = type(features).__name__ if shape is None else f"{dtype} {list(shape)}"
        raise ConfigError(
            f"{what}makes {told} of 2 images; it must return float32 [B, d], as "
            "x.mean((1, 2)).astype(jnp.float32) is of a feature map"
        )
