"""Levels that hardly reach into the scale, and transparent parts, are told by inspection."""

import re

import numpy as np
import pytest

from bccl_jax.config import get_config
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.photographs.decode import decode, look
from bccl_jax.data.photographs.levels import Look
from bccl_jax.data.split import Dataset, Split
from bccl_jax.inspecting import inspection
from bccl_jax.inspecting.verification import sample_images
from tests.data.photographs.test_decode import ALPHA, GREY, RGB, encoded, png, tiff
from tests.data.photographs.test_decode import KINDS as EVERY_KIND

GREY_12 = GREY.astype(np.uint16) * 16 + 15
RGB_12 = RGB.astype(np.uint16) * 16
DARK = GREY // 20
CLEAR = np.concatenate([RGB, np.zeros_like(ALPHA)[..., None]], -1)
HALF = np.concatenate([DARK[..., None].repeat(3, -1), ALPHA[..., None]], -1)

BITS_16 = r"levels       1 of 1 images of 16 bits a level are read as 0 to {} of 255, .*for one"
KINDS = {
    "12 bits in a grey PNG of 16": (png(GREY_12, 0), [BITS_16.format(13)]),
    "12 bits in an RGB PNG of 16": (png(RGB_12, 2), [BITS_16.format(13)]),
    "12 bits in an RGBA PNG of 16": (
        png(np.concatenate([RGB_12, RGB_12[..., :1] | 0xFFFF], -1), 6),
        [BITS_16.format(13)],
    ),
    "12 bits in a TIFF of 16": (encoded(GREY_12, "TIFF"), [BITS_16.format(13)]),
    "12 bits in a compressed TIFF of 16": (
        encoded(GREY_12, "TIFF", compression="tiff_lzw"),
        [BITS_16.format(13)],
    ),
    "12 bits in an RGB TIFF of 16": (tiff(RGB_12.tobytes(), 16, channels=3), [BITS_16.format(13)]),
    "12 bits in a PGM of 16": (
        b"P5 36 24 65535\n" + GREY_12.astype(">u2").tobytes(),
        [BITS_16.format(13)],
    ),
    "14 bits in a PNG of 16": (png(GREY_12 * 4, 0), [BITS_16.format("5.")]),
    "labels of classes": (
        encoded(GREY // 100, "PNG"),
        ["1 of 1 images of 8 bits .* 0 to 2 of 255"],
    ),
    "transparent": (
        encoded(np.concatenate([RGB, ALPHA[..., None]], -1), "PNG"),
        [r"transparent  1 of 1 .*, which are put on config\.data\.background$"],
    ),
    "nothing but transparent": (encoded(CLEAR, "PNG"), ["background, and 1 are nothing else$"]),
    "dark on a light ground": (
        encoded(HALF, "PNG"),
        ["^transparent", "1 of 1 images of 8 bits a level are read as 0 to 10 of 255"],
    ),
    "16 bits": (png(GREY.astype(np.uint16) * 257, 0), []),
    "8 bits": (encoded(RGB, "PNG"), []),
    "a JPEG": (encoded(RGB, "JPEG"), []),
    "opaque by its alpha": (encoded(np.concatenate([RGB, RGB[..., :1] | 255], -1), "PNG"), []),
}


def dataset_of(folder, *files):
    folder.mkdir(exist_ok=True)
    for number, data in enumerate(files):
        (folder / f"{number}").write_bytes(data)
    images = FileImages(folder, [str(number) for number in range(len(files))])
    train = Split(images, np.zeros(len(files), np.int32), ("only",))
    return Dataset("folder", train, train.take(np.arange(0)))


@pytest.mark.parametrize(("data", "lines"), KINDS.values(), ids=KINDS)
def test_levels_and_transparency_are_told(tmp_path, data, lines):
    found = sample_images(dataset_of(tmp_path / "images", data).splits)
    told = inspection.about_levels(found.looks)
    assert len(told) == len(lines)
    for line, expected in zip(told, lines, strict=True):
        assert re.search(expected, line)
        assert line.isprintable()


@pytest.mark.parametrize("verify", [False, True])
def test_inspection_says_so_with_and_without_verify(tmp_path, capsys, verify):
    config = get_config()
    config.data.workers = 0
    dataset = dataset_of(
        tmp_path / "images", png(GREY_12, 0), png(GREY_12, 0), encoded(CLEAR, "PNG"), b"broken"
    )
    assert inspection.run(dataset, config, tmp_path / "out", verify=verify) == int(verify)
    told = capsys.readouterr().out
    assert "levels       2 of 2 images of 16 bits a level are read as 0 to 13 of 255" in told
    assert "transparent  1 of 3 images have transparent parts" in told
    assert ("looked at    1 of 4 images cannot be decoded; --verify names" in told) != verify


def test_a_sample_is_spread_over_all_images(tmp_path):
    dataset = dataset_of(tmp_path / "images", *[encoded(RGB[:2, :2], "PNG")] * 9, b"broken")
    assert len(sample_images(dataset.splits).looks) == 9
    few = sample_images(dataset.splits, most=3)
    assert [name.rsplit("/")[-1] for name, _ in few.looks + few.broken] == ["0", "4", "9"]


def test_images_of_one_kind_alone_are_counted():
    looks = [
        ("a", Look(False, True, 16)),
        ("b", Look(False, True, 255)),
        ("c", Look(False, False, 90)),
    ]
    (line,) = inspection.about_levels(looks)
    assert line.startswith(
        "levels       1 of 2 images of 16 bits a level are read as 0 to 16 of 255, a"
    )


@pytest.mark.parametrize("data", [k[1] for k in EVERY_KIND], ids=[k[0] for k in EVERY_KIND])
def test_every_kind_of_image_can_be_looked_at(data):
    found = look(data, decode(data))
    assert not found.transparent
    assert found.highest > 100
