"""Views of one's own: functions over uint8 batches, by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bccl_jax.errors import ConfigError
from bccl_jax.settings.bounds import shown
from bccl_jax.settings.registry import Origin, Registry

# The package's own.
VIEW_NAMES = ("strong", "sim", "plain")
# (images uint8 [B, H, W, 3], key) -> views of them, of the same shape and kind.
View = Callable[[jax.Array, jax.Array], jax.Array]
OWN = Registry("view", {}, taken=VIEW_NAMES)


def register(name: str) -> Callable[[View], View]:
    """Makes a function the view called `name`, as a decorator of it.

    The function is pure and compiled: (images uint8 [B, H, W, 3], key) -> uint8 of the same shape.
    It sees the images as they are, or, where `config.augment.strong.crop` is "resized", as it is
    of photographs, random resized crops of them by the scale and the ratio of that view.

    Args:
      name: which a method's `views` call it by.

    Returns:
      The decorator; it gives the function back as it is.

    Raises:
      ConfigError: the name is taken.
    """
    origin = Origin.of_caller()

    def add(function: View) -> View:
        if not callable(function):
            raise ConfigError(f"the view {name!r} is {shown(function)}; it must be a function")
        OWN.add(name, function, origin)
        return function

    return add


def own_view(name: str, function: View, images: jax.Array, key: jax.Array) -> jax.Array:
    """What a view of one's own makes of images.

    Args:
      name: of the view, for the message.
      function: that is it.
      images: uint8 [B, H, W, 3].
      key: a PRNG key.

    Returns:
      uint8 [B, H, W, 3].

    Raises:
      ConfigError: it makes something else.
    """
    view = function(images, key)
    shape, dtype = jnp.shape(view), getattr(view, "dtype", None)
    if shape != images.shape or dtype != jnp.uint8:
        raise ConfigError(
            f"the view {name!r} makes {dtype} {list(shape)} of uint8 {list(images.shape)}; it must "
            "keep the shape and give uint8, as "
            "jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8) does"
        )
    return view
