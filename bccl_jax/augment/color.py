"""Colour operations on batches of uint8 images, each parameterised per image.

The enhancements blend the image with a degenerate version of itself, as Pillow's ``ImageEnhance``
does; they and the hue shift may differ from Pillow's by one grey level, greyscale equals it.

Inside, images are *planes*: float32 [B, 3, H, W] of whole grey levels, which every device works
through in long vectors; all levels and their weighted sums stay below 2^24, hence exact.
"""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

COLOR, CONTRAST, SHARPNESS = range(3)
JITTER_BRIGHTNESS, JITTER_CONTRAST, JITTER_SATURATION, JITTER_HUE = range(4)


def to_planes(images: Array) -> Array:
    """uint8 [B, H, W, 3] as planes, float32 [B, 3, H, W]."""
    return images.transpose(0, 3, 1, 2).astype(jnp.float32)


def from_planes(planes: Array) -> Array:
    """Planes of whole levels in [0, 255] as uint8 [B, H, W, 3]."""
    return planes.astype(jnp.uint8).transpose(0, 2, 3, 1)


def _luma(planes: Array) -> Array:
    """Pillow's conversion to "L" (ITU-R 601-2 luma in 16-bit fixed point), [B, 1, H, W]."""
    red, green, blue = planes[:, :1], planes[:, 1:2], planes[:, 2:]
    return jnp.floor((red * 19595 + green * 38470 + blue * 7471 + 0x8000) / 65536)


