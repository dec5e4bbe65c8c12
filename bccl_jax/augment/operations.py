"""One operation per image without a switch: an affine sampling, then a table, then a blend.

A switch over the operations would run every branch for the whole batch. Here each of the three
forms runs once, with parameters per image that are neutral where the image's operation is of
another form.
"""

import functools

import jax
import jax.numpy as jnp

from bccl_jax.augment import color, geometry, tables

Array = jax.Array

OPERATIONS = (
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "identity",
    "invert",
    "posterize",
    "solarize",
    "solarize_add",
    "autocontrast",
    "equalize",
    "brightness",
    "color",
    "contrast",
    "sharpness",
)
INDEX = {name: index for index, name in enumerate(OPERATIONS)}

ENHANCEMENTS = ("brightness", "color", "contrast", "sharpness")
MOTIONS = ("shear_x", "shear_y", "translate_x", "translate_y")


def is_any(op: Array, names: tuple[str, ...]) -> Array:
    """Whether each of the operations ``op`` [B] is one of ``names``, bool [B]."""
    return functools.reduce(jnp.logical_or, [op == INDEX[name] for name in names])


def apply_operation(
    images: Array,
    op: Array,
    value: Array,
    kernel: Array | None,
    fill: tuple[int, int, int],
    *,
    one_axis: bool = False,
) -> Array:
    """Applies one operation to each image: an affine sampling, a table and a blend.

    Args:
        images: uint8 [B, H, W, 3].
        op: int32 [B], indices into ``OPERATIONS``.
        value: float32 [B], the operation's argument in Pillow's units: shear factor, translation
            as a fraction of the side, degrees, bits kept, threshold, addend, enhancement factor;
            ignored by the others.
        kernel: int32 [B], the sampling kernel of shear, translation and rotation; None for the
            nearest pixel in every image, which is read at once.
        fill: colour that comes in from outside.
        one_axis: as in ``geometry.affine_sample``: rotations must then sample nearest.

    Returns:
        uint8 [B, H, W, 3].
    """
    # Each form reads its input several times, and every pixel its image's parameters: the barriers
    # keep compilers from making them anew, random bits included, at each of these reads.
    if kernel is not None:
        kernel = jnp.where(op <= INDEX["rotate"], kernel, geometry.NEAREST)
    inverse = _inverse_maps(op, value, images.shape[1], images.shape[2])
    op, value, kernel, inverse = jax.lax.optimization_barrier((op, value, kernel, inverse))
    if kernel is None:
        images = geometry.nearest_sample(images, inverse, fill)
    else:
        images = geometry.affine_sample(images, inverse, kernel, fill, one_axis=one_axis)
    images = jax.lax.optimization_barrier(images)
    images = tables.apply_table(images, _choose_table(images, op, value))
    images = jax.lax.optimization_barrier(images)
    return _enhance_chosen(images, op, value)


def _inverse_maps(op: Array, value: Array, height: int, width: int) -> Array:
    """The maps from output to input, float32 [B, 2, 3]; the identity for the other operations."""

    def argument(name: str) -> Array:
        return jnp.where(op == INDEX[name], value, 0.0)

    angle = jnp.radians(argument("rotate"))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    middle_x, middle_y = width / 2, height / 2
    # Pillow turns counter-clockwise about the image's middle.
    shift_x = middle_x - cos * middle_x + sin * middle_y + argument("translate_x") * width
    shift_y = middle_y - sin * middle_x - cos * middle_y + argument("translate_y") * height
    return jnp.stack(
        [
            jnp.stack([cos, argument("shear_x") - sin, shift_x], axis=1),
            jnp.stack([sin + argument("shear_y"), cos, shift_y], axis=1),
        ],
        axis=1,
    )


def _choose_table(images: Array, op: Array, value: Array) -> Array:
    """Each image's table, uint8 [B, 3, 256]; the identity for the other operations."""
    counts = tables.histogram(images)
    whole = value.astype(jnp.int32)
    choices = {
        "invert": tables.invert_table(),
        "posterize": tables.posterize_table(whole.clip(0, 8)),
        "solarize": tables.solarize_table(value),
        "solarize_add": tables.solarize_add_table(whole),
        "autocontrast": tables.autocontrast_table(counts),
        "equalize": tables.equalize_table(counts),
        "brightness": tables.brightness_table(value),
    }
    table = tables.identity_table()
    for name, choice in choices.items():
        table = jnp.where((op == INDEX[name])[:, None, None], choice, table)
    return table


def _enhance_chosen(images: Array, op: Array, value: Array) -> Array:
    """Colour, contrast or sharpness where chosen; factor 1 for the other operations."""
    kind = jnp.where(op == INDEX["contrast"], color.CONTRAST, color.SHARPNESS)
    kind = jnp.where(op == INDEX["color"], color.COLOR, kind)
    factor = jnp.where(is_any(op, ("color", "contrast", "sharpness")), value, 1.0)
    return color.enhance(images, kind, factor)
