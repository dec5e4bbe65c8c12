import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from bccl_jax.augment import geometry

FILL = (124, 116, 104)
PILLOW_KERNELS = {
    geometry.NEAREST: Image.NEAREST,
    geometry.BILINEAR: Image.BILINEAR,
    geometry.BICUBIC: Image.BICUBIC,
}


def as_pillow(images):
    return [Image.fromarray(image) for image in images]


def transform(images, maps, kernel):
    return [
        image.transform(
            image.size,
            Image.AFFINE,
            matrix.ravel().tolist(),
            PILLOW_KERNELS[kernel],
            fillcolor=FILL,
        )
        for image, matrix in zip(as_pillow(images), maps, strict=True)
    ]


@functools.partial(jax.jit, static_argnames="one_axis")
def sample(images, maps, kernel, one_axis=False):
    kernels = jnp.full(len(images), kernel)
    return geometry.affine_sample(images, maps, kernels, FILL, one_axis=one_axis)


def moves_along_one_axis(count, rng):
    """Shears and translations, along x and along y in turn."""
    maps = np.tile(np.float32([[1, 0, 0], [0, 1, 0]]), (count, 1, 1))
    for index, matrix in enumerate(maps):
        axis = index % 2
        matrix[axis, 1 - axis] = rng.uniform(-0.3, 0.3)
        matrix[axis, 2] = rng.uniform(-3, 3)
    return maps


@pytest.mark.parametrize("kernel", PILLOW_KERNELS)
def test_general_maps_sample_as_pillow(images, rng, assert_close_to_pillow, kernel):
    maps = np.float32([[1, 0, 0], [0, 1, 0]]) + rng.uniform(-0.3, 0.3, (len(images), 2, 3))
    maps[:, :, 2] *= 10
    maps = maps.astype(np.float32)
    assert_close_to_pillow(sample(images, maps, kernel), transform(images, maps, kernel))


@pytest.mark.parametrize("kernel", PILLOW_KERNELS)
def test_four_taps_suffice_along_one_axis(images, rng, assert_close_to_pillow, kernel):
    maps = moves_along_one_axis(len(images), rng)
    got = sample(images, maps, kernel, one_axis=True)
    assert_close_to_pillow(got, transform(images, maps, kernel))


def test_nearest_sampling_equals_pillow_exactly(photos, rng):
    maps = np.float32([[1, 0, 0], [0, 1, 0]]) + rng.uniform(-0.3, 0.3, (len(photos), 2, 3))
    maps = maps.astype(np.float32)
    want = transform(photos, maps, geometry.NEAREST)
    np.testing.assert_array_equal(
        sample(photos, maps, geometry.NEAREST), np.stack([np.asarray(image) for image in want])
    )


def test_crop_takes_the_window_of_the_padded_image(photos, rng):
    offsets = rng.integers(0, 9, (len(photos), 2)).astype(np.int32)
    got = np.asarray(jax.jit(geometry.pad_crop, static_argnums=2)(photos, offsets, 4))
    padded = np.pad(photos, [(0, 0), (4, 4), (4, 4), (0, 0)])
    for image, (top, left), result in zip(padded, offsets, got, strict=True):
        np.testing.assert_array_equal(result, image[top : top + 32, left : left + 40])


def test_flip_mirrors_the_chosen_images_only(photos):
    chosen = np.arange(len(photos)) % 3 == 0
    got = np.asarray(geometry.flip(photos, chosen))
    np.testing.assert_array_equal(got[chosen], photos[chosen][:, :, ::-1])
    np.testing.assert_array_equal(got[~chosen], photos[~chosen])


def test_cutout_is_clipped_at_the_borders(photos):
    centres = np.zeros((len(photos), 2), np.int32)
    centres[1] = 16, 20
    got = np.asarray(geometry.cutout_square(photos, centres, 16))
    want = photos.copy()
    want[:, :8, :8] = 0
    want[1] = photos[1]
    want[1, 8:24, 12:28] = 0
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 3, 8, 8), np.uint8),
    ],
)
def test_other_than_uint8_rgb_batches_are_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        geometry.check_images(wrong)
