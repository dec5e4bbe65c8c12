import io
import math
import random

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from scipy import stats

from bccl_jax.augment.resampling import resized_crop_boxes
from bccl_jax.data.photographs import crops as crops_module
from bccl_jax.data.photographs.crops import Crop, evaluation_crop, random_boxes, training_crops
from bccl_jax.data.photographs.decode import BrokenImageError

BILINEAR = Image.Resampling.BILINEAR
STRONG, SIM = Crop((0.08, 1.0)), Crop((0.2, 1.0))


def photograph(height, width, seed=0):
    """Smooth structure of several scales, with some noise."""
    rng = np.random.default_rng(seed)
    levels = np.zeros((height, width, 3))
    for cell, contrast in ((60, 40), (20, 20), (7, 10), (1, 3)):
        shape = (height // cell + 2, width // cell + 2, 3)
        octave = Image.fromarray(rng.integers(0, 256, shape, np.uint8))
        large = octave.resize((width, height), Image.Resampling.BICUBIC)
        levels += (np.asarray(large) - 128.0) * contrast / 74
    return Image.fromarray((levels + 128).clip(0, 255).astype(np.uint8))


def encoded(image, form="JPEG", orientation=1):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stream = io.BytesIO()
    settings = {"quality": 92} if form == "JPEG" else {}
    image.save(stream, form, exif=exif.tobytes(), **settings)
    return stream.getvalue()


def opened(data, orientation=1):
    turn = {
        1: lambda image: image,
        3: lambda image: image.rotate(180),
        6: lambda image: image.rotate(-90, expand=True),
        8: lambda image: image.rotate(90, expand=True),
    }
    return turn[orientation](Image.open(io.BytesIO(data)).convert("RGB"))


def slow_box(height, width, crop, rng):
    """The random resized crop by its definition, with Python's own generator."""
    for _ in range(10):
        area = rng.uniform(*crop.scale) * height * width
        aspect = crop.ratio[0] * (crop.ratio[1] / crop.ratio[0]) ** rng.random()
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if w in range(1, width + 1) and h in range(1, height + 1):
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    aspect = min(max(width / height, crop.ratio[0]), crop.ratio[1])
    h, w = (round(width / aspect), width) if aspect * height > width else (height, None)
    w = w or min(round(height * aspect), width)
    return (height - h) // 2, (width - w) // 2, h, w


def features_of(boxes, height, width):
    """Figures of which each is spread over many values."""
    top, left, h, w = np.asarray(boxes, float).T
    return {
        "height": h,
        "width": w,
        "area": h * w,
        "aspect": w / h,
        "top": top,
        "left": left,
        "middle row": (top + h / 2) / height,
        "share above": top / np.maximum(height - h, 1),
        "share at the left": left / np.maximum(width - w, 1),
    }


# The last three often fall back to the central box.
@pytest.mark.parametrize(
    ("height", "width", "crop"),
    [
        (90, 130, STRONG),
        (200, 150, SIM),
        (64, 64, Crop((0.5, 0.6), (0.5, 2.0))),
        (60, 150, Crop((0.5, 1.0))),
        (150, 60, Crop((0.55, 1.0), (0.8, 1.0))),
        (100, 100, Crop((0.9, 1.0))),
    ],
)
def test_boxes_are_distributed_as_by_definition_and_as_on_the_device(height, width, crop, rng):
    number = 4000
    ours = features_of(random_boxes(height, width, [crop] * number, rng), height, width)
    plain = random.Random(0)
    slow = [slow_box(height, width, crop, plain) for _ in range(number)]
    drawn = resized_crop_boxes(jax.random.key(0), number, height, width, crop.scale, crop.ratio)
    for name, other in (("definition", slow), ("device", drawn)):
        for feature, values in features_of(other, height, width).items():
            p = stats.ks_2samp(ours[feature], values, method="asymp").pvalue
            assert p > 1e-3, (name, feature)


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    ratio=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)).map(sorted),
    seed=st.integers(0, 2**32),
)
def test_boxes_lie_in_the_image_and_keep_their_bounds(height, width, scale, ratio, seed):
    crop = Crop(tuple(scale), tuple(ratio))
    boxes = random_boxes(height, width, [crop] * 5, np.random.default_rng(seed))
    assert boxes.shape == (5, 4)
    assert np.issubdtype(boxes.dtype, np.integer)
    for top, left, h, w in boxes.tolist():
        assert min(top, left) >= 0
        assert 1 <= h <= height - top
        assert 1 <= w <= width - left
        central = (top, left) == ((height - h) // 2, (width - w) // 2)
        # Sides are rounded by up to half a pixel, of a candidate or of the central box.
        most = (h + 0.5) * (w + 0.5) / (height * width)
        least = (h - 0.5) * (w - 0.5) / (height * width)
        assert (least <= scale[1] and most >= scale[0]) or central
        narrow, wide = (w - 0.5) / (h + 0.5), (w + 0.5) / max(h - 0.5, 1e-9)
        assert (narrow <= ratio[1] and wide >= ratio[0]) or min(h, w) == 1


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (10, 100, (0, 43, 10, 13)),
        (100, 10, (43, 0, 13, 10)),
        (1, 100, (0, 49, 1, 1)),
        (100, 1, (49, 0, 1, 1)),
        (60, 80, (0, 0, 60, 80)),
    ],
)
def test_where_no_candidate_fits_the_box_is_central(height, width, box, rng):
    # All of the area only fits where the aspect ratio is the image's, which it never is exactly.
    whole = Crop((1.0, 1.0), (3 / 4, 4 / 3)) if height != 60 else Crop((1.01, 1.01), (1.3, 1.4))
    assert {tuple(b) for b in random_boxes(height, width, [whole] * 20, rng).tolist()} == {box}


