"""Colour operations on batches of uint8 images, each parameterised per image.

A blend mixes the image with a degenerate version of itself, as Pillow's ``ImageEnhance`` does; it
and the hue shift may differ from Pillow's by one grey level, greyscale equals it.
"""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def grey(images: Array) -> Array:
    """Pillow's conversion to "L" (ITU-R 601-2 luma in 16-bit fixed point).

    Args:
        images: uint8 [B, H, W, 3].

    Returns:
        uint8 [B, H, W].
    """
    red, green, blue = (images[..., c].astype(jnp.int32) for c in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(jnp.uint8)


def greyscale(images: Array, chosen: Array) -> Array:
    """Turns the chosen images grey, keeping three channels.

    Args:
        images: uint8 [B, H, W, 3].
        chosen: bool [B].

    Returns:
        uint8 [B, H, W, 3].
    """
    return jnp.where(chosen[:, None, None, None], grey(images)[..., None], images)


def mean_grey(luma: Array) -> Array:
    """The rounded mean of ``grey``'s output [B, H, W], int32 [B]."""
    count = luma.shape[1] * luma.shape[2]
    total = luma.sum((1, 2), dtype=jnp.int32)
    return (total + count // 2) // count


def smooth(images: Array) -> Array:
    """``ImageFilter.SMOOTH``: a 3x3 mean with a heavy centre; the border stays as it is.

    Args:
        images: uint8 [B, H, W, 3].

    Returns:
        uint8 [B, H, W, 3].
    """
    values = images.astype(jnp.int32)
    lines = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    total = lines[:, :, :-2] + lines[:, :, 1:-1] + lines[:, :, 2:] + 4 * values[:, 1:-1, 1:-1]
    # The nearest whole number; 13 is odd, so no sum lies half-way between two.
    mean = jnp.floor(total * np.float32(1 / 13) + 0.5).astype(jnp.uint8)
    return images.at[:, 1:-1, 1:-1].set(mean)


def blend(degenerate: Array, images: Array, factor: Array) -> Array:
    """``Image.blend``: 0 gives ``degenerate``, 1 ``images``, beyond extrapolates.

    Args:
        degenerate: whole levels, broadcastable to the images.
        images: uint8 [B, H, W, 3].
        factor: float32 [B].

    Returns:
        uint8 [B, H, W, 3].
    """
    base = degenerate.astype(jnp.float32)
    mixed = base + factor[:, None, None, None] * (images.astype(jnp.float32) - base)
    return mixed.clip(0, 255).astype(jnp.uint8)


def saturate(images: Array, factor: Array) -> Array:
    """``ImageEnhance.Color``: blends with the grey image; shapes as for ``blend``."""
    return blend(grey(images)[..., None], images, factor)


def contrast(images: Array, factor: Array) -> Array:
    """``ImageEnhance.Contrast``: blends with the mean grey; shapes as for ``blend``."""
    return blend(mean_grey(grey(images))[:, None, None, None], images, factor)


def sharpness(images: Array, factor: Array) -> Array:
    """``ImageEnhance.Sharpness``: blends with the smoothed image; shapes as for ``blend``."""
    return blend(smooth(images), images, factor)


# Pillow keeps hue and saturation as float32 quotients before it truncates 255 times them: where
# the exact value is the whole number j, the result is j - 1 if float32(j / 255) lies below j / 255.
_HSV_SHORT = np.float32(np.arange(256) / 255.0).astype(np.float64) * 255.0 < np.arange(256)


def _hsv_byte(numerator: Array, denominator: Array) -> Array:
    """Pillow's truncation of numerator / denominator (int32, in [0, 255]), int32."""
    quotient = jnp.floor(numerator.astype(jnp.float32) / denominator).astype(jnp.int32)
    whole = quotient * denominator == numerator
    return quotient - (whole & jnp.asarray(_HSV_SHORT)[quotient]).astype(jnp.int32)


def shift_hue(images: Array, shift: Array) -> Array:
    """Turns the hue in 8-bit HSV, as torchvision's ``adjust_hue`` does on Pillow images.

    The round trip through 8-bit HSV is lossy, so a shift of 0 is not quite the identity.

    Args:
        images: uint8 [B, H, W, 3].
        shift: int32 [B], in 255ths of the circle.

    Returns:
        uint8 [B, H, W, 3].
    """
    red, green, blue = (images[..., c].astype(jnp.int32) for c in range(3))
    value = jnp.maximum(red, jnp.maximum(green, blue))
    chroma = value - jnp.minimum(red, jnp.minimum(green, blue))
    span = jnp.maximum(chroma, 1)
    sixths = jnp.where(
        red == value,
        green - blue,
        jnp.where(green == value, 2 * chroma + blue - red, 4 * chroma + red - green),
    )
    sixths = jnp.where(sixths < 0, sixths + 6 * chroma, sixths)
    hue = _hsv_byte(85 * sixths, 2 * span)
    saturation = _hsv_byte(255 * chroma, jnp.maximum(value, 1))

    hue = (hue + shift[:, None, None]) & 255
    sector = (hue * 6) // 255
    fraction = (hue * 6 - sector * 255) * np.float32(1 / 255)
    part = saturation * np.float32(1 / 255)
    level = value.astype(jnp.float32)
    p = jnp.floor(level * (1 - part) + 0.5).astype(jnp.int32)
    q = jnp.floor(level * (1 - part * fraction) + 0.5).astype(jnp.int32)
    t = jnp.floor(level * (1 - part * (1 - fraction)) + 0.5).astype(jnp.int32)
    sector = jnp.where(sector == 6, 0, sector)

    def pick(*by_sector: Array) -> Array:
        return jnp.select([sector == s for s in range(5)], by_sector[:5], by_sector[5])

    turned = (
        pick(value, q, p, p, t, value),
        pick(t, value, value, q, p, p),
        pick(p, p, t, value, value, q),
    )
    return jnp.stack(turned, axis=-1).astype(jnp.uint8)


BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def jitter_colors(images: Array, factors: Array, shift: Array | None, order: Array) -> Array:
    """ColorJitter with given draws: four adjustments in each image's own order.

    The hue shift costs the most, so it is computed once: the blends that come before it in an
    image's order are applied first, then the hue, then the blends that come after it.

    Args:
        images: uint8 [B, H, W, 3].
        factors: float32 [B, 3], of brightness, contrast and saturation.
        shift: int32 [B], of ``shift_hue``; None leaves the hue out.
        order: int32 [B, 4], a permutation of BRIGHTNESS, CONTRAST, SATURATION, HUE.

    Returns:
        uint8 [B, H, W, 3].
    """
    hue_at = (order == HUE).argmax(1)
    steps = jnp.arange(3)[None, :]
    steps = steps + (steps >= hue_at[:, None])
    kinds = jnp.take_along_axis(order, steps, axis=1)  # [B, 3], without the hue
    chosen = jnp.take_along_axis(factors, kinds, axis=1)

    def adjust(pixels: Array, step: int, applied: Array) -> Array:
        luma = grey(pixels)
        flat = jnp.where(kinds[:, step] == CONTRAST, mean_grey(luma), 0)[:, None, None]
        saturating = (kinds[:, step] == SATURATION)[:, None, None]
        degenerate = jnp.where(saturating, luma, flat)[..., None]
        return blend(degenerate, pixels, jnp.where(applied, chosen[:, step], 1))

    if shift is None:
        for step in range(3):
            images = adjust(images, step, jnp.ones_like(hue_at, bool))
        return images
    for step in range(3):
        images = adjust(images, step, step < hue_at)
    images = shift_hue(images, shift)
    for step in range(3):
        images = adjust(images, step, step >= hue_at)
    return images
