import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from bccl_jax.augment import color

ENHANCERS = {
    color.COLOR: ImageEnhance.Color,
    color.CONTRAST: ImageEnhance.Contrast,
    color.SHARPNESS: ImageEnhance.Sharpness,
}


def pillow_hue(image, shift):
    hue, saturation, value = image.convert("HSV").split()
    hue = Image.fromarray(np.asarray(hue) + np.uint8(shift))
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def as_pillow(images):
    return [Image.fromarray(image) for image in images]


def test_greyscale_equals_pillow_exactly_where_chosen(images):
    chosen = np.arange(len(images)) % 2 == 0
    got = jax.jit(color.greyscale)(images, chosen)
    for image, pick, result in zip(images, chosen, np.asarray(got), strict=True):
        grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB"))
        np.testing.assert_array_equal(result, grey if pick else image)


@pytest.mark.parametrize("kind", ENHANCERS)
def test_enhancements_are_within_a_level_of_pillow(images, rng, assert_close_to_pillow, kind):
    factors = rng.uniform(0, 2, len(images)).astype(np.float32)
    kinds = jnp.full(len(images), kind)
    got = jax.jit(color.enhance)(images, kinds, factors)
    pairs = zip(as_pillow(images), factors, strict=True)
    assert_close_to_pillow(got, [ENHANCERS[kind](image).enhance(float(f)) for image, f in pairs])


@pytest.mark.parametrize("kind", ENHANCERS)
def test_enhancement_by_one_changes_nothing(photos, kind):
    count = len(photos)
    got = jax.jit(color.enhance)(photos, jnp.full(count, kind), jnp.ones(count))
    np.testing.assert_array_equal(got, photos)


def test_enhancements_are_chosen_per_image(photos, assert_close_to_pillow):
    kinds = np.arange(len(photos)) % 3
    got = jax.jit(color.enhance)(photos, kinds, jnp.full(len(photos), 0.3))
    pairs = zip(as_pillow(photos), kinds, strict=True)
    assert_close_to_pillow(got, [ENHANCERS[kind](image).enhance(0.3) for image, kind in pairs])


def test_hue_shift_is_within_a_level_of_pillow(images, rng, assert_close_to_pillow):
    shifts = rng.integers(0, 256, len(images))
    got = jax.jit(color.shift_hue)(images, shifts)
    pairs = zip(as_pillow(images), shifts, strict=True)
    assert_close_to_pillow(got, [pillow_hue(image, shift) for image, shift in pairs])


def test_hue_shift_is_within_a_level_of_pillow_on_all_kinds_of_colours(rng, assert_close_to_pillow):
    colours = rng.integers(0, 256, (32, 64, 64, 3)).astype(np.uint8)
    shifts = np.arange(0, 256, 8)
    got = jax.jit(color.shift_hue)(colours, shifts)
    pairs = zip(as_pillow(colours), shifts, strict=True)
    assert_close_to_pillow(got, [pillow_hue(image, shift) for image, shift in pairs])


def test_jitter_follows_each_images_own_order(photos, rng, assert_close_to_pillow):
    orders = np.array(list(itertools.permutations(range(4))))  # 24, one an image
    factors = rng.uniform(0.6, 1.4, (24, 3)).astype(np.float32)
    shifts = rng.integers(0, 256, 24)
    got = jax.jit(color.jitter)(photos, factors, shifts, orders)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    want = []
    for image, order, factor, shift in zip(as_pillow(photos), orders, factors, shifts, strict=True):
        for step in order:
            if step == color.JITTER_HUE:
                image = pillow_hue(image, shift)
            else:
                image = enhancers[step](image).enhance(float(factor[step]))
        want.append(image)
    assert_close_to_pillow(got, want)


def test_jitter_without_hue_leaves_the_hue_out(photos, assert_close_to_pillow):
    order = np.tile([3, 2, 1, 0], (24, 1))
    factors = np.tile(np.float32([0.7, 1.3, 0.6]), (24, 1))
    got = jax.jit(lambda *draws: color.jitter(draws[0], draws[1], None, draws[2]))(
        photos, factors, order
    )
    want = [
        ImageEnhance.Brightness(
            ImageEnhance.Contrast(ImageEnhance.Color(image).enhance(0.6)).enhance(1.3)
        ).enhance(0.7)
        for image in as_pillow(photos)
    ]
    assert_close_to_pillow(got, want)