def test_each_crop_has_bounds_of_its_own(rng):
    small, large = Crop((0.05, 0.1)), Crop((0.5, 0.6))
    areas = [
        random_boxes(300, 400, [small, large, small], rng)[:, 2:].prod(-1) / 120000
        for _ in range(50)
    ]
    below = np.array(areas) < 0.2
    assert (below == [True, False, True]).all()


@pytest.mark.parametrize(
    "bounds",
    [
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 0.2)},
        {"ratio": (-1.0, 1.0)},
        {"ratio": (0.5, math.inf)},
        {"ratio": (math.nan, 1.0)},
    ],
)
def test_impossible_bounds_are_refused(bounds):
    with pytest.raises(ValueError, match=f"crop's {next(iter(bounds))} is"):
        Crop(**bounds)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(("height", "width", "size"), [(70, 90, 32), (33, 21, 40), (120, 80, 16)])
def test_training_crops_are_pillows(form, orientation, height, width, size):
    data = encoded(photograph(height, width), form, orientation)
    image = opened(data, orientation)
    wanted = [STRONG, SIM, SIM]
    found = training_crops(data, wanted, size, np.random.default_rng(5), reduced=False)
    boxes = random_boxes(image.height, image.width, wanted, np.random.default_rng(5))
    assert found.shape == (3, size, size, 3)
    assert found.dtype == np.uint8
    for square, (top, left, h, w) in zip(found, boxes.tolist(), strict=True):
        cut = image.crop((left, top, left + w, top + h))
        np.testing.assert_array_equal(square, np.asarray(cut.resize((size, size), BILINEAR)))


def test_crops_of_a_jpeg_not_large_enough_are_the_same_without_a_reduction():
    data = encoded(photograph(90, 110))
    for seed in range(20):
        found = [
            training_crops(data, [STRONG, SIM], 46, np.random.default_rng(seed), reduced=reduced)
            for reduced in (False, True)
        ]
        np.testing.assert_array_equal(*found)


@pytest.fixture
def decoded(monkeypatch):
    """What every picture was decoded to."""
    found = []

    class Recorded(crops_module.Picture):
        def decode(self, at_most=1.0):
            found.append(super().decode(at_most))
            return found[-1]

    monkeypatch.setattr(crops_module, "Picture", Recorded)
    return found


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_reduced_picture_has_the_pixels_that_its_crops_need(orientation, decoded):
    picture = photograph(301, 423)
    data = encoded(picture, "JPEG", orientation)
    sides = (301, 423) if orientation in (1, 3) else (423, 301)
    size, reductions = 24, []
    for seed in range(60):
        wanted = [Crop((0.05, 1.0)), Crop((0.2, 1.0))]
        found = training_crops(data, wanted, size, np.random.default_rng(seed))
        exact = training_crops(data, wanted, size, np.random.default_rng(seed), reduced=False)
        pixels, full = decoded[-2:]
        least = random_boxes(*sides, wanted, np.random.default_rng(seed))[:, 2:].min()
        reductions.append(pixels.reduction)
        assert least / pixels.reduction >= size
        assert pixels.reduction == 8 or least / (2 * pixels.reduction) < size
        assert full.reduction == 1
        difference = found.astype(int) - exact
        shift_by_a_pixel = np.abs(np.diff(exact.astype(int), axis=2)).mean()
        assert np.abs(difference).mean() < 0.2 * shift_by_a_pixel
        assert np.abs(difference.mean((1, 2))).max() < 0.5
    assert {2, 4} <= set(reductions)


