"""Images mixed with others of their batch: MixUp (Zhang et al. 2018), CutMix (Yun et al. 2019).

All is a function of a whole batch, so that devices that share one mix it as a single one does.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How a batch is mixed.

    With both alphas above 0 each batch is mixed in one of the two ways, by an equal chance.

    Attributes:
        mixup_alpha: of the Beta(alpha, alpha) that MixUp's share is drawn from; 0 for no MixUp.
        cutmix_alpha: the same of CutMix.
        probability: that a batch is mixed at all.
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    probability: float = 1.0


def blend(images: jax.Array, others: jax.Array, share: jax.Array) -> jax.Array:
    """MixUp: ``share * images + (1 - share) * others``.

    Args:
        images: [B, H, W, 3] floating, normalised.
        others: like them.
        share: float32 [], from 0 to 1, of the images.

    Returns:
        Like the images; the arithmetic is float32.

    Examples:
        >>> white, black = jnp.ones((1, 1, 1, 3)), jnp.zeros((1, 1, 1, 3))
        >>> blend(white, black, jnp.float32(0.75)).tolist()
        [[[[0.75, 0.75, 0.75]]]]
    """
    one, other = images.astype(jnp.float32), others.astype(jnp.float32)
    return (share * one + (1 - share) * other).astype(images.dtype)


def box_around(
    centre: jax.Array, height: int, width: int, share: jax.Array, *, round_up: bool = False
) -> jax.Array:
    """CutMix's box: of the image's proportions around a centre, clipped at the border.

    Args:
        centre: int32 [2], row and column.
        height: of the images.
        width: of the images.
        share: float32 [], from 0 to 1; the box has an area of 1 - share before it is clipped. As in
            the authors' code its sides are rounded down to pixels and reach half of that, rounded
            down too, to either side of the centre.
        round_up: rounds the sides up in the first place, as the code of Du et al. 2023 does.

    Returns:
        int32 [4]: top, bottom, left, right, the ends exclusive.

    Examples:
        A quarter of the image, around its middle. Around a corner the border cuts the box:

        >>> box_around(jnp.array([16, 16]), 32, 32, jnp.float32(0.75)).tolist()
        [8, 24, 8, 24]
        >>> box_around(jnp.array([0, 0]), 32, 32, jnp.float32(0.75)).tolist()
        [0, 8, 0, 8]
    """
    sides = jnp.array([height, width], jnp.int32)
    lengths = sides * jnp.sqrt(1 - share)
    half = (jnp.ceil(lengths) if round_up else lengths).astype(jnp.int32) // 2
    first, last = jnp.clip(centre - half, 0, sides), jnp.clip(centre + half, 0, sides)
    return jnp.stack([first, last], axis=1).reshape(4)


def draw_box(
    key: jax.Array, height: int, width: int, share: jax.Array, *, round_up: bool = False
) -> jax.Array:
    """`box_around` a centre that is drawn evenly; `key` is a PRNG key, the rest as there."""
    centre = jax.random.randint(key, (2,), 0, jnp.array([height, width], jnp.int32))
    return box_around(centre, height, width, share, round_up=round_up)


def paste(images: jax.Array, others: jax.Array, box: jax.Array) -> tuple[jax.Array, jax.Array]:
    """CutMix: pastes what other images have within a box.

    Args:
        images: [B, H, W, 3].
        others: like them.
        box: int32 [4]: top, bottom, left, right, the ends exclusive.

    Returns:
        Like the images, and float32 [], the share of pixels that are still theirs.

    Examples:
        >>> white, black = jnp.ones((1, 2, 2, 1)), jnp.zeros((1, 2, 2, 1))
        >>> pasted, share = paste(white, black, jnp.array([0, 1, 0, 2]))  # the upper row
        >>> pasted[0, :, :, 0].tolist(), float(share)
        ([[0.0, 0.0], [1.0, 1.0]], 0.5)
    """
    _, height, width, _ = images.shape
    top, bottom, left, right = box
    rows, columns = jnp.arange(height), jnp.arange(width)
    inside = ((rows >= top) & (rows < bottom))[:, None]
    inside = inside & ((columns >= left) & (columns < right))[None, :]
    pasted = jnp.where(inside[None, :, :, None], others, images)
    area = ((bottom - top) * (right - left)).astype(jnp.float32)
    return pasted, 1 - area / (height * width)


def mix(
    images: jax.Array, targets: jax.Array, key: jax.Array, mixing: Mixing
) -> tuple[jax.Array, jax.Array]:
    """Mixes each image of a batch with the one that a permutation of the batch puts beside it.

    One way, one share and one box are drawn for the batch. Where the draw is not to mix, the share
    is 1 and everything stays as it is.

    Args:
        images: [B, H, W, 3] floating, normalised.
        targets: float32 [B, K], shares of the classes.
        key: a PRNG key; the result is a pure function of what is given.
        mixing: settings, of which one alpha at least is above 0.

    Returns:
        Images and targets like those given, mixed in the same shares.
    """
    whether, way, order, share, box = jax.random.split(key, 5)
    order = jax.random.permutation(order, len(images))
    others = images[order]
    mixes = jax.random.bernoulli(whether, mixing.probability)

    def drawn(alpha):
        return jnp.where(mixes, jax.random.beta(share, alpha, alpha), 1.0)

    ways = []
    if mixing.mixup_alpha:
        kept = drawn(mixing.mixup_alpha)
        ways.append((blend(images, others, kept), kept))
    if mixing.cutmix_alpha:
        place = draw_box(box, *images.shape[1:3], drawn(mixing.cutmix_alpha))
        ways.append(paste(images, others, place))
    (mixed, kept), *rest = ways
    for other, kept_there in rest:
        first = jax.random.bernoulli(way)
        mixed, kept = jnp.where(first, mixed, other), jnp.where(first, kept, kept_there)
    return mixed, kept * targets + (1 - kept) * targets[order]


def cutmix_with(
    images: jax.Array, others: jax.Array, key: jax.Array, *, alpha: float, probability: float
) -> tuple[jax.Array, jax.Array]:
    """CutMix of each image of a batch with the one that another batch has in its place.

    Args:
        images: [B, H, W, 3].
        others: like them.
        key: a PRNG key; whether, share and box are drawn once for the batch.
        alpha: of the Beta(alpha, alpha) that the share is drawn from.
        probability: that anything is pasted at all.

    Returns:
        Like the images, and float32 [], the share of pixels that are still theirs.
    """
    whether, share, box = jax.random.split(key, 3)
    pastes = jax.random.bernoulli(whether, probability)
    kept = jnp.where(pastes, jax.random.beta(share, alpha, alpha), 1.0)
    return paste(images, others, draw_box(box, *images.shape[1:3], kept))


def mix_globally_and_locally(
    views: tuple[jax.Array, jax.Array],
    others: tuple[jax.Array, jax.Array],
    key: jax.Array,
    *,
    alpha: float,
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """MixUp of one view and CutMix of another one by the same share (Du et al. 2023).

    As in the authors' code the box's sides are rounded up, and the share stays what was drawn also
    where the border cuts the box, so that both views have the same label.

    Args:
        views: two of each image, [B, H, W, 3] each.
        others: two of the images of another batch.
        key: a PRNG key; share and box are drawn once for the batch.
        alpha: of the Beta(alpha, alpha) that the share is drawn from.

    Returns:
        The first view blended and the second one pasted into, like those given, and float32 [], the
        share of the first batch.
    """
    share_key, box_key = jax.random.split(key)
    share = jax.random.beta(share_key, alpha, alpha)
    box = draw_box(box_key, *views[1].shape[1:3], share, round_up=True)
    pasted, _ = paste(views[1], others[1], box)
    return (blend(views[0], others[0], share), pasted), share
