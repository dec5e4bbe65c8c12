"""Images of any kind are seen as an evaluation of the run sees its own."""

import io

import numpy as np
import pytest
from PIL import Image

from bccl_jax.data.photographs.crops import evaluation_crop
from bccl_jax.data.photographs.decode import BrokenImageError, decode
from bccl_jax.data.photographs.decoding import PLAIN
from bccl_jax.use.seeing import Sight
from tests.data.photographs.test_crops import encoded, opened, photograph

BILINEAR = Image.Resampling.BILINEAR


def sight(shape, *, photographs=False, resize=0, pixels=0):
    return Sight(shape, photographs, resize, pixels, PLAIN)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_photographs_are_cut_as_in_an_evaluation_upright(form, orientation, tmp_path):
    data = encoded(photograph(40, 70), form, orientation)
    (tmp_path / "a").write_bytes(data)
    wanted = evaluation_crop(data, 32, 28)
    see = sight((28, 28), photographs=True, resize=32).see
    upright = np.asarray(opened(data, orientation))
    for given in (str(tmp_path / "a"), data, Image.open(io.BytesIO(data)), upright):
        np.testing.assert_array_equal(see(given), wanted)


@pytest.mark.parametrize("shape", [(8, 8), (8, 12), (9, 4)])
def test_arrays_of_the_runs_size_stay_and_so_do_their_files(shape):
    levels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image = Image.fromarray(levels)
    for given in (levels, image, image.convert("RGBA"), encoded(image, "PNG")):
        np.testing.assert_array_equal(sight(shape).see(given), levels)


@pytest.mark.parametrize(
    ("sides", "shape", "box"),
    [
        ((30, 21), (8, 8), (0, 4, 21, 25)),
        ((21, 30), (8, 8), (4, 0, 25, 21)),
        ((30, 21), (8, 16), (0, 10, 21, 20)),
        ((5, 5), (16, 8), (1, 0, 3, 5)),
        ((1, 40), (4, 4), (19, 0, 20, 1)),
    ],
)
def test_other_sizes_are_scaled_from_the_centre(sides, shape, box):
    image = photograph(*sides)
    wanted = np.asarray(image.crop(box).resize(shape[::-1], BILINEAR))
    for given in (np.asarray(image), image, encoded(image, "PNG")):
        np.testing.assert_array_equal(sight(shape).see(given), wanted)


def test_images_are_reduced_as_those_of_the_run_were():
    levels = np.zeros((8, 8, 3), np.uint8)
    levels[:4, :4] = 10
    levels[4:, 4:, 1] = np.arange(16).reshape(4, 4)  # a mean of 7.5, rounded up
    wanted = np.zeros((2, 2, 3), np.uint8)
    wanted[0, 0], wanted[1, 1, 1] = 10, 8
    see = sight((2, 2), pixels=2).see
    for given in (levels, encoded(Image.fromarray(levels), "PNG")):
        np.testing.assert_array_equal(see(given), wanted)
    # Of one that is no whole number of squares.
    assert see(levels[:7]).shape == (2, 2, 3)


def test_a_huge_strip_and_what_is_no_picture_are_met():
    see = sight((8, 8), photographs=True, resize=9).see
    assert see(np.zeros((1, 30000, 3), np.uint8)).shape == (8, 8, 3)
    with pytest.raises(BrokenImageError, match="floating-point numbers"):
        see(Image.fromarray(np.zeros((4, 4), np.float32)))
    with pytest.raises(BrokenImageError, match="no pixels"):
        see(Image.new("RGB", (0, 4)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "HSV", "YCbCr", "RGBA", "I;16"])
def test_an_image_of_pillow_is_as_its_file_is(mode):
    if mode == "I;16":
        image = Image.fromarray(np.arange(0, 65280, 1020, np.uint16).reshape(8, 8))
    else:
        image = photograph(8, 8).convert(mode)
    form = "PNG" if mode in ("1", "L", "LA", "P", "RGBA", "I;16") else "TIFF"
    if mode == "HSV":
        wanted = image.convert("RGB")
    else:
        stream = io.BytesIO()
        image.save(stream, form)
        wanted = decode(stream.getvalue())
    np.testing.assert_array_equal(sight((8, 8)).see(image), np.asarray(wanted))
