"""The random policies: AutoAugment, RandAugment, Cutout and SimAugment on uint8 batches.

AutoAugment and RandAugment are chains of ``operations.apply_operation``, one operation per image;
AutoAugment's are those of ``cifar10_policy``.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment import color, geometry, resampling
from bccl_jax.augment.cifar10_policy import CIFAR10_POLICY, apply_sub_policies, policy_arrays
from bccl_jax.augment.operations import (
    ENHANCEMENTS,
    INDEX,
    OPERATIONS,
    apply_operation,
    is_any,
)

Array = jax.Array


@jax.jit
def autoaugment_cifar10(images: Array, key: Array) -> Array:
    """AutoAugment with its CIFAR-10 policy (Cubuk et al. 2019, arXiv:1805.09501).

    The reading is that of the CIFAR recipes: shear is bicubic, translation and rotation sample the
    nearest pixel, what comes in from outside is grey 128; shear, translation and the enhancements
    take a random sign, rotation turns counter-clockwise only; the other operations have none.

    Args:
        images: uint8 [B, H, W, 3].
        key: a PRNG key; each image draws its own sub-policy, coins and signs.

    Returns:
        uint8 [B, H, W, 3].

    Raises:
        ValueError: if the images are not uint8 [B, H, W, 3].
    """
    geometry.check_images(images)
    draws = jax.random.uniform(key, (images.shape[0], 5))
    chosen = geometry.uniform_index(draws[:, 0], len(CIFAR10_POLICY))
    applied = draws[:, 1:3] < jnp.asarray(policy_arrays()[1])[chosen]
    sign = jnp.where(draws[:, 3:] < 0.5, -1.0, 1.0)
    return apply_sub_policies(images, chosen, applied, sign)


RANDAUGMENT_OPERATIONS = tuple(name for name in OPERATIONS if name != "identity")
_RANDAUGMENT_INDEX = np.int32([INDEX[name] for name in RANDAUGMENT_OPERATIONS])
_MAX_LEVEL = 10.0


def randaugment_values(op: Array, level: Array, sign: Array) -> Array:
    """The operations' arguments at RandAugment levels, timm's default ("not increasing") scale.

    Args:
        op: int32 [B], indices into ``OPERATIONS``.
        level: float32 [B] in [0, 10].
        sign: float32 [B], 1 or -1, the direction of shear, translation and rotation.

    Returns:
        float32 [B], arguments for ``apply_operation``.
    """
    part = level / _MAX_LEVEL
    value = jnp.where(is_any(op, ENHANCEMENTS), 0.1 + 1.8 * part, 0.0)
    value = jnp.where(is_any(op, ("shear_x", "shear_y")), 0.3 * part * sign, value)
    value = jnp.where(is_any(op, ("translate_x", "translate_y")), 0.45 * part * sign, value)
    value = jnp.where(op == INDEX["rotate"], 30 * part * sign, value)
    for name, most in (("posterize", 4), ("solarize", 256), ("solarize_add", 110)):
        value = jnp.where(op == INDEX[name], jnp.floor(part * most), value)
    return value


@functools.partial(jax.jit, static_argnames=("num_ops", "fill"))
def randaugment(
    images: Array,
    key: Array,
    num_ops: int,
    magnitude: float,
    *,
    magnitude_std: float = 0.0,
    probability: float = 0.5,
    fill: tuple[int, int, int] = (128, 128, 128),
) -> Array:
    """RandAugment (Cubuk et al. 2020, arXiv:1909.13719) as the ImageNet recipes take it from timm.

    ``rand-n2-m10-mstd0.5`` is ``num_ops=2, magnitude=10, magnitude_std=0.5``: every slot draws one
    of 15 operations uniformly, with replacement, and applies it with probability 0.5 at a level
    drawn from N(magnitude, magnitude_std) and clipped to [0, 10]. Shear and translation (by up to
    0.45 of the side) and rotation (by up to 30 degrees) take a random sign and sample bilinearly or
    bicubically at random. As in timm's default scale, posterize keeps ``level / 10 * 4`` bits and
    solarize inverts from ``level / 10 * 256`` on, so that both weaken as the level grows.

    Args:
        images: uint8 [B, H, W, 3].
        key: a PRNG key; each image draws its own operations.
        num_ops: operations in a row.
        magnitude: mean level, 0 to 10.
        magnitude_std: standard deviation of the level.
        probability: chance that a drawn operation is applied.
        fill: colour that comes in from outside; timm's default, where BCL's ImageNet recipe has the
            mean colour (124, 116, 104).

    Returns:
        uint8 [B, H, W, 3].

    Raises:
        ValueError: if the images are not uint8 [B, H, W, 3].
    """
    geometry.check_images(images)
    batch = images.shape[0]
    for slot_key in jax.random.split(key, num_ops):
        draw_key, level_key = jax.random.split(slot_key)
        draws = jax.random.uniform(draw_key, (batch, 4))
        drawn = geometry.uniform_index(draws[:, 0], len(RANDAUGMENT_OPERATIONS))
        drawn = jnp.asarray(_RANDAUGMENT_INDEX)[drawn]
        op = jnp.where(draws[:, 1] < probability, drawn, INDEX["identity"])
        sign = jnp.where(draws[:, 2] < 0.5, -1.0, 1.0)
        kernel = jnp.where(draws[:, 3] < 0.5, geometry.BILINEAR, geometry.BICUBIC)
        level = magnitude + magnitude_std * jax.random.normal(level_key, (batch,))
        value = randaugment_values(op, level.clip(0, _MAX_LEVEL), sign)
        images = apply_operation(images, op, value, kernel, fill)
    return images


@functools.partial(jax.jit, static_argnames="size")
def cutout(images: Array, key: Array, size: int) -> Array:
    """Blackens one square per image, its centre uniform over all pixels (arXiv:1708.04552).

    The square is clipped at the borders; it is black before normalising, as in the CIFAR recipes.

    Args:
        images: uint8 [B, H, W, 3].
        key: a PRNG key.
        size: side of the square in pixels, even.

    Returns:
        uint8 [B, H, W, 3].

    Raises:
        ValueError: if the images are not uint8 [B, H, W, 3].
    """
    geometry.check_images(images)
    batch, height, width, _ = images.shape
    centres = geometry.uniform_index(
        jax.random.uniform(key, (batch, 2)), jnp.array([[height, width]])
    )
    return geometry.cutout_square(images, centres, size)


def color_jitter(images: Array, key: Array, strength: tuple[float, float, float, float]) -> Array:
    """ColorJitter: brightness, contrast, saturation and hue by random factors in random order.

    Args:
        images: uint8 [B, H, W, 3].
        key: a PRNG key; each image draws its own factors and its own order.
        strength: of brightness, contrast and saturation s: the factor is uniform in
            [max(0, 1 - s), 1 + s]; of hue h: the shift is uniform in [-h, h] of the circle. 0
            leaves an adjustment out.

    Returns:
        uint8 [B, H, W, 3].
    """
    draws = jax.random.uniform(key, (images.shape[0], 8))
    spread = np.float32(strength[:3])[None]
    least = np.maximum(0, 1 - spread)
    factors = least + (1 + spread - least) * draws[:, :3]
    shift = None
    if strength[3]:
        turn = strength[3] * (2 * draws[:, 3] - 1)
        # Truncated, then wrapped to a byte, as torchvision does.
        shift = (turn * 255).astype(jnp.int32) & 255
    return color.jitter(images, factors, shift, order=draws[:, 4:].argsort(axis=1))


@functools.partial(
    jax.jit,
    static_argnames=(
        "size",
        "cropped",
        "scale",
        "ratio",
        "flip",
        "jitter",
        "blur_prob",
        "blur_sigma",
    ),
)
def simaugment(
    images: Array,
    key: Array,
    *,
    size: int = 0,
    cropped: bool = False,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: bool = True,
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1),
    jitter_prob: float = 0.8,
    grayscale_prob: float = 0.2,
    blur_prob: float = 0.0,
    blur_sigma: tuple[float, float] = (0.1, 2.0),
) -> Array:
    """The contrastive view: resized crop, flip, colour jitter, greyscale, blur, in this order.

    This is SimCLR's augmentation (Chen et al. 2020, arXiv:2002.05709) as the long-tail recipes use
    it, with torchvision's and Pillow's meaning of every step.

    Args:
        images: uint8 [B, H, W, 3].
        key: a PRNG key; each image makes its own draws.
        size: side of the output, 0 for the images' height.
        cropped: whether the images are crops already; they are only mirrored then.
        scale: bounds of the crop's area as a fraction of the image's.
        ratio: bounds of the crop's width over its height.
        flip: whether to mirror every other image at random; digits must not be.
        jitter: brightness, contrast, saturation and hue of ``color_jitter``.
        jitter_prob: chance of the jitter.
        grayscale_prob: chance of turning grey.
        blur_prob: chance of the Gaussian blur.
        blur_sigma: bounds of the blur's sigma.

    Returns:
        uint8 [B, size, size, 3].

    Raises:
        ValueError: if the images are not uint8 [B, H, W, 3].
    """
    geometry.check_images(images)
    batch, height, width, _ = images.shape
    coin_key, box_key, jitter_key = jax.random.split(key, 3)
    coins = jax.random.uniform(coin_key, (batch, 5))
    mirrored = coins[:, 0] < (0.5 if flip else 0.0)
    if cropped:
        images = geometry.flip(images, mirrored)
    else:
        boxes = resampling.resized_crop_boxes(box_key, batch, height, width, scale, ratio)
        images = resampling.resized_crop(images, boxes, size or height, mirrored)
    if any(jitter):
        jittered = color_jitter(images, jitter_key, jitter)
        images = jnp.where((coins[:, 1] < jitter_prob)[:, None, None, None], jittered, images)
    images = color.greyscale(images, coins[:, 2] < grayscale_prob)
    if blur_prob:
        sigma = blur_sigma[0] + (blur_sigma[1] - blur_sigma[0]) * coins[:, 3]
        sigma = jnp.where(coins[:, 4] < blur_prob, sigma, 0.0)
        images = resampling.gaussian_blur(images, sigma, blur_sigma[1])
    return images
