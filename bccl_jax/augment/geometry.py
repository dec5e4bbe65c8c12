"""Geometric operations on batches of uint8 images, each parameterised per image.

Coordinates and rounding are Pillow's ``Image.transform``: nearest in 16.16 fixed point, bilinear
and bicubic truncated to whole grey levels.
"""

import jax
import jax.numpy as jnp

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


def uniform_index(draws: Array, count: Array | int) -> Array:
    """Turns uniform draws in [0, 1) into whole numbers in [0, count).

    Args:
        draws: float32 of any shape.
        count: numbers to choose from, broadcastable to the draws.

    Returns:
        int32 of the draws' shape.
    """
    # A draw just below 1 times the count may round up to the count itself.
    return jnp.minimum(jnp.floor(draws * count).astype(jnp.int32), count - 1)


def _take(values: Array, rows: Array, columns: Array) -> Array:
    """Values [B, H, W] at per-image integer positions [B, h, w], which must lie inside."""
    batch, height, width = values.shape
    where = (rows * width + columns).reshape(batch, -1)
    flat = values.reshape(batch, height * width)
    taken = jnp.take_along_axis(flat, where, axis=1, mode="promise_in_bounds")
    # The barriers here and in _pack keep compilers from fusing the making of the values into every
    # read, and the reads into every use.
    return jax.lax.optimization_barrier(taken.reshape(rows.shape))


def _pack(images: Array) -> Array:
    """The three bytes of every pixel in one int32 [B, H, W]: read once, not once a channel."""
    red, green, blue = (images[..., c].astype(jnp.int32) for c in range(3))
    return jax.lax.optimization_barrier(red | green << 8 | blue << 16)


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


def nearest_sample(images: Array, inverse: Array, fill: tuple[int, int, int]) -> Array:
    """``affine_sample`` where every image takes the nearest pixel: one tap a pixel, not sixteen.

    Args:
        images: uint8 [B, H, W, 3].
        inverse: float32 [B, 2, 3], maps the output's (x, y, 1) to the input's (x, y).
        fill: colour outside the image.

    Returns:
        uint8 [B, H, W, 3].
    """
    _, height, width, _ = images.shape
    row, column = _fixed_point(inverse, height, width)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    taken = _take(_pack(images), row.clip(0, height - 1), column.clip(0, width - 1))
    channels = [
        jnp.where(inside, channel, level)
        for channel, level in zip(_unpack(taken), fill, strict=True)
    ]
    return jnp.stack(channels, axis=-1).astype(jnp.uint8)


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
