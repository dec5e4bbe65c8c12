"""Passes over images with a network as it is: compiled once, for images of any number."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier, inference
from bccl_jax.classifier.variables import Variables
from bccl_jax.config.views import create_views
from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import put, replicated, split_over
from bccl_jax.errors import ConfigError
from bccl_jax.evaluation.over_split import Reading, batch_of, compute_on, rows_of_batch

# Images as they are, of photographs their central crops.
PLAIN = "plain"


def make_pass(classifier: ImageClassifier, forward: Callable, view: str = PLAIN) -> Callable:
    """Closes over a network what computes something of the images of a split.

    Args:
      classifier: whose network it is.
      forward: (apply, params, images, state) -> a pytree of arrays [B, ...], where `apply` runs a
        function over the network in inference mode, images are normalised [B, H, W, 3], and the
        state is the method's. What it makes of the images of a batch must not depend on others,
        for behind the last of them is black.
      view: under which the images are seen, one of `augment.views.view_names()`.

    Returns:
      run(variables, split, of=0, key=None, inputs=None, on_device=False) -> (what `forward` makes
      of the images that are decoded, in their order, on the host or on every device, and bool [N],
      which these are); the same in every process. `of` is the number of images of the split that
      these are chosen from, and `key` decides the view: batch i, of `config.eval.batch_size`
      images, has fold_in(key, i). `inputs` are arrays [N, ...] that the view takes, before what
      `Method.view_inputs` makes of the state. It raises DataError where more pictures than
      `config.data.max_broken` of them cannot be decoded, and ConfigError where what `forward`
      makes or the view takes has not a row for each image.
    """
    config, network, mesh = classifier.config, classifier.network, classifier.mesh
    drawn = view != PLAIN
    augment, (crop,) = create_views(config, (view,))

    def seen(images, labels, key, given, state, filled, cropped):
        # What is drawn depends on the images alone and not on room for shares of the devices.
        room, images = len(images) - filled, images[:filled]
        labels, given = jax.tree.map(lambda x: x[:filled], (labels, given))
        inputs = {**classifier.method.view_inputs(state, labels), **given}
        (found,) = augment(images[:, None] if cropped else images, key, inputs=inputs)
        return jnp.pad(found, ((0, room), (0, 0), (0, 0), (0, 0)))

    @functools.partial(
        jax.jit, static_argnames=("filled", "cropped"), out_shardings=replicated(mesh)
    )
    def compute(variables, images, labels, key, number, given, *, filled, cropped):
        params, batch_stats, state = variables
        if drawn:
            key = jax.random.fold_in(key, number)
            views = seen(images, labels, key, given, state, filled, cropped)
        else:
            views = classifier.normalize(images)
        outputs = forward(inference(network, batch_stats), params, views, state)
        for leaf in jax.tree.leaves(outputs):
            if jnp.shape(leaf)[:1] != (len(images),):
                raise ConfigError(
                    f"config.method.name is {config.method.name!r}, which makes an array "
                    f"{list(jnp.shape(leaf))} of {len(images)} images between epochs; each must "
                    "have a row for each image, and what is counted over them is counted after"
                )
        return outputs

    def run(
        variables: Variables,
        split: Split,
        of: int = 0,
        key: jax.Array | None = None,
        inputs: Mapping[str, np.ndarray] | None = None,
        on_device: bool = False,
    ) -> tuple[Any, np.ndarray]:
        cropped, reading = split.encoded and drawn, Reading(of)
        if drawn:
            reading = Reading(of, min(config.eval.batch_size, of or len(split)))
        if cropped:
            seed = tuple(np.ravel(jax.random.key_data(key)).tolist())
            reading = dataclasses.replace(reading, crop=crop, seed=seed)
        size, filled = batch_of(split, config, mesh, reading)
        parts = variables.params, variables.batch_stats, variables.method
        numbers, structures = itertools.count(), []

        def of_batch(images):
            number, labels, given = next(numbers), None, {}
            if drawn:
                rows = functools.partial(rows_of_batch, number=number, size=size, filled=filled)
                own = jax.tree.map(rows, (split.labels, dict(inputs or {})))
                labels, given = put(own, split_over(mesh))
            outputs = compute(
                parts,
                images,
                labels,
                key,
                np.uint32(number),
                given,
                filled=filled,
                cropped=cropped,
            )
            leaves, structure = jax.tree.flatten(outputs)
            structures.append(structure)
            return tuple(leaves)

        leaves, decoded = compute_on(
            split, of_batch, config, mesh, reading=reading, on_device=on_device
        )
        return structures[0].unflatten(leaves), decoded

    return run
