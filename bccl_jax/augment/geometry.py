"""Geometric operations on batches of uint8 images, each parameterised per image.

Coordinates and rounding are Pillow's: sampling reproduces ``Image.transform`` (nearest in 16.16
fixed point; bilinear and bicubic truncated to uint8), the resized crop ``Image.resize`` with its
antialiasing triangle filter, and the blur ``ImageFilter.GaussianBlur``.
"""

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment.color import from_planes, to_planes

Array = jax.Array

NEAREST, BILINEAR, BICUBIC = range(3)


def check_images(images: Array) -> None:
    """Raises an error unless ``images`` is a uint8 batch of RGB images.

    Args:
        images: the batch to check.

    Raises:
        ValueError: if it is not uint8 of shape [B, H, W, 3].
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != jnp.uint8:
        raise ValueError(
            f"Images of shape {tuple(images.shape)} and type {images.dtype} were given where uint8 "
            "[B, H, W, 3] is wanted: decode to RGB bytes first and augment before normalising."
        )


def _take(values: Array, rows: Array, columns: Array) -> Array:
    """Values [B, H, W] at per-image integer positions [B, h, w], which must lie inside."""
    batch, height, width = values.shape
    where = (rows * width + columns).reshape(batch, -1)
    # Without the barrier a compiler may fuse the making of the values into every single read.
    flat = jax.lax.optimization_barrier(values).reshape(batch, height * width)
    taken = jnp.take_along_axis(flat, where, axis=1, mode="promise_in_bounds")
    return taken.reshape(rows.shape)


def _pack(images: Array) -> Array:
    """The three bytes of every pixel in one int32 [B, H, W]: read once, not once a channel."""
    red, green, blue = (images[..., c].astype(jnp.int32) for c in range(3))
    return red | green << 8 | blue << 16


def _unpack(packed: Array) -> list[Array]:
    return [packed >> shift & 255 for shift in (0, 8, 16)]


def flip(images: Array, chosen: Array) -> Array:
    """Mirrors the chosen images left to right.

    Args:
        images: uint8 [B, H, W, 3].
        chosen: bool [B].

    Returns:
        uint8 [B, H, W, 3].
    """
    return jnp.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def pad_crop(images: Array, offsets: Array, padding: int) -> Array:
    """Crops windows of the images' own size out of the images padded with black.

    Args:
        images: uint8 [B, H, W, 3].
        offsets: int32 [B, 2], the window's top and left in the padded image, in [0, 2 * padding].
        padding: pixels added on each side.

    Returns:
        uint8 [B, H, W, 3].
    """
    _, height, width, _ = images.shape
    rows = jnp.arange(height)[None, :] + (offsets[:, :1] - padding)  # [B, H]
    columns = jnp.arange(width)[None, :] + (offsets[:, 1:] - padding)  # [B, W]
    inside = ((rows >= 0) & (rows < height))[:, :, None]
    inside &= ((columns >= 0) & (columns < width))[:, None, :]
    shape = inside.shape
    taken = _take(
        _pack(images),
        jnp.broadcast_to(rows.clip(0, height - 1)[:, :, None], shape),
        jnp.broadcast_to(columns.clip(0, width - 1)[:, None, :], shape),
    )
    return jnp.stack(_unpack(jnp.where(inside, taken, 0)), axis=-1).astype(jnp.uint8)


def cutout_square(images: Array, centres: Array, size: int) -> Array:
    """Blackens one square per image, clipped at the borders (DeVries and Taylor 2017).

    Args:
        images: uint8 [B, H, W, 3].
        centres: int32 [B, 2], row and column.
        size: side in pixels. As in the reference code the square reaches ``size // 2`` to either
            side of its centre, so that an odd size counts as the even one below it.

    Returns:
        uint8 [B, H, W, 3].
    """
    _, height, width, _ = images.shape
    half = size // 2

    def covered(length: int, centre: Array) -> Array:
        distance = jnp.arange(length)[None, :] - centre[:, None]
        return (distance >= -half) & (distance < half)

    hole = covered(height, centres[:, 0])[:, :, None] & covered(width, centres[:, 1])[:, None, :]
    return jnp.where(hole[..., None], jnp.uint8(0), images)


def _cubic(v0: Array, v1: Array, v2: Array, v3: Array, d: Array, bicubic: Array) -> Array:
    """Interpolates at fraction ``d`` between ``v1`` and ``v2``: Pillow's cubic, else linear.

    The difference form keeps flat regions exact, which matters since the result is truncated.
    """
    p2 = jnp.where(bicubic, v2 - v0, v2 - v1)
    p3 = jnp.where(bicubic, 2 * (v0 - v1) + v2 - v3, 0)
    p4 = jnp.where(bicubic, v1 - v0 + v3 - v2, 0)
    return v1 + d * (p2 + d * (p3 + d * p4))


def _fixed_point(inverse: Array, height: int, width: int) -> tuple[Array, Array]:
    """Integer source positions [B, H, W] (rows, columns) of the nearest sampling."""

    def fixed(value):
        return jnp.floor(value * 65536.0 + 0.5).astype(jnp.int32)

    step = fixed(inverse[:, :, :2])  # [B, 2, 2]
    start = fixed(inverse[:, :, 2] + 0.5 * inverse[:, :, 0] + 0.5 * inverse[:, :, 1])
    position = (
        start[:, :, None, None]
        + step[:, :, 0][:, :, None, None] * jnp.arange(width)[None, None, None, :]
        + step[:, :, 1][:, :, None, None] * jnp.arange(height)[None, None, :, None]
    ) >> 16
    return position[:, 1], position[:, 0]


def affine_sample(
    images: Array,
    inverse: Array,
    kernel: Array,
    fill: tuple[int, int, int],
    *,
    one_axis: bool = False,
) -> Array:
    """Samples every image through its own affine map, as ``Image.transform(AFFINE)`` does.

    Pixel centres lie at half integers; a source position outside the image takes ``fill``, taps
    outside repeat the border. Pillow's transform has the cubic kernel with a = -1.

    Args:
        images: uint8 [B, H, W, 3].
        inverse: float32 [B, 2, 3], maps the output's (x, y, 1) to the input's (x, y).
        kernel: int32 [B], ``NEAREST``, ``BILINEAR`` or ``BICUBIC``.
        fill: colour outside the image.
        one_axis: read 4 taps a pixel in place of 16. Right where every image of a filtering kernel
            is moved along one axis only (shear, translation along x or along y).

    Returns:
        uint8 [B, H, W, 3].
    """
    _, height, width, _ = images.shape
    nearest = (kernel == NEAREST)[:, None, None]
    bicubic = (kernel == BICUBIC)[:, None, None]
    across = jnp.arange(width)[None, None, :] + 0.5
    down = jnp.arange(height)[None, :, None] + 0.5
    x, y = (
        line[:, 0, None, None] * across + line[:, 1, None, None] * down + line[:, 2, None, None]
        for line in (inverse[:, 0], inverse[:, 1])
    )  # [B, H, W] each
    near_row, near_column = _fixed_point(inverse, height, width)
    row = jnp.where(nearest, near_row, jnp.floor(y - 0.5).astype(jnp.int32))
    column = jnp.where(nearest, near_column, jnp.floor(x - 0.5).astype(jnp.int32))
    y_fraction = jnp.where(nearest, 0, y - 0.5 - row)
    x_fraction = jnp.where(nearest, 0, x - 0.5 - column)
    inside = jnp.where(
        nearest,
        (row >= 0) & (row < height) & (column >= 0) & (column < width),
        (y >= 0) & (y < height) & (x >= 0) & (x < width),
    )
    packed = _pack(images)

    def tap(below: Array | int, right: Array | int) -> list[Array]:
        rows = (row + below).clip(0, height - 1)
        columns = (column + right).clip(0, width - 1)
        return [level.astype(jnp.float32) for level in _unpack(_take(packed, rows, columns))]

    def interpolate(taps: list[list[Array]], fraction: Array) -> list[Array]:
        return [_cubic(*channel, fraction, bicubic) for channel in zip(*taps, strict=True)]

    if one_axis:
        vertical = (inverse[:, 1] != jnp.array([[0.0, 1.0, 0.0]])).any(1)[:, None, None]
        right = (~vertical).astype(jnp.int32)
        taps = [tap(k * (1 - right), k * right) for k in (-1, 0, 1, 2)]
        channels = interpolate(taps, jnp.where(vertical, y_fraction, x_fraction))
    else:
        lines = [
            interpolate([tap(below, right) for right in (-1, 0, 1, 2)], x_fraction)
            for below in (-1, 0, 1, 2)
        ]
        channels = interpolate(lines, y_fraction)
    channels = [
        jnp.where(inside, channel.clip(0, 255).astype(jnp.uint8), jnp.uint8(level))
        for channel, level in zip(channels, fill, strict=True)
    ]
    return jnp.stack(channels, axis=-1)


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
    area_key, ratio_key, place_key = jax.random.split(key, 3)
    area = (
        height * width * jax.random.uniform(area_key, (batch, 10), minval=scale[0], maxval=scale[1])
    )
    low, high = np.log(ratio[0]), np.log(ratio[1])
    aspect = jnp.exp(jax.random.uniform(ratio_key, (batch, 10), minval=low, maxval=high))
    widths = jnp.round(jnp.sqrt(area * aspect)).astype(jnp.int32)
    heights = jnp.round(jnp.sqrt(area / aspect)).astype(jnp.int32)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.argmax(1)[:, None]
    w = jnp.take_along_axis(widths, first, axis=1)[:, 0]
    h = jnp.take_along_axis(heights, first, axis=1)[:, 0]
    spare = jax.random.uniform(place_key, (batch, 2))
    # min: a float32 draw just below 1 may round up to the count itself.
    top = jnp.minimum(jnp.floor(spare[:, 0] * (height - h + 1)).astype(jnp.int32), height - h)
    left = jnp.minimum(jnp.floor(spare[:, 1] * (width - w + 1)).astype(jnp.int32), width - w)
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
    # HIGHEST: an accelerator's default would round the weights to 8 or 10 bits.
    exact = jax.lax.Precision.HIGHEST
    narrow = jnp.einsum("bchw,bow->bcho", to_planes(images), columns, precision=exact)
    values = jnp.einsum("bph,bcho->bcpo", rows, _round_levels(narrow), precision=exact)
    return from_planes(_round_levels(values))


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
    weights = jnp.where(distance == whole_radius + 1, outer, weights)[:, :, None, None, None]

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
