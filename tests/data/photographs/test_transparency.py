"""Transparent pictures are put on a ground, whatever their kind and wherever they are read."""

import struct

import numpy as np
import pytest
from PIL import Image

from bccl_jax.config import get_config
from bccl_jax.config.validation import validate
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.feeding.stream import EvaluationStream, TrainingStream
from bccl_jax.data.formats import packed
from bccl_jax.data.order import Order
from bccl_jax.data.packing import packing
from bccl_jax.data.photographs.crops import Crop, evaluation_crop, training_crops
from bccl_jax.data.photographs.decode import decode
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import ConfigError
from tests.data.photographs.test_decode import (
    ALPHA,
    FOUR_IN_ONE,
    GREY,
    GREY_RGB,
    HEIGHT,
    PALETTE,
    PALETTE_RGB,
    RGB,
    UPRIGHT,
    WIDE,
    WIDTH,
    chunk,
    encoded,
    png,
    with_orientation,
)

GROUND = (10, 200, 90)
RGBA = np.concatenate([RGB, ALPHA[..., None]], -1)
GREY_ALPHA = np.stack([GREY, ALPHA], -1)
INDEX = np.asarray(PALETTE)
FEW = FOUR_IN_ONE, GREY // 64
ONE_BIT = GREY > 100
RGB_16 = RGB.astype(np.uint16) * 257


def clear(*levels):
    return chunk(b"tRNS", struct.pack(f">{len(levels)}H", *map(int, levels)))


def but(hidden):
    return np.where(hidden, 0, 255)


def all_equal(image, color):
    return (image == color).all(-1)


def alpha_of(table, index):
    """Of a table of the alphas of the first colors; the others are opaque."""
    return np.array([*table, *[255] * (256 - len(table))])[index]


# Name, file, the colors that it holds, their alpha of 255, and by how much a level may be off.
KINDS = [
    ("PNG, RGBA", encoded(RGBA, "PNG"), RGB, ALPHA, 1),
    ("PNG, 16-bit RGBA", png(RGBA.astype(np.uint16) * 257, 6), RGB, ALPHA, 1),
    ("PNG, grey and alpha", encoded(GREY_ALPHA, "PNG"), GREY_RGB, ALPHA, 1),
    ("PNG, 16-bit grey and alpha", png(GREY_ALPHA.astype(np.uint16) * 257, 4), GREY_RGB, ALPHA, 1),
    ("PNG, a color", encoded(PALETTE, "PNG", transparency=37), PALETTE_RGB, but(INDEX == 37), 0),
    (
        "PNG, colors",
        encoded(PALETTE, "PNG", transparency=bytes(range(90))),
        PALETTE_RGB,
        alpha_of(range(90), INDEX),
        1,
    ),
    ("PNG, a grey", png(GREY, 0, clear(GREY[0, 0])), GREY_RGB, but(GREY[0, 0] == GREY), 0),
    ("PNG, a 16-bit grey", png(WIDE, 0, clear(WIDE[0, 0])), GREY_RGB, but(WIDE[0, 0] == WIDE), 0),
    ("PNG, a grey of its upper bits", png(WIDE, 0, clear(WIDE[0, 0] - 1)), GREY_RGB, but(False), 0),
    (
        "PNG, a grey of 2 bits",
        png(FEW[0], 0, clear(2), size=(HEIGHT, WIDTH), bits=2),
        GREY_RGB // 64 * 85,
        but(FEW[1] == 2),
        0,
    ),
    (
        "PNG, white of 1 bit",
        png(np.packbits(ONE_BIT, axis=1), 0, clear(1), size=(HEIGHT, WIDTH), bits=1),
        np.where(ONE_BIT, 255, 0)[..., None].repeat(3, -1),
        but(ONE_BIT),
        0,
    ),
    ("PNG, an RGB", png(RGB, 2, clear(*RGB[3, 4])), RGB, but(all_equal(RGB, RGB[3, 4])), 0),
    (
        "PNG, a 16-bit RGB",
        png(RGB_16, 2, clear(*RGB_16[3, 4])),
        RGB,
        but(all_equal(RGB, RGB[3, 4])),
        0,
    ),
    ("GIF, a color", encoded(PALETTE, "GIF", transparency=37), PALETTE_RGB, but(INDEX == 37), 0),
    ("TIFF, RGBA", encoded(RGBA, "TIFF"), RGB, ALPHA, 1),
    ("TIFF, grey and alpha", encoded(GREY_ALPHA, "TIFF"), GREY_RGB, ALPHA, 1),
    ("TGA, RGBA", encoded(RGBA, "TGA"), RGB, ALPHA, 1),
    ("WebP, RGBA", encoded(RGBA, "WEBP", lossless=True, exact=True), RGB, ALPHA, 1),
]


