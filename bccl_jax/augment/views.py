"""The named views of a batch: what a method asks for, augmented and normalised on the device."""

import dataclasses
import functools
import zlib
from collections import Counter
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bccl_jax.augment import geometry, policies, resampling
from bccl_jax.augment.curriculum import curriculum
from bccl_jax.augment.outside import (
    OWN,
    VIEW_NAMES,
    View,
    check_inputs,
    own_view,
    register,
    taken,
)

Array = jax.Array

__all__ = ["SimView", "StrongView", "make_views", "normalize", "register", "strong_view"]

STRONG_POLICIES = ("autoaugment_cifar10", "randaugment", "none")
CROPS = ("padded", "resized", "none")
# Tells what the curriculum draws from what else a strong view does.
_CURRICULUM = 0xC0DA


def view_names() -> tuple[str, ...]:
    """The names of all views, those that were registered last."""
    return (*VIEW_NAMES, *OWN.table)


@dataclasses.dataclass(frozen=True)
class StrongView:
    """The classification view: crop, flip, colour jitter, policy, Cutout, in this order.

    The defaults are the CIFAR recipe. The ImageNet recipe is ``StrongView(crop="resized",
    jitter=(0.4, 0.4, 0.4, 0.0), policy="randaugment", fill=(124, 116, 104), cutout=0)``.

    Attributes:
        crop: one of ``CROPS``: "padded" pads with black and cuts the images' own size out,
            "resized" is RandomResizedCrop.
        crop_padding: pixels of the padded crop on each side.
        scale: area bounds of the resized crop.
        ratio: aspect bounds of the resized crop.
        flip: whether to mirror at random; digits must not be.
        jitter: brightness, contrast, saturation and hue of a ColorJitter that is always applied.
        policy: one of ``STRONG_POLICIES``.
        num_ops: RandAugment's operations in a row.
        magnitude: RandAugment's mean level.
        magnitude_std: RandAugment's spread of the level.
        fill: RandAugment's colour outside the image.
        cutout: side of the black square in pixels, 0 for none.

    Raises:
        ValueError: if the crop or the policy is unknown.
    """

    crop: str = "padded"
    crop_padding: int = 4
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    policy: str = "autoaugment_cifar10"
    num_ops: int = 2
    magnitude: float = 10.0
    magnitude_std: float = 0.5
    fill: tuple[int, int, int] = (128, 128, 128)
    cutout: int = 16

    def __post_init__(self):
        for name, known in (("crop", CROPS), ("policy", STRONG_POLICIES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"The strong view's {name} is {getattr(self, name)!r}: choose one of {known}."
                )


@dataclasses.dataclass(frozen=True)
class SimView:
    """The contrastive view: a RandomResizedCrop, then ``policies.simaugment`` for each field.

    Attributes:
        scale: area bounds of the resized crop.
        ratio: aspect bounds of the resized crop.
        flip: whether to mirror at random; digits must not be.
        jitter: brightness, contrast, saturation and hue.
        jitter_prob: chance of the jitter.
        grayscale_prob: chance of turning grey.
        blur_prob: chance of the blur.
        blur_sigma: bounds of the blur's sigma.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_prob: float = 0.8
    grayscale_prob: float = 0.2
    blur_prob: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)


def normalize(
    images: Array,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    dtype: jnp.dtype = jnp.float32,
) -> Array:
    """Scales the levels to [0, 1] and standardises each channel.

    Args:
        images: uint8 [B, H, W, 3].
        mean: per channel, of images in [0, 1].
        std: per channel.
        dtype: of the result; the arithmetic is float32.

    Returns:
        ``dtype`` [B, H, W, 3].

    Raises:
        ValueError: if the images are not uint8 [B, H, W, 3].
    """
    geometry.check_images(images)
    mean = jnp.asarray(mean, jnp.float32)[None, None, None]
    std = jnp.asarray(std, jnp.float32)[None, None, None]
    return ((images.astype(jnp.float32) / 255 - mean) / std).astype(dtype)


def strong_view(
    images: Array,
    key: Array,
    view: StrongView,
    size: int = 0,
    cropped: bool = False,
    level: Array | None = None,
    chance: Array | None = None,
) -> Array:
    """The classification view of every image, before normalising.

    Args:
        images: uint8 [B, H, W, 3].
        key: a PRNG key; each image makes its own draws.
        view: the settings.
        size: side of the resized crop's output, 0 for the images' height.
        cropped: whether the images are crops already; they are only mirrored then.
        level: int32 [B] of the ``curriculum`` between policy and Cutout; None for none.
        chance: float32 [B], of it too.

    Returns:
        uint8 [B, H, W, 3], or [B, size, size, 3] after a resized crop.
    """
    geometry.check_images(images)
    batch = len(images)
    crop_key, flip_key, jitter_key, policy_key, cutout_key = jax.random.split(key, 5)
    mirrored = jax.random.bernoulli(flip_key, 0.5 if view.flip else 0.0, (batch,))
    if view.crop == "resized" and not cropped:
        images = _resized_crop(images, crop_key, view, size, mirrored)
    else:
        if view.crop == "padded" and view.crop_padding and not cropped:
            offsets = jax.random.randint(crop_key, (batch, 2), 0, 2 * view.crop_padding + 1)
            images = geometry.pad_crop(images, offsets, view.crop_padding)
        images = geometry.flip(images, mirrored)
    if any(view.jitter):
        images = policies.color_jitter(images, jitter_key, view.jitter)
    if view.policy == "autoaugment_cifar10":
        images = policies.autoaugment_cifar10(images, policy_key)
    elif view.policy == "randaugment":
        images = policies.randaugment(
            images,
            policy_key,
            view.num_ops,
            view.magnitude,
            magnitude_std=view.magnitude_std,
            fill=view.fill,
        )
    if level is not None:
        images = curriculum(images, jax.random.fold_in(key, _CURRICULUM), level, chance)
    if view.cutout:
        images = policies.cutout(images, cutout_key, view.cutout)
    return images


def _resized_crop(images: Array, key: Array, view: StrongView, size: int, mirrored: Array) -> Array:
    batch, height, width, _ = images.shape
    boxes = resampling.resized_crop_boxes(key, batch, height, width, view.scale, view.ratio)
    return resampling.resized_crop(images, boxes, size or height, mirrored)


def make_views(
    images: Array,
    key: Array,
    names: tuple[str, ...],
    strong: StrongView,
    sim: SimView,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    size: int = 0,
    dtype: jnp.dtype = jnp.float32,
    inputs: Mapping[str, Array] | None = None,
) -> tuple[Array, ...]:
    """The views that a method names, in its order, augmented and normalised.

    The first "strong" view depends on the key alone and not on what else is asked for, and so does
    the n-th of every name: two methods of the same key see the same images.

    Args:
        images: uint8 [B, H, W, 3]; or [B, V, S, S, 3], for each name a crop of its own, where the
            images were cropped as they were decoded.
        key: a PRNG key; the views are a pure function of the images and the key.
        names: of `view_names()`, V of them; a repeated name is drawn anew. "plain" is normalised
            only; "curriculum" is what "strong" makes of the same key, and ``curriculum`` within it.
        strong: settings of "strong" and "curriculum".
        sim: settings of "sim".
        mean: per channel, of images in [0, 1].
        std: per channel.
        size: side of what a resized crop gives, 0 for the images' height.
        dtype: of the views.
        inputs: arrays [B, ...] that views take, by name; what none takes is left out.

    Returns:
        one array of ``dtype`` [B, size, size, 3] per name.

    Raises:
        ValueError: if a name is unknown or the images are not of these shapes and uint8.
        ConfigError: if a registered view gives something else than images of their shape, or what
            it takes is not given.
    """
    inputs = inputs or {}
    for name in names:
        check_inputs(name, inputs, len(images))
    wanted = {given for name in names for given in taken(name)}
    inputs = {name: inputs[name] for name in sorted(wanted)}
    # They are part of what is compiled: another function of the same name is another program.
    own = tuple((name, OWN.table[name]) for name in dict.fromkeys(names) if name in OWN.table)
    return _make_views(
        images, key, names, own, strong, sim, mean, std, inputs, size=size, dtype=dtype
    )


@functools.partial(jax.jit, static_argnames=("names", "own", "strong", "sim", "size", "dtype"))
def _make_views(
    images: Array,
    key: Array,
    names: tuple[str, ...],
    own: tuple[tuple[str, View], ...],
    strong: StrongView,
    sim: SimView,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    inputs: dict[str, Array],
    size: int,
    dtype: jnp.dtype,
) -> tuple[Array, ...]:
    functions = dict(own)
    cropped = images.ndim == 5
    if cropped and images.shape[1] != len(names):
        raise ValueError(
            f"Crops of shape {images.shape} were given for the {len(names)} views {names}: cut "
            "one crop for each view."
        )
    seen = Counter()
    views = []
    for index, name in enumerate(names):
        if name not in VIEW_NAMES and name not in functions:
            raise ValueError(f"The view {name!r} is unknown: choose from {view_names()}.")
        kind_key = jax.random.fold_in(key, _number(name))
        view_key = jax.random.fold_in(kind_key, seen[name])
        seen[name] += 1
        view = images[:, index] if cropped else images
        given = {each: inputs[each] for each in taken(name)}
        if name in ("strong", "curriculum"):
            view = strong_view(view, view_key, strong, size, cropped, **given)
        elif name == "sim":
            settings = dataclasses.asdict(sim)
            view = policies.simaugment(view, view_key, size=size, cropped=cropped, **settings)
        elif name in functions:
            crop_key, view_key = jax.random.split(view_key)
            if strong.crop == "resized" and not cropped:
                view = _resized_crop(view, crop_key, strong, size, jnp.zeros(len(view), bool))
            view = own_view(name, functions[name], view, view_key, given)
        views.append(normalize(view, mean, std, dtype))
    return tuple(views)


def _number(name: str) -> int:
    """What of the key a view has: the same however many others are registered."""
    if name == "curriculum":
        name = "strong"
    return VIEW_NAMES.index(name) if name in VIEW_NAMES else 2**31 + zlib.crc32(name.encode()) // 2
