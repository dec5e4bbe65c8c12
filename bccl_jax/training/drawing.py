"""What a step's loss sees of a batch: its views and labels, drawn by the step's key."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bccl_jax.methods.base import Batch, Method

# Streams of a step's key beside those of the views and of the method.
_SOFT_STREAM = 0x50F75017
_OTHER_STREAM = 0x07E35

# draw(batch, key, own) -> (what the loss sees, the key that it has beside it); `own` is the
# method's state before the step.
Draw = Callable[[dict, jax.Array, Any], tuple[Batch, jax.Array]]


def make_draw(method: Method, augment: Callable, soften: Callable | None) -> Draw:
    """Closes over what makes of images and labels what the loss of a method sees.

    Args:
      method: whose views and streams they are.
      augment: as `make_train_step` has it.
      soften: as there.
    """
    streams = len(method.streams)

    def see(batch, key, own):
        """The views and labels of a batch, by the method's state before the step."""
        inputs = method.view_inputs(own, batch["label"])
        given = {"inputs": inputs} if inputs else {}
        views = augment(batch["image"], key, **given)
        return Batch(views, batch["label"], indices=batch.get("index"))

    def draw(batch, key, own):
        view_key, method_key = jax.random.split(key)
        first = batch
        if streams:
            first = jax.tree.map(lambda x: x[:, 0], batch)
        drawn = see(first, view_key, own)
        if soften is not None:
            drawn = soften(drawn, jax.random.fold_in(key, _SOFT_STREAM))
        others = []
        for number in range(1, 1 + streams):
            other = jax.tree.map(lambda x, n=number: x[:, n], batch)
            other_key = jax.random.fold_in(jax.random.fold_in(key, _OTHER_STREAM), number)
            others.append(see(other, other_key, own))
        return drawn._replace(others=tuple(others)), method_key

    return draw


def by_image(batch: dict, method: Method) -> dict:
    """Each image of a batch [B (1 + S), ...] with those of the S further streams beside it."""
    streams = len(method.streams)
    if not streams:
        return batch
    return jax.tree.map(lambda x: x.reshape(-1, 1 + streams, *x.shape[1:]), batch)


def parted_batch(batch: dict, parts: int) -> dict:
    """A batch [B, ...] as [A, B / A, ...].

    Every A-th row makes a part, so that devices that share a batch share each of its parts.
    """
    return jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)


def make_network_views(method: Method, draw: Draw, accumulation: int) -> Callable:
    """Closes over what shows the images that a step hands to the network.

    Args:
      method: of the step.
      draw: of the step.
      accumulation: A, parts of a batch.

    Returns:
      (state, step, {"image", "label", "index"}) -> V views, floats [B, H, W, 3], as the step after
      `step` others makes them where it finds the method as the state has it; pure, to be jitted.
    """

    def network_views(state, step, batch):
        key, batch = jax.random.fold_in(state.key, step), by_image(batch, method)
        own = method.follow(state.method, state.params)
        if accumulation == 1:
            return method.network_views(*draw(batch, key, own))
        batch = parted_batch(batch, accumulation)
        views = []
        for part in range(accumulation):
            drawn = draw(
                jax.tree.map(lambda x, n=part: x[n], batch), jax.random.fold_in(key, part), own
            )
            views.append(method.network_views(*drawn))
        # The rows back in their order.
        return tuple(
            jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])
            for parts in zip(*views, strict=True)
        )

    return network_views
