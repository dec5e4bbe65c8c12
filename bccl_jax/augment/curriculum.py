"""The augmentation of CUDA (Ahn et al. 2023): as many operations as an image's level, as strong.

At level L an image goes through L operations in a row, each drawn evenly from 22 with replacement
and applied at L thirtieths of the way from its least to its largest argument. Of some a low level
is the stronger one: solarize then inverts nearly all levels, and the enhancements start at 0.1.
"""

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment import color, geometry, resampling
from bccl_jax.augment.operations import INDEX, apply_operation

Array = jax.Array

LEVELS = 10

# Name, least and largest argument in Pillow's units; translation is in pixels whatever the image's
# size, of resize_crop it is the factor. The first eight have none.
OPERATIONS = (
    ("flip", 0.0, 1.0),
    ("mirror", 0.0, 1.0),
    ("edge_enhance", 0.0, 1.0),
    ("detail", 0.0, 1.0),
    ("smooth", 0.0, 1.0),
    ("autocontrast", 0.0, 1.0),
    ("equalize", 0.0, 1.0),
    ("invert", 0.0, 1.0),
    ("gaussian_blur", 0.0, 2.0),
    ("resize_crop", 1.0, 1.5),
    ("rotate", 0.0, 30.0),
    ("posterize", 0.0, 4.0),
    ("solarize", 0.0, 256.0),
    ("solarize_add", 0.0, 110.0),
    ("color", 0.1, 1.9),
    ("contrast", 0.1, 1.9),
    ("brightness", 0.1, 1.9),
    ("sharpness", 0.1, 1.9),
    ("shear_x", 0.0, 0.3),
    ("shear_y", 0.0, 0.3),
    ("translate_x", 0.0, 100.0),
    ("translate_y", 0.0, 100.0),
)
NAMES = tuple(name for name, _, _ in OPERATIONS)
# Those with a direction, which is drawn.
SIGNED = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
_STEPS = 30.0
# An image's operation in `operations`, where they have it. Smoothing is what sharpness starts from.
# Their solarize_add is another one, which adds to the lower half of the levels alone.
_OWN = ("flip", "mirror", "edge_enhance", "detail", "gaussian_blur", "resize_crop", "solarize_add")
_SHARED = np.int32(
    [
        INDEX["sharpness" if name == "smooth" else "identity" if name in _OWN else name]
        for name in NAMES
    ]
)
_BLACK = (0, 0, 0)
_LARGEST_SIGMA = 2.0 * LEVELS / _STEPS


def arguments() -> np.ndarray:
    """The operations' arguments, float64 [22, 11], by operation and level."""
    least, most = np.array([ends for _, *ends in OPERATIONS]).T[..., None]
    return np.arange(LEVELS + 1) / _STEPS * (most - least) + least


def apply_at_level(images: Array, op: Array, level: Array, sign: Array) -> Array:
    """Applies one operation to each image, as strongly as its level says.

    Args:
        images: uint8 [B, H, W, 3].
        op: int32 [B], indices into ``OPERATIONS``.
        level: int32 [B], 0 to ``LEVELS``.
        sign: float32 [B], 1 or -1, the direction of rotation, shear and translation.

    Returns:
        uint8 [B, H, W, 3]; what comes in from outside is black.
    """
    _, height, width, _ = images.shape

    def chosen(*names: str) -> Array:
        return jnp.isin(op, np.int32([NAMES.index(name) for name in names]))

    def where(name: str, changed: Array, images: Array) -> Array:
        return jnp.where(chosen(name)[:, None, None, None], changed, images)

    value = jnp.asarray(_scaled_arguments(height, width))[op, level]
    value = value * jnp.where(chosen(*SIGNED), sign, 1.0)
    images = apply_operation(images, jnp.asarray(_SHARED)[op], value, None, _BLACK)
    # An image has one operation, so that each form leaves it as it is but the one that has that.
    images = where("flip", images[:, ::-1], images)
    images = where("mirror", images[:, :, ::-1], images)
    images = where("solarize_add", _solarize_add(images, value), images)
    images = color.sharpen(images, chosen("edge_enhance"), edges=True)
    images = color.sharpen(images, chosen("detail"), edges=False)
    sigma = jnp.where(chosen("gaussian_blur"), value, 0.0)
    images = resampling.gaussian_blur(images, sigma, _LARGEST_SIGMA)
    factor = jnp.where(chosen("resize_crop"), level, 0)
    heights, widths = (jnp.asarray(_enlarged(side))[factor] for side in (height, width))
    return resampling.enlarge_centre(images, heights, widths)


def _scaled_arguments(height: int, width: int) -> np.ndarray:
    """``arguments`` as the operations take them, float32 [22, 11]."""
    found = dict(zip(NAMES, arguments(), strict=True))
    # A sharpness of 0 is the smoothed image itself.
    found["smooth"] *= 0
    found["posterize"] = np.maximum(1, np.floor(found["posterize"]))
    found["solarize_add"] = np.floor(found["solarize_add"])
    found["translate_x"] /= width
    found["translate_y"] /= height
    return np.float32(list(found.values()))


def _enlarged(side: int) -> np.ndarray:
    """What ``resize_crop`` makes of a side, int32 [11] by level."""
    return np.int32([int(side * factor) for factor in arguments()[NAMES.index("resize_crop")]])


def _solarize_add(images: Array, addend: Array) -> Array:
    """Adds to every level, then inverts those from 128 on."""
    added = images.astype(jnp.int32) + addend.astype(jnp.int32)[:, None, None, None]
    added = jnp.minimum(added, 255)
    return jnp.where(added < 128, added, 255 - added).astype(jnp.uint8)


def curriculum(images: Array, key: Array, level: Array, chance: Array) -> Array:
    """Makes each image as hard as its level, or leaves it as it is.

    Args:
        images: uint8 [B, H, W, 3].
        key: a PRNG key; each image makes its own draws. Those of its first operations are the same
            whatever the level.
        level: int32 [B], 0 to ``LEVELS``; at 0 an image stays as it is.
        chance: float32 [B], that an image is changed at all.

    Returns:
        uint8 [B, H, W, 3].

    Raises:
        ValueError: if the images are not uint8 [B, H, W, 3].
    """
    geometry.check_images(images)
    coin_key, operation_key = jax.random.split(key)
    coins = jax.random.uniform(coin_key, (len(images),))
    slots = jnp.where(coins < chance, level, 0)

    def step(slot: Array, images: Array) -> Array:
        draws = jax.random.uniform(jax.random.fold_in(operation_key, slot), (len(images), 2))
        op = geometry.uniform_index(draws[:, 0], len(OPERATIONS))
        sign = jnp.where(draws[:, 1] < 0.5, -1.0, 1.0)
        changed = apply_at_level(images, op, level, sign)
        return jnp.where((slot < slots)[:, None, None, None], changed, images)

    # No more rounds than the batch's highest level needs; most are far below the last one.
    return jax.lax.fori_loop(0, slots.max(), step, images)
