import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageFilter

from bccl_jax.augment import resampling

draw_boxes = jax.jit(resampling.resized_crop_boxes, static_argnums=(1, 2, 3, 4, 5))


def as_pillow(images):
    return [Image.fromarray(image) for image in images]


@pytest.mark.parametrize("size", [8, 50])
def test_resized_crop_is_pillows_antialiased_resize(images, assert_close_to_pillow, size):
    count, height, width, _ = images.shape
    boxes = draw_boxes(jax.random.key(1), count, height, width, (0.08, 1.0), (3 / 4, 4 / 3))
    mirrored = np.arange(count) % 2 == 1
    got = jax.jit(resampling.resized_crop, static_argnums=2)(images, boxes, size, mirrored)
    want = []
    for image, (top, left, h, w), mirror in zip(
        as_pillow(images), np.asarray(boxes).tolist(), mirrored, strict=True
    ):
        crop = image.crop((left, top, left + w, top + h)).resize((size, size), Image.BILINEAR)
        want.append(crop.transpose(Image.FLIP_LEFT_RIGHT) if mirror else crop)
    assert_close_to_pillow(got, want)


def test_boxes_lie_inside_and_keep_to_their_area_and_ratio():
    height, width = 96, 128
    boxes = draw_boxes(jax.random.key(0), 4000, height, width, (0.2, 0.9), (0.75, 4 / 3))
    top, left, h, w = np.asarray(boxes).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()
    area = h * w / (height * width)
    assert 0.19 < area.min() < 0.21
    assert 0.85 < area.max() < 0.92
    # Without the boxes that did not fit, small areas are uniform.
    small = area < 0.5
    assert abs(area[small].mean() - 0.35) < 0.01
    assert (w / h).min() > 0.73
    assert (w / h).max() < 1.37
    # A place is uniform among those where the box fits.
    assert abs((top / np.maximum(height - h, 1)).mean() - 0.5) < 0.03
    assert abs((left / np.maximum(width - w, 1)).mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    ("height", "width", "want"),
    [(8, 64, (0, 26, 8, 11)), (64, 8, (26, 0, 11, 8)), (16, 16, (0, 0, 16, 16))],
)
def test_the_central_box_is_taken_where_no_box_fits(height, width, want):
    boxes = draw_boxes(jax.random.key(0), 3, height, width, (2.0, 2.0), (0.75, 4 / 3))
    # torchvision's fallback: the whole of the shorter side, an allowed ratio of the longer.
    np.testing.assert_array_equal(boxes, np.tile(want, (3, 1)))


def test_blur_is_pillows_gaussian_blur(images, rng, assert_close_to_pillow):
    sigmas = rng.uniform(0.1, 2.0, len(images)).astype(np.float32)
    got = jax.jit(resampling.gaussian_blur, static_argnums=2)(images, sigmas, 2.0)
    pairs = zip(as_pillow(images), sigmas, strict=True)
    assert_close_to_pillow(
        got, [image.filter(ImageFilter.GaussianBlur(float(sigma))) for image, sigma in pairs]
    )


def test_blur_by_nothing_changes_nothing(photos):
    blur = jax.jit(resampling.gaussian_blur, static_argnums=2)
    np.testing.assert_array_equal(blur(photos, jnp.zeros(len(photos)), 2.0), photos)