@pytest.mark.parametrize(
    ("data", "colors", "alpha", "off"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS]
)
@pytest.mark.parametrize("ground", [GROUND, (0, 0, 0)])
def test_transparent_parts_show_the_ground(data, colors, alpha, off, ground):
    share = np.broadcast_to(alpha, GREY.shape)[..., None] / 255
    expected = share * colors + (1 - share) * np.array(ground)
    image = decode(data, Decoding(ground))
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image) - expected).max() <= off


def test_the_ground_is_white_unless_another_one_is_named():
    hidden = np.concatenate([RGB, np.zeros_like(ALPHA)[..., None]], -1)
    assert np.asarray(decode(encoded(hidden, "PNG"))).min() == 255
    assert get_config().data.background == (255, 255, 255)


@pytest.mark.parametrize("form", ["P", "L", "RGB", "PA"])
def test_what_is_hidden_does_not_show_in_any_mode_of_pillow(form):
    """A picture whose hidden pixels hold another picture."""
    alpha = np.where(np.arange(WIDTH) < 18, 0, 255)[None].repeat(HEIGHT, 0)
    image = Image.fromarray(np.concatenate([RGB, alpha[..., None]], -1).astype(np.uint8))
    if form in ("P", "PA"):
        data = encoded(image.quantize(64), "PNG")
    else:
        levels = np.where(alpha == 0, 7, np.where(GREY == 7, 8, GREY)).astype(np.uint8)
        levels = levels if form == "L" else np.stack([levels] * 3, -1)
        data = encoded(levels, "PNG", transparency=7 if form == "L" else (7, 7, 7))
    found = np.asarray(decode(data, Decoding(GROUND)))
    assert (found[:, :18] == GROUND).all()
    assert not (found[:, 18:] == GROUND).all(-1).any()


def test_a_turned_picture_has_its_ground_where_it_is_transparent():
    data = encoded(RGBA, "PNG", exif=with_orientation(6))
    plain = np.asarray(decode(encoded(RGBA, "PNG"), Decoding(GROUND)))
    np.testing.assert_array_equal(np.asarray(decode(data, Decoding(GROUND))), UPRIGHT[6](plain))


def test_crops_are_cut_out_of_the_picture_on_its_ground(rng):
    hidden = encoded(np.concatenate([RGB, np.zeros_like(ALPHA)[..., None]], -1), "PNG")
    crops = training_crops(hidden, [Crop(), Crop()], 8, rng, decoding=Decoding(GROUND))
    assert (crops == GROUND).all()
    assert (evaluation_crop(hidden, 10, 8, decoding=Decoding(GROUND)) == GROUND).all()


def test_streams_and_packed_pictures_have_the_same_ground(tmp_path):
    (tmp_path / "images").mkdir()
    names = []
    for number, (_, data, *_) in enumerate(KINDS):
        names.append(f"{number}.png")
        (tmp_path / "images" / names[-1]).write_bytes(data)
    labels = np.zeros(len(names), np.int32)
    split = Split(FileImages(tmp_path / "images", names), labels, ("only",))
    packing.pack("made", Splits(split, split), tmp_path / "packed")
    again = packed.load(tmp_path / "packed").train

    def read(images, ground):
        rows = range(2)
        training = TrainingStream(
            images, Order(labels, 2, 0), 1, rows, crops=[Crop()], size=8, decoding=Decoding(ground)
        )
        evaluation = EvaluationStream(images, 2, rows, 10, 8, Decoding(ground))
        return [
            stream[i]["image"].tobytes()
            for stream in (training, evaluation)
            for i in range(len(names))
        ]

    assert read(split.images, GROUND) == read(again.images, GROUND)
    assert read(split.images, GROUND) != read(split.images, (0, 0, 0))


@pytest.mark.parametrize(
    "ground", [(), (0, 0), (0, 0, 256), (-1, 0, 0), (0, 0, 2**63), (0.5, 0.5, 0.5), (1, 2, 3, 4)]
)
def test_an_impossible_ground_is_refused_by_its_key(ground):
    config = get_config()
    config.data.background = ground
    with pytest.raises(ConfigError, match=r"config\.data\.background is .*0 to 255"):
        validate(config)