def test_one_generator_gives_other_crops_each_time(rng):
    data = encoded(photograph(60, 60))
    first, second = (training_crops(data, [STRONG, STRONG], 8, rng) for _ in range(2))
    found = {square.tobytes() for square in (*first, *second)}
    assert len(found) == 4
    again = training_crops(data, [STRONG, STRONG], 8, np.random.default_rng(0))
    np.testing.assert_array_equal(again, first)


def slow_evaluation(image, resize, size):
    """torchvision's Resize and CenterCrop by their documentation, on a Pillow image."""
    if image.width <= image.height:
        sides = resize, int(resize * image.height / image.width)
    else:
        sides = int(resize * image.width / image.height), resize
    image = image.resize(sides, BILINEAR)
    left, top = round((sides[0] - size) / 2.0), round((sides[1] - size) / 2.0)
    return np.asarray(image.crop((left, top, left + size, top + size)))


SHAPES = [(37, 53), (53, 37), (60, 60), (64, 64), (32, 100), (7, 9), (1, 3), (5, 63), (150, 149)]


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_evaluation_crop_is_a_resize_and_a_central_crop(form, height, width):
    data = encoded(photograph(height, width), form)
    for resize, size in ((32, 28), (33, 28), (16, 16), (64, 1)):
        found = evaluation_crop(data, resize, size, reduced=False)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, slow_evaluation(opened(data), resize, size))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_evaluation_crop_is_of_the_upright_picture(orientation):
    data = encoded(photograph(40, 70), "JPEG", orientation)
    found = evaluation_crop(data, 32, 28, reduced=False)
    np.testing.assert_array_equal(found, slow_evaluation(opened(data, orientation), 32, 28))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(
    ("height", "width", "reduction"), [(513, 590, 8), (257, 390, 4), (131, 150, 2), (127, 199, 1)]
)
def test_evaluation_crop_of_a_large_jpeg_is_reduced(height, width, reduction, orientation, decoded):
    data = encoded(photograph(height, width), "JPEG", orientation)
    found, exact = (evaluation_crop(data, 32, 28, reduced=reduced) for reduced in (True, False))
    assert [pixels.reduction for pixels in decoded] == [reduction, 1]
    assert min(decoded[0].image.size) >= 2 * 32 or reduction == 1
    difference = found.astype(int) - exact
    shift_by_a_pixel = np.abs(np.diff(exact.astype(int), axis=1)).mean()
    assert np.abs(difference).mean() < min(1, 0.1 * shift_by_a_pixel)
    assert np.abs(difference.mean((0, 1))).max() < 0.5


@pytest.mark.parametrize(("height", "width"), [(1, 30000), (30000, 1), (2, 3000)])
def test_of_a_strip_only_the_middle_is_seen(height, width):
    levels = np.zeros((height, width), np.uint8)
    long = max(height, width)
    middle = levels if height > width else levels.T
    middle[: long // 2 - 40] = 100
    middle[long // 2 + 40 :] = 200
    data = encoded(Image.fromarray(levels), "PNG")
    found = evaluation_crop(data, 256, 224)
    assert found.shape == (224, 224, 3)
    assert found.max() == 0


@pytest.mark.parametrize(("resize", "size"), [(16, 17), (16, 0), (0, 0), (16, -1)])
def test_square_larger_than_the_resized_image_is_refused(resize, size):
    with pytest.raises(ValueError, match=f"square of {size} pixels"):
        evaluation_crop(encoded(photograph(20, 20)), resize, size)


def test_broken_images_have_no_crops(rng):
    for data in (b"", b"text", encoded(photograph(20, 20))[:-50]):
        with pytest.raises(BrokenImageError):
            training_crops(data, [STRONG], 8, rng)
        with pytest.raises(BrokenImageError):
            evaluation_crop(data, 8, 8)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (256, 256), (90, 110)])
def test_evaluation_crop_is_torchvisions(height, width):
    transforms = pytest.importorskip("torchvision.transforms")
    data = encoded(photograph(height, width))
    both = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    expected = np.asarray(both(Image.open(io.BytesIO(data)).convert("RGB")))
    np.testing.assert_array_equal(evaluation_crop(data, 256, 224, reduced=False), expected)
