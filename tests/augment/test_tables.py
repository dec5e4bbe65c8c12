import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from bccl_jax.augment import tables


def pillow(operation, images, *arguments):
    arguments = [np.broadcast_to(argument, len(images)) for argument in arguments]
    return np.stack(
        [
            np.asarray(operation(Image.fromarray(image), *(value.item() for value in values)))
            for image, *values in zip(images, *arguments, strict=True)
        ]
    )


histogram = jax.jit(tables.histogram)
autocontrast = jax.jit(tables.autocontrast_table)
equalize = jax.jit(tables.equalize_table)


@jax.jit
def look_up(images, table):
    return tables.apply_table(images, jnp.broadcast_to(table, (len(images), 3, 256)))


@pytest.mark.parametrize(
    ("table", "operation", "draw"),
    [
        (tables.posterize_table, ImageOps.posterize, lambda rng, n: rng.integers(1, 9, n)),
        (tables.solarize_table, ImageOps.solarize, lambda rng, n: rng.uniform(0, 256, n)),
        (
            tables.brightness_table,
            lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
            lambda rng, n: rng.uniform(0, 2, n),
        ),
    ],
    ids=["posterize", "solarize", "brightness"],
)
def test_tables_with_a_parameter_equal_pillow_exactly(images, rng, table, operation, draw):
    values = draw(rng, len(images))
    values = values.astype(np.int32 if values.dtype.kind == "i" else np.float32)
    got = look_up(images, jax.jit(table)(values))
    np.testing.assert_array_equal(got, pillow(operation, images, values))


def test_invert_equals_pillow_exactly(images):
    np.testing.assert_array_equal(
        look_up(images, tables.invert_table()), pillow(ImageOps.invert, images)
    )


@pytest.mark.parametrize(
    ("table", "operation"),
    [
        (autocontrast, ImageOps.autocontrast),
        (equalize, ImageOps.equalize),
    ],
    ids=["autocontrast", "equalize"],
)
def test_tables_of_the_histogram_equal_pillow_exactly(images, table, operation):
    got = look_up(images, table(histogram(images)))
    np.testing.assert_array_equal(got, pillow(operation, images))


def test_autocontrast_equals_pillow_for_every_range_of_levels():
    # Each image holds the levels low..high in each channel, whatever Pillow's rounding does there.
    low, high = np.triu_indices(256, 1)
    chosen = np.random.default_rng(0).permutation(len(low))[:1500].reshape(-1, 3)
    levels = np.arange(256)[None, :, None]
    images = levels.clip(low[chosen][:, None], high[chosen][:, None])
    images = images.astype(np.uint8).reshape(-1, 16, 16, 3)
    got = look_up(images, autocontrast(histogram(images)))
    np.testing.assert_array_equal(got, pillow(ImageOps.autocontrast, images))


@pytest.mark.parametrize("table", [autocontrast, equalize], ids=["autocontrast", "equalize"])
def test_an_image_of_a_single_colour_stays_as_it_is(photos, table):
    images = np.full_like(photos, 77)
    np.testing.assert_array_equal(look_up(images, table(histogram(images))), images)


def test_histogram_counts_every_level_per_image_and_channel(photos):
    counts = np.asarray(histogram(photos))
    for image in range(len(photos)):
        for channel in range(3):
            want = np.bincount(photos[image, ..., channel].ravel(), minlength=256)
            np.testing.assert_array_equal(counts[image, channel], want)


def test_solarize_add_brightens_the_dark_half_only():
    table = np.asarray(tables.solarize_add_table(jnp.array([0, 60, 110])))
    levels = np.arange(256)
    for row, addend in zip(table, (0, 60, 110), strict=True):
        want = np.where(levels < 128, np.minimum(levels + addend, 255), levels)
        np.testing.assert_array_equal(row, np.tile(want, (3, 1)))


def test_posterize_to_no_bits_is_black():
    assert not np.asarray(tables.posterize_table(jnp.array([0]))).any()
