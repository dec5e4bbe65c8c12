"""Views of one's own: functions over uint8 batches, by name."""

import inspect
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from bccl_jax.errors import ConfigError
from bccl_jax.settings.bounds import shown
from bccl_jax.settings.registry import Origin, Registry

# The package's own.
VIEW_NAMES = ("strong", "sim", "plain", "curriculum")
# What these take beside images and key.
_TAKEN = {"curriculum": ("level", "chance")}
# (images uint8 [B, H, W, 3], key, what else it takes) -> views of them, of the same shape and kind.
View = Callable[..., jax.Array]
OWN = Registry("view", {}, taken=VIEW_NAMES)


def register(name: str) -> Callable[[View], View]:
    """Makes a function the view called `name`, as a decorator of it.

    The function is pure and compiled: (images uint8 [B, H, W, 3], key) -> uint8 of the same shape.
    It sees the images as they are, or, where `config.augment.strong.crop` is "resized", as it is
    of photographs, random resized crops of them by the scale and the ratio of that view.

    Further arguments without a default are arrays [B, ...] that the method makes of its own state
    and of the labels, by their names (`Method.view_inputs`), such as a strength of each image.

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


def taken(name: str) -> tuple[str, ...]:
    """The names of the arrays that a view takes beside images and key; () of most."""
    if name not in OWN.table:
        return _TAKEN.get(name, ())
    try:
        parameters = list(inspect.signature(OWN.table[name]).parameters.values())
    except ValueError:  # what is not written in Python may have none
        return ()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(p.name for p in parameters[2:] if p.kind in named and p.default is p.empty)


def check_inputs(name: str, inputs: Mapping[str, jax.Array], images: int, told: str = "") -> None:
    """Checks that there is what a view takes.

    Args:
      name: of the view.
      inputs: arrays or their shapes by name.
      images: B.
      told: who asks for the view, before the message.

    Raises:
      ConfigError: an array is missing, or has not a row for each image.
    """
    for wanted in taken(name):
        if wanted not in inputs:
            given = ", ".join(inputs) or "nothing"
            raise ConfigError(
                f"{told}the view {name!r} takes {wanted!r}, which is not given ({given} is); "
                f"let the method's view_inputs return {{{wanted!r}: state[{wanted!r}][labels]}}"
            )
        if jnp.shape(inputs[wanted])[:1] != (images,):
            raise ConfigError(
                f"{told}the view {name!r} is given {wanted!r} of the shape "
                f"{list(jnp.shape(inputs[wanted]))} for {images} images; it must have a row for "
                "each of them"
            )


def own_view(
    name: str,
    function: View,
    images: jax.Array,
    key: jax.Array,
    inputs: Mapping[str, jax.Array],
) -> jax.Array:
    """What a view of one's own makes of images.

    Args:
      name: of the view, for the message.
      function: that is it.
      images: uint8 [B, H, W, 3].
      key: a PRNG key.
      inputs: what else it takes, by name.

    Returns:
      uint8 [B, H, W, 3].

    Raises:
      ConfigError: it makes something else.
    """
    view = function(images, key, **inputs)
    shape, dtype = jnp.shape(view), getattr(view, "dtype", None)
    if shape != images.shape or dtype != jnp.uint8:
        raise ConfigError(
            f"the view {name!r} makes {dtype} {list(shape)} of uint8 {list(images.shape)}; it must "
            "keep the shape and give uint8, as "
            "jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8) does"
        )
    return view
