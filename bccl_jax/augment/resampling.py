"""Filters whose weights differ per image: the random resized crop and the Gaussian blur.

Both are separable and follow Pillow, which rounds to whole grey levels between the passes:
``Image.resize`` with its antialiasing triangle filter, and ``ImageFilter.GaussianBlur``.
"""

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment.color import from_planes, to_planes
from bccl_jax.augment.geometry import uniform_index

Array = jax.Array


def resized_crop_boxes(
    key: Array,
    batch: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Array:
    """Draws the boxes of RandomResizedCrop (Szegedy et al. 2015), torchvision's reading.

    Ten candidates of uniform area and log-uniform aspect ratio are drawn; the first that fits is
    taken, else the largest central box of an allowed ratio.

    Args:
        key: a PRNG key.
        batch: number of boxes.
        height: rows of the images.
        width: columns of the images.
        scale: bounds of the area as a fraction of the image's.
        ratio: bounds of width over height.

    Returns:
        int32 [B, 4]: top, left, height, width.
    """
    draws = jax.random.uniform(key, (batch, 22))
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[:, :10])
    low, high = np.log(ratio[0]), np.log(ratio[1])
    aspect = jnp.exp(low + (high - low) * draws[:, 10:20])
    widths = jnp.round(jnp.sqrt(area * aspect)).astype(jnp.int32)
    heights = jnp.round(jnp.sqrt(area / aspect)).astype(jnp.int32)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.argmax(1)[:, None]
    w = jnp.take_along_axis(widths, first, axis=1)[:, 0]
    h = jnp.take_along_axis(heights, first, axis=1)[:, 0]
    top = uniform_index(draws[:, 20], height - h + 1)
    left = uniform_index(draws[:, 21], width - w + 1)
    boxes = jnp.stack([top, left, h, w], axis=1)
    central_h, central_w = height, width
    if width / height < ratio[0]:
        central_h = round(width / ratio[0])
    elif width / height > ratio[1]:
        central_w = round(height * ratio[1])
    central = jnp.array(
        [[(height - central_h) // 2, (width - central_w) // 2, central_h, central_w]], jnp.int32
    )
    return jnp.where(fits.any(1)[:, None], boxes, central)


def _triangle_weights(start: Array, length: Array, inputs: int, outputs: int) -> Array:
    """Rows [B, outputs, inputs] that resize [start, start + length) with Pillow's BILINEAR."""
    scale = (length / outputs)[:, None, None]
    centre = (jnp.arange(outputs)[None, :, None] + 0.5) * scale
    offset = jnp.arange(inputs)[None, None, :] - start[:, None, None]
    weights = jnp.maximum(0, 1 - jnp.abs(offset + 0.5 - centre) / jnp.maximum(scale, 1))
    weights = jnp.where((offset >= 0) & (offset < length[:, None, None]), weights, 0)
    return weights / weights.sum(2, keepdims=True)


def _round_levels(values: Array) -> Array:
    return jnp.floor(values + 0.5).clip(0, 255)


def resized_crop(images: Array, boxes: Array, size: int, mirrored: Array) -> Array:
    """Cuts a box out of every image, resizes it to a square and mirrors the chosen ones.

    Pillow's resize is separable, so it is two products with per-image weight matrices, columns
    first and rounded to whole grey levels in between. Mirroring reverses the column weights.

    Args:
        images: uint8 [B, H, W, 3].
        boxes: int32 [B, 4], top, left, height, width, inside the image.
        size: side of the output.
        mirrored: bool [B].

    Returns:
        uint8 [B, size, size, 3].
    """
    batch, height, width, _ = images.shape
    rows = _triangle_weights(boxes[:, 0], boxes[:, 2], height, size)
    columns = _triangle_weights(boxes[:, 1], boxes[:, 3], width, size)
    columns = jnp.where(mirrored[:, None, None], columns[:, ::-1], columns)
    return _resample(images, rows, columns)


def _resample(images: Array, rows: Array, columns: Array) -> Array:
    """Filters columns, then rows, by weights [B, outputs, inputs]."""
    # HIGHEST: an accelerator's default would round the weights to 8 or 10 bits.
    exact = jax.lax.Precision.HIGHEST
    narrow = jnp.einsum("bchw,bow->bcho", to_planes(images), columns, precision=exact)
    values = jnp.einsum("bph,bcho->bcpo", rows, _round_levels(narrow), precision=exact)
    return from_planes(_round_levels(values))


def enlarge_centre(images: Array, heights: Array, widths: Array) -> Array:
    """Enlarges every image with Pillow's LANCZOS and cuts its middle out, of the size as before.

    Args:
        images: uint8 [B, H, W, 3].
        heights: int32 [B], rows of the enlarged image, at least H; H leaves them as they are.
        widths: int32 [B], its columns, at least W. The cut begins at ``widths // 2 - W // 2``.

    Returns:
        uint8 [B, H, W, 3].
    """
    _, height, width, _ = images.shape
    rows, columns = _lanczos_weights(heights, height), _lanczos_weights(widths, width)
    return _resample(images, rows, columns)


def _lanczos_weights(enlarged: Array, length: int) -> Array:
    """Rows [B, length, length] that enlarge to so many pixels and keep those in the middle."""
    first = enlarged // 2 - length // 2
    scale = (length / enlarged)[:, None, None]
    centre = (jnp.arange(length)[None, :, None] + first[:, None, None] + 0.5) * scale
    offset = jnp.arange(length)[None, None, :] + 0.5 - centre
    weights = jnp.where(jnp.abs(offset) < 3, jnp.sinc(offset) * jnp.sinc(offset / 3), 0)
    return weights / weights.sum(2, keepdims=True)


def gaussian_blur(images: Array, sigma: Array, max_sigma: float) -> Array:
    """Blurs every image by its own sigma, as Pillow's GaussianBlur: three box blurs an axis.

    The box has a fractional radius (Gwosdek et al. 2011); each pass rounds to whole grey levels
    and repeats the border.

    Args:
        images: uint8 [B, H, W, 3].
        sigma: float32 [B], 0 leaves the image as it is.
        max_sigma: the largest sigma that may occur, which fixes the number of taps.

    Returns:
        uint8 [B, H, W, 3].
    """
    variance = sigma**2 / 3
    whole = jnp.floor((jnp.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    radius = whole + part / (6 * (variance - (whole + 1) ** 2))
    reach = int((np.sqrt(4 * max_sigma**2 + 1) - 1) / 2) + 1
    distance = jnp.abs(jnp.arange(-reach, reach + 1))[None, :]  # [1, taps]
    whole_radius = jnp.floor(radius)[:, None]
    inner = 1 / (2 * radius + 1)[:, None]
    outer = (1 - (2 * whole_radius + 1) * inner) / 2
    weights = jnp.where(distance <= whole_radius, inner, 0)
    weights = jnp.where(distance == whole_radius + 1, outer, weights)
    weights = jax.lax.optimization_barrier(weights)[:, :, None, None, None]

    def box_pass(planes: Array, axis: int) -> Array:
        margins = [(0, 0)] * 4
        margins[axis] = (reach, reach)
        padded = jnp.pad(jax.lax.optimization_barrier(planes), margins, mode="edge")
        length = planes.shape[axis]
        windows = [
            weights[:, k] * jax.lax.slice_in_dim(padded, k, k + length, axis=axis)
            for k in range(2 * reach + 1)
        ]
        return _round_levels(sum(windows))

    planes = to_planes(images)
    for axis in (3, 3, 3, 2, 2, 2):
        planes = box_pass(planes, axis)
    return from_planes(planes)
