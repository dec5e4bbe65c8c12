"""Tables of 256 grey levels per image and channel, equal to Pillow's bit for bit.

Every operation of ``ImageOps`` that the policies use, and brightness, sends each grey level of a
channel to another one; building the tables costs little whatever the size of the images.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def _levels() -> Array:
    return jnp.arange(256, dtype=jnp.int32)[None, :]


def _per_channel(table: Array) -> Array:
    """Gives all three channels the table [B, 256] (or [1, 256])."""
    table = table.clip(0, 255).astype(jnp.uint8)
    return jnp.broadcast_to(table[:, None], (table.shape[0], 3, 256))


def identity_table() -> Array:
    """The table that changes nothing, uint8 [1, 3, 256]."""
    return _per_channel(_levels())


def invert_table() -> Array:
    """``ImageOps.invert``, uint8 [1, 3, 256]."""
    return _per_channel(255 - _levels())


def posterize_table(bits: Array) -> Array:
    """``ImageOps.posterize``: keeps the leading bits of every level.

    Args:
        bits: int32 [B], 0 (black) to 8 (unchanged).

    Returns:
        uint8 [B, 3, 256].
    """
    dropped = (8 - bits.astype(jnp.int32))[:, None]
    return _per_channel((_levels() >> dropped) << dropped)


def solarize_table(threshold: Array) -> Array:
    """``ImageOps.solarize``: inverts the levels from the threshold on.

    Args:
        threshold: float32 [B], 0 (all inverted) to 256 (unchanged).

    Returns:
        uint8 [B, 3, 256].
    """
    levels = _levels()
    return _per_channel(jnp.where(levels < threshold[:, None], levels, 255 - levels))


def solarize_add_table(addend: Array) -> Array:
    """Adds to the levels below 128 (RandAugment's SolarizeAdd), uint8 [B, 3, 256].

    Args:
        addend: int32 [B].

    Returns:
        uint8 [B, 3, 256].
    """
    levels = _levels()
    return _per_channel(jnp.where(levels < 128, levels + addend.astype(jnp.int32)[:, None], levels))


def brightness_table(factor: Array) -> Array:
    """``ImageEnhance.Brightness``: scales every level.

    Args:
        factor: float32 [B], 0 black, 1 unchanged.

    Returns:
        uint8 [B, 3, 256].
    """
    scaled = _levels() * factor[:, None]
    return _per_channel(jnp.floor(scaled.clip(0, 255)))


def histogram(images: Array) -> Array:
    """Counts the grey levels of each image and channel.

    Args:
        images: uint8 [B, H, W, 3].

    Returns:
        int32 [B, 3, 256].
    """
    batch = images.shape[0]
    levels = images.reshape(batch, -1, 3).astype(jnp.int32)
    counts = jnp.zeros((batch, 3, 256), jnp.int32)
    image = jnp.arange(batch)[:, None, None]
    channel = jnp.arange(3)[None, None, :]
    return counts.at[image, channel, levels].add(1, mode="promise_in_bounds")


@functools.cache
def _autocontrast_shortfalls() -> tuple[np.ndarray, int]:
    """Where Pillow's autocontrast is one below the exact value, and how often at most per range.

    Pillow truncates ``i * scale + offset`` in double precision, and where the exact result is a
    whole number the rounding of the two products may leave it just below. Doubles do not exist on
    every device, so the cases are listed here: sorted codes (low * 256 + high) * 256 + level.
    """
    low, high = np.triu_indices(256, 1)
    level = np.arange(256)[None]
    scale = 255.0 / (high - low)
    truncated = (level * scale[:, None] + (-low * scale)[:, None]).astype(np.int64)
    exact = (level - low[:, None]) * 255 // (high - low)[:, None]
    used = (level >= low[:, None]) & (level <= high[:, None])
    pair, at = np.nonzero((truncated != exact) & used)
    codes = (low[pair] * 256 + high[pair]) * 256 + at
    return codes.astype(np.int32), int(np.bincount(pair).max())


def autocontrast_table(counts: Array) -> Array:
    """``ImageOps.autocontrast`` without cutoff: stretches the levels in use to 0..255.

    Args:
        counts: int32 [B, 3, 256] of ``histogram``.

    Returns:
        uint8 [B, 3, 256]; the identity for a channel of one single level.
    """
    used = counts > 0
    low = used.argmax(2).astype(jnp.int32)
    high = 255 - used[:, :, ::-1].argmax(2).astype(jnp.int32)
    levels = _levels()[None]
    span = jnp.maximum(high - low, 1)[..., None]
    table = ((levels - low[..., None]) * 255) // span
    codes, most = _autocontrast_shortfalls()
    codes = jnp.asarray(codes)
    pair = (low * 256 + high) * 256
    start = jnp.searchsorted(codes, pair)[..., None]
    listed = codes.at[start + jnp.arange(most)[None, None, :]].get(mode="fill", fill_value=-1)
    short = (listed >> 8) == (pair >> 8)[..., None]
    image = jnp.arange(counts.shape[0])[:, None, None]
    channel = jnp.arange(3)[None, :, None]
    table = table.at[image, channel, listed & 255].add(-short.astype(jnp.int32))
    table = jnp.where((high > low)[..., None], table, levels)
    return table.clip(0, 255).astype(jnp.uint8)


def equalize_table(counts: Array) -> Array:
    """``ImageOps.equalize``: spreads the levels so that their distribution is even.

    Args:
        counts: int32 [B, 3, 256] of ``histogram``.

    Returns:
        uint8 [B, 3, 256]; the identity for a channel with too few distinct levels.
    """
    used = counts > 0
    last = 255 - used[:, :, ::-1].argmax(2)[..., None]
    total = counts.sum(2, keepdims=True)
    step = (total - jnp.take_along_axis(counts, last, axis=2)) // 255
    below = jnp.cumsum(counts, axis=2) - counts
    table = (step // 2 + below) // jnp.maximum(step, 1)
    table = jnp.where(step > 0, table, _levels()[None])
    return table.clip(0, 255).astype(jnp.uint8)


def apply_table(images: Array, table: Array) -> Array:
    """Looks every pixel up in its image's and channel's table.

    Args:
        images: uint8 [B, H, W, 3].
        table: uint8 [B, 3, 256].

    Returns:
        uint8 [B, H, W, 3].
    """
    batch = images.shape[0]
    entry = images.astype(jnp.int32) + 256 * jnp.arange(3)[None, None, None, :]
    # Without the barrier a compiler may fuse the making of the table into every single look-up.
    table = jax.lax.optimization_barrier(table).reshape(batch, -1)
    found = jnp.take_along_axis(table, entry.reshape(batch, -1), 1, mode="promise_in_bounds")
    return found.reshape(images.shape)