def _mean(luma: Array) -> Array:
    """The rounded mean level of each image, [B, 1, 1, 1]."""
    count = luma.shape[2] * luma.shape[3]
    # Summed as integers: a large image's sum leaves the whole numbers of float32.
    total = luma.astype(jnp.int32).sum((1, 2, 3), keepdims=True)
    return ((total + count // 2) // count).astype(jnp.float32)


def with_border(inner: Array, planes: Array) -> Array:
    """What a 3x3 filter makes, [B, 3, H - 2, W - 2], and around it the border of the planes."""
    padded = jnp.pad(inner, [(0, 0), (0, 0), (1, 1), (1, 1)])
    height, width = planes.shape[2:]
    row, column = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return jnp.where(inside[None, None], padded, planes)


def _smooth(planes: Array) -> Array:
    """``ImageFilter.SMOOTH``: a 3x3 mean with a heavy centre; the border stays as it is."""
    rows = planes[:, :, :-2] + planes[:, :, 1:-1] + planes[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * planes[:, :, 1:-1, 1:-1]
    # The nearest whole number; 13 is odd, so no sum lies half-way between two.
    return with_border(jnp.floor(total * np.float32(1 / 13) + 0.5), planes)


def _blend(degenerate: Array, planes: Array, factor: Array) -> Array:
    """``Image.blend``: factor 0 gives ``degenerate``, 1 ``planes``, beyond extrapolates."""
    mixed = degenerate + factor[:, None, None, None] * (planes - degenerate)
    return jnp.floor(mixed.clip(0, 255))


def greyscale(images: Array, chosen: Array) -> Array:
    """Turns the chosen images grey, keeping three channels.

    Args:
        images: uint8 [B, H, W, 3].
        chosen: bool [B].

    Returns:
        uint8 [B, H, W, 3].
    """
    planes = to_planes(images)
    return from_planes(jnp.where(chosen[:, None, None, None], _luma(planes), planes))


def enhance(images: Array, kind: Array, factor: Array) -> Array:
    """``ImageEnhance.Color``, ``Contrast`` or ``Sharpness``, chosen per image.

    Args:
        images: uint8 [B, H, W, 3].
        kind: int32 [B], ``COLOR``, ``CONTRAST`` or ``SHARPNESS``.
        factor: float32 [B]; 0 is the grey, the flat or the smoothed image, 1 changes nothing.

    Returns:
        uint8 [B, H, W, 3].
    """
    planes = jax.lax.optimization_barrier(to_planes(images))
    luma = _luma(planes)
    kind = kind[:, None, None, None]
    degenerate = jnp.where(
        kind == SHARPNESS,
        _smooth(planes),
        jnp.where(kind == CONTRAST, _mean(luma), luma),
    )
    return from_planes(_blend(degenerate, planes, factor))


def sharpen(images: Array, chosen: Array, *, edges: bool) -> Array:
    """``ImageFilter.DETAIL`` or ``EDGE_ENHANCE`` of the chosen images.

    Args:
        images: uint8 [B, H, W, 3].
        chosen: bool [B].
        edges: which of both: whether a pixel's four diagonal neighbours count too.

    Returns:
        uint8 [B, H, W, 3].
    """
    planes = jax.lax.optimization_barrier(to_planes(images))
    centre = planes[:, :, 1:-1, 1:-1]
    total = 10 * centre
    total -= planes[:, :, :-2, 1:-1] + planes[:, :, 2:, 1:-1]
    total -= planes[:, :, 1:-1, :-2] + planes[:, :, 1:-1, 2:]
    if edges:
        total -= planes[:, :, :-2, :-2] + planes[:, :, :-2, 2:]
        total -= planes[:, :, 2:, :-2] + planes[:, :, 2:, 2:]
    # Halves are exact in float32, so that they are rounded up as Pillow means to.
    filtered = jnp.floor(total / (2 if edges else 6) + 0.5).clip(0, 255)
    filtered = with_border(filtered, planes)
    return from_planes(jnp.where(chosen[:, None, None, None], filtered, planes))


# Pillow keeps hue and saturation as float32 quotients before it truncates 255 times them: where
# the exact value is the whole number j, the result is j - 1 if float32(j / 255) lies below j / 255.
_HSV_SHORT = np.float32(np.arange(256) / 255.0).astype(np.float64) * 255.0 < np.arange(256)


def _hsv_level(numerator: Array, denominator: Array) -> Array:
    """Pillow's truncation of a quotient of whole numbers, in [0, 255]."""
    quotient = jnp.floor(numerator / denominator)
    whole = quotient * denominator == numerator
    short = jnp.asarray(_HSV_SHORT)[quotient.astype(jnp.int32)]
    return quotient - (whole & short)


def _shift_hue(planes: Array, shift: Array) -> Array:
    red, green, blue = planes[:, 0], planes[:, 1], planes[:, 2]
    value = planes.max(1)
    chroma = value - planes.min(1)
    sixths = jnp.where(
        red == value,
        green - blue,
        jnp.where(green == value, 2 * chroma + blue - red, 4 * chroma + red - green),
    )
    sixths = jnp.where(sixths < 0, sixths + 6 * chroma, sixths)
    hue = _hsv_level(85 * sixths, jnp.maximum(2 * chroma, 1))
    saturation = _hsv_level(255 * chroma, jnp.maximum(value, 1)) * np.float32(1 / 255)

    hue = hue + shift[:, None, None]
    hue = jnp.where(hue >= 256, hue - 256, hue)
    sector = jnp.floor((hue * 6 + 0.5) * np.float32(1 / 255))
    fraction = (hue * 6 - sector * 255) * np.float32(1 / 255)
    sector = jnp.where(sector == 6, 0, sector)

    # Each channel is value * (1 - saturation * share): share 0 over two sectors, 1 over two, and a
    # ramp in between; green and blue run two and four sectors behind red.
    def channel(behind: int) -> Array:
        place = sector - behind
        place = jnp.where(place < 0, place + 6, place)
        share = jnp.where(place == 1, fraction, jnp.where(place == 4, 1 - fraction, 1.0))
        share = jnp.where((place == 0) | (place == 5), 0.0, share)
        return jnp.floor(value * (1 - saturation * share) + 0.5)

    return jnp.stack([channel(0), channel(2), channel(4)], axis=1)


def shift_hue(images: Array, shift: Array) -> Array:
    """Turns the hue in 8-bit HSV, as torchvision's ``adjust_hue`` does on Pillow images.

    The round trip through 8-bit HSV is lossy, so a shift of 0 is not quite the identity.

    Args:
        images: uint8 [B, H, W, 3].
        shift: int32 [B], in [0, 256), in 255ths of the circle; 256 more wrap around.

    Returns:
        uint8 [B, H, W, 3].
    """
    return from_planes(_shift_hue(to_planes(images), shift))


def jitter(images: Array, factors: Array, shift: Array | None, order: Array) -> Array:
    """ColorJitter with given draws: four adjustments in each image's own order.

    The hue shift costs the most, so it is computed once: the blends that come before it in an
    image's order are applied first, then the hue, then the blends that come after it.

    Args:
        images: uint8 [B, H, W, 3].
        factors: float32 [B, 3], of brightness, contrast and saturation.
        shift: int32 [B], of ``shift_hue``; None leaves the hue out.
        order: int32 [B, 4], a permutation of ``JITTER_BRIGHTNESS``, ``JITTER_CONTRAST``,
            ``JITTER_SATURATION`` and ``JITTER_HUE``.

    Returns:
        uint8 [B, H, W, 3].
    """
    hue_at = (order == JITTER_HUE).argmax(1)
    steps = jnp.arange(3)[None, :]
    steps = steps + (steps >= hue_at[:, None])
    kinds = jnp.take_along_axis(order, steps, axis=1)  # [B, 3], without the hue
    chosen = jnp.take_along_axis(factors, kinds, axis=1)
    # Every pixel reads these and every step its planes more than once: the barriers keep compilers
    # from making them anew, random bits included, at each read.
    kinds, chosen, shift = jax.lax.optimization_barrier((kinds, chosen, shift))

    def adjust(planes: Array, step: int, applied: Array) -> Array:
        planes = jax.lax.optimization_barrier(planes)
        kind = kinds[:, step, None, None, None]
        luma = _luma(planes)
        flat = jnp.where(kind == JITTER_CONTRAST, _mean(luma), 0.0)
        degenerate = jnp.where(kind == JITTER_SATURATION, luma, flat)
        return _blend(degenerate, planes, jnp.where(applied, chosen[:, step], 1.0))

    planes = to_planes(images)
    everywhere = jnp.ones_like(hue_at, bool)
    for step in range(3):
        planes = adjust(planes, step, everywhere if shift is None else step < hue_at)
    if shift is not None:
        planes = _shift_hue(jax.lax.optimization_barrier(planes), shift)
        for step in range(3):
            planes = adjust(planes, step, step >= hue_at)
    return from_planes(planes)
