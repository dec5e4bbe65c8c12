import io
import pathlib
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from bccl_jax.data.photographs.decode import BrokenImageError, Picture, decode

HEIGHT, WIDTH = 24, 36
# What a picture of each EXIF orientation looks like, of the rows and columns in the file.
UPRIGHT = {
    1: lambda rows: rows,
    2: lambda rows: rows[:, ::-1],
    3: lambda rows: rows[::-1, ::-1],
    4: lambda rows: rows[::-1],
    5: lambda rows: rows.swapaxes(0, 1),
    6: lambda rows: np.rot90(rows, -1),
    7: lambda rows: rows[::-1, ::-1].swapaxes(0, 1),
    8: lambda rows: np.rot90(rows),
}


def smooth(height=HEIGHT, width=WIDTH):
    """No two corners are alike, and JPEG keeps it to a level or two."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [20 + 200 * x // width, 30 + 150 * y // height, 220 - 90 * (x + y) // (height + width)], -1
    ).astype(np.uint8)


RGB = smooth()
GREY = RGB[..., 0]
GREY_RGB = np.repeat(GREY[..., None], 3, -1)
BLACK_OR_WHITE = np.where(GREY_RGB > 100, 255, 0)
ALPHA = RGB[..., 1]


def encoded(image, form, **settings):
    stream = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(stream, form, **settings)
    return stream.getvalue()


def with_orientation(number):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = number
    return exif.tobytes()


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(levels, color_type, *chunks, size=None, bits=None):
    """A PNG file of levels [H, W] or [H, W, C] of 8 or 16 bits, or of bytes of packed ones."""
    height, width = size or levels.shape[:2]
    rows = levels.astype(levels.dtype.newbyteorder(">")).reshape(levels.shape[0], -1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(
        ">IIBBBBB", width, height, bits or 8 * levels.itemsize, color_type, 0, 0, 0
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def tiff(strip, bits, sample_format=1, channels=1, width=WIDTH, height=HEIGHT):
    """A little-endian TIFF file of one uncompressed strip of bytes."""
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, 2 if channels == 3 else 1),
        (273, 8),
        (277, channels),
        (278, height),
        (279, len(strip)),
        (339, sample_format),
    ]
    offset = 8 + len(strip)
    triples, behind = b"", offset + 2 + 12 * len(tags) + 4
    entries = struct.pack("<H", len(tags))
    for tag, value in tags:
        if channels == 3 and tag in (258, 339):
            entries += struct.pack("<HHII", tag, 3, 3, behind + len(triples))
            triples += struct.pack("<HHH", value, value, value)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    return struct.pack("<2sHI", b"II", 42, offset) + strip + entries + bytes(4) + triples


def palette_image(count=200):
    image = Image.fromarray((GREY % count).astype(np.uint8), "L")
    image = Image.frombytes("P", image.size, image.tobytes())
    colors = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
    image.putpalette(colors.tobytes())
    return image, colors[GREY % count]


def cmyk():
    """Ink of a picture, and the picture."""
    ink = np.concatenate([255 - RGB, 60 * np.ones_like(RGB[..., :1])], -1)
    return Image.frombytes("CMYK", (WIDTH, HEIGHT), ink.tobytes()), RGB * (195 / 255)


def ycck():
    """A JPEG file of luma, chroma and black, as Photoshop writes it, and what it shows."""
    inverse = Image.fromarray(255 - RGB).convert("YCbCr")
    ink = np.concatenate([255 - np.asarray(inverse), np.zeros_like(RGB[..., :1])], -1)
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), ink.tobytes())
    data = bytearray(encoded(image, "JPEG", quality=100))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    return bytes(data), RGB


def packed_12_bit(levels):
    first, second = levels.reshape(-1, 2).T.astype(np.uint16)
    return (
        np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
        .astype(np.uint8)
        .tobytes()
    )


def animation(form, **settings):
    others = [Image.fromarray(255 - RGB)]
    return encoded(RGB, form, save_all=True, append_images=others, **settings)


WIDE = GREY.astype(np.uint16) * 257
FOUR_IN_ONE = (GREY // 64).reshape(HEIGHT, -1, 4) @ np.array([64, 16, 4, 1], np.uint8)
PALETTE, PALETTE_RGB = palette_image()
INK, INK_RGB = cmyk()
BEST = {"quality": 100, "subsampling": 0}

# Name, file, the RGB levels it shows, and by how much one of them may be off.
KINDS = [
    ("PNG", encoded(RGB, "PNG"), RGB, 0),
    ("PNG, interlaced", encoded(RGB, "PNG", interlace=1), RGB, 0),
    ("TIFF", encoded(RGB, "TIFF"), RGB, 0),
    ("TIFF, LZW", encoded(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    ("TIFF, deflate", encoded(RGB, "TIFF", compression="tiff_adobe_deflate"), RGB, 0),
    ("TIFF, JPEG", encoded(RGB, "TIFF", compression="jpeg", quality=100), RGB, 8),
    ("BMP", encoded(RGB, "BMP"), RGB, 0),
    ("PPM", encoded(RGB, "PPM"), RGB, 0),
    ("TGA", encoded(RGB, "TGA"), RGB, 0),
    ("SGI", encoded(RGB, "SGI"), RGB, 0),
    ("PCX", encoded(RGB, "PCX"), RGB, 0),
    ("WebP, lossless", encoded(RGB, "WEBP", lossless=True), RGB, 0),
    ("WebP", encoded(RGB, "WEBP", quality=100), RGB, 12),
    ("JPEG", encoded(RGB, "JPEG", **BEST), RGB, 4),
    ("JPEG, subsampled", encoded(RGB, "JPEG", quality=100), RGB, 8),
    ("JPEG, progressive", encoded(RGB, "JPEG", progressive=True, **BEST), RGB, 4),
    ("JPEG, RGB", encoded(RGB, "JPEG", keep_rgb=True, **BEST), RGB, 4),
    ("JPEG and junk", encoded(RGB, "JPEG", **BEST) + b"junk" * 9, RGB, 4),
    ("JPEG of an MPO", encoded(RGB, "MPO", save_all=True, **BEST), RGB, 4),
    ("JPEG, grey", encoded(GREY, "JPEG", quality=100), GREY_RGB, 4),
    ("JPEG, CMYK", encoded(INK, "JPEG", quality=100), INK_RGB, 6),
    ("JPEG, YCCK", *ycck(), 6),
    ("TIFF, CMYK", encoded(INK, "TIFF"), INK_RGB, 1),
    ("GIF", encoded(GREY, "GIF"), GREY_RGB, 0),
    ("PNG, grey", encoded(GREY, "PNG"), GREY_RGB, 0),
    ("PNG, palette", encoded(PALETTE, "PNG"), PALETTE_RGB, 0),
    ("PNG, 2 bits", png(FOUR_IN_ONE, 0, size=(HEIGHT, WIDTH), bits=2), GREY_RGB // 64 * 85, 0),
    ("GIF, palette", encoded(PALETTE, "GIF"), PALETTE_RGB, 0),
    ("PNG, nothing clear", encoded(np.stack([GREY, GREY | 255], -1), "PNG"), GREY_RGB, 0),
    ("BMP, RGBA", encoded(np.concatenate([RGB, ALPHA[..., None]], -1), "BMP"), RGB, 0),
    ("PNG, 1 bit", encoded(Image.fromarray(GREY > 100), "PNG"), BLACK_OR_WHITE, 0),
    ("TIFF, 1 bit", encoded(Image.fromarray(GREY > 100), "TIFF"), BLACK_OR_WHITE, 0),
    (
        "TIFF, fax",
        encoded(Image.fromarray(GREY > 100), "TIFF", compression="group4"),
        BLACK_OR_WHITE,
        0,
    ),
    ("PBM", encoded(Image.fromarray(GREY > 100), "PPM"), BLACK_OR_WHITE, 0),
    ("PNG, 16 bits", png(WIDE, 0), GREY_RGB, 0),
    ("PNG, 16 bits, between", png(WIDE + 120, 0), GREY_RGB, 0),
    ("PNG, 16 bits, above", png(WIDE + 130, 0), GREY_RGB + 1, 0),
    ("PNG, 16-bit RGB", png(RGB.astype(np.uint16) * 257, 2), RGB, 0),
    ("TIFF, 16 bits", encoded(WIDE, "TIFF"), GREY_RGB, 0),
    ("TIFF, 16 bits, LZW", encoded(WIDE, "TIFF", compression="tiff_lzw"), GREY_RGB, 0),
    ("TIFF, 16-bit RGB", tiff((RGB.astype("<u2") * 257).tobytes(), 16, channels=3), RGB, 0),
    ("TIFF, 12 bits", tiff(packed_12_bit(GREY.astype(int) * 4095 // 255), 12), GREY_RGB, 1),
    ("PGM, 16 bits", b"P5 36 24 65535\n" + WIDE.astype(">u2").tobytes(), GREY_RGB, 0),
    (
        "animated GIF",
        animation("GIF"),
        np.asarray(Image.fromarray(RGB).quantize().convert("RGB")),
        24,
    ),
    ("animated WebP", animation("WEBP", lossless=True), RGB, 0),
    ("animated PNG", animation("PNG"), RGB, 0),
    ("TIFF of two pages", animation("TIFF"), RGB, 0),
]
if features.check("jpg_2000"):
    KINDS.append(("JPEG 2000", encoded(RGB, "JPEG2000"), RGB, 0))
Image.init()
if "AVIF" in Image.SAVE:
    KINDS.append(("AVIF", encoded(RGB, "AVIF", quality=100, subsampling="4:4:4"), RGB, 8))


@pytest.mark.parametrize(
    ("data", "levels", "off"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS]
)
def test_every_kind_of_image_becomes_rgb(data, levels, off):
    image = decode(data)
    assert image.mode == "RGB"
    got = np.asarray(image)
    assert got.shape == levels.shape
    assert np.abs(got - levels.astype(float)).max() <= off


ORIENTED = {
    "JPEG": BEST,
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
}


@pytest.mark.parametrize("form", ORIENTED)
@pytest.mark.parametrize("number", UPRIGHT)
def test_pictures_are_turned_upright(form, number):
    data = encoded(RGB, form, exif=with_orientation(number), **ORIENTED[form])
    picture = Picture(data)
    expected = UPRIGHT[number](RGB)
    assert (picture.height, picture.width) == expected.shape[:2]
    got = np.asarray(picture.decode().image)
    assert got.shape == expected.shape
    assert np.abs(got - expected.astype(int)).max() <= (4 if form == "JPEG" else 0)


def test_orientation_behind_the_pixels_of_a_png_counts():
    exif = with_orientation(6).removeprefix(b"Exif\0\0")
    data = encoded(RGB, "PNG")
    end = data.index(b"IEND") - 4
    late = data[:end] + chunk(b"eXIf", exif) + data[end:]
    np.testing.assert_array_equal(np.asarray(decode(late)), UPRIGHT[6](RGB))


def broken_exif():
    good = with_orientation(6)
    garbage = np.random.default_rng(2).bytes(64)
    head = b"Exif\0\0II\x2a\0\x08\0\0\0\x01\0"
    return {
        "empty": b"Exif\0\0",
        "garbage": b"Exif\0\0" + garbage,
        "garbage after the byte order": b"Exif\0\0MM\0\x2a\0\0\0\x08" + garbage,
        "cut short": good[:16],
        "far offset": b"Exif\0\0II\x2a\0\xff\xff\xff\x7f",
        "text": head + struct.pack("<HHI4sI", 0x112, 2, 4, b"six", 0),
        "number 0": with_orientation(0),
        "number 9": with_orientation(9),
        "number 65535": with_orientation(65535),
    }


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kind", broken_exif())
def test_broken_exif_leaves_a_good_picture(kind, form):
    settings = ORIENTED[form]
    data = encoded(RGB, form, exif=broken_exif()[kind], **settings)
    plain = np.asarray(decode(encoded(RGB, form, **settings)))
    np.testing.assert_array_equal(np.asarray(decode(data)), plain)


@pytest.mark.parametrize("profile", [b"", b"junk", bytes(200), b"junk" * 40000])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_broken_color_profile_leaves_a_good_picture(form, profile):
    settings = ORIENTED[form]
    data = encoded(RGB, form, icc_profile=profile, **settings)
    plain = np.asarray(decode(encoded(RGB, form, **settings)))
    np.testing.assert_array_equal(np.asarray(decode(data)), plain)


def outcome(data, at_most=1.0):
    """The image, or why it is broken."""
    try:
        return Picture(data).decode(at_most).image
    except BrokenImageError as error:
        return str(error)


def reason(data, at_most=1.0):
    with pytest.raises(BrokenImageError) as caught:
        Picture(data).decode(at_most)
    message = str(caught.value)
    assert message
    assert message.isprintable()
    assert len(message) <= 200
    assert not message.endswith(".")
    return message


NO_IMAGES = {
    "text": b"This is not a picture.\n",
    "web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "JSON": b'{"error": "not found"}',
    "line": b"\n",
    "one byte": b"\xff",
    "start of a JPEG": b"\xff\xd8",
    "start of a PNG": b"\x89PNG\r\n\x1a\n",
    "start of a GIF": b"GIF89a",
    "zeros": bytes(5000),
    "noise": np.random.default_rng(3).bytes(5000),
    "archive": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_image_is_called_so(kind):
    assert f"no image in its {len(NO_IMAGES[kind])} bytes" in reason(NO_IMAGES[kind])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "file is empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript"),
        (tiff(np.zeros((HEIGHT, WIDTH), "<f4").tobytes(), 32, 3), "floating-point"),
        (b"Pf\n36 24\n-1.0\n" + np.ones((HEIGHT, WIDTH), "<f4").tobytes(), "floating-point"),
        (tiff(np.zeros((HEIGHT, WIDTH), "<i4").tobytes(), 32, 2), "32-bit integers"),
        (tiff(np.zeros((HEIGHT, WIDTH), "<i2").tobytes(), 16, 2), "32-bit integers"),
        (png(GREY, 0, size=(50000, 50000)), "2500000000 pixels"),
        (png(GREY, 0, size=(2**31 - 1, 2**31 - 1)), "pixels"),
        (png(GREY, 0, size=(HEIGHT, 0)), ""),
        (png(GREY, 0, size=(0, WIDTH)), ""),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "Truncated"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "decoder"),
        (png(GREY, 0, chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(2**26)))), "too large"),
        (b"P5 0 0 255\n", ""),
        (b"P6 60000 60000 255\n" + bytes(100), "3600000000 pixels"),
        (
            b"BM"
            + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 10**6, 10**6, 1, 24, 0, 0, 0, 0, 0, 0),
            "pixels",
        ),
    ],
)
def test_what_cannot_be_shown_says_why(data, words):
    assert words in reason(data)


def test_size_zero_in_the_header_of_a_jpeg_is_broken():
    data = bytearray(encoded(RGB, "JPEG"))
    frame = data.index(b"\xff\xc0") + 5
    assert data[frame : frame + 4] == struct.pack(">HH", HEIGHT, WIDTH)
    data[frame : frame + 4] = bytes(4)
    reason(bytes(data))


TRUNCATED = {
    "JPEG": encoded(RGB, "JPEG", **BEST),
    "JPEG, progressive": encoded(RGB, "JPEG", progressive=True, **BEST),
    "JPEG, grey": encoded(GREY, "JPEG"),
    "JPEG with EXIF": encoded(RGB, "JPEG", exif=with_orientation(6)),
    "PNG": encoded(RGB, "PNG"),
    "WebP": encoded(RGB, "WEBP"),
    "WebP, lossless": encoded(RGB, "WEBP", lossless=True),
    "GIF": encoded(PALETTE, "GIF"),
    "BMP": encoded(RGB, "BMP"),
    "TIFF": encoded(RGB, "TIFF"),
    "TIFF, LZW": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "PPM": encoded(RGB, "PPM"),
}


@pytest.mark.parametrize("kind", TRUNCATED)
def test_what_is_cut_short_is_broken_unless_nothing_is_missing(kind):
    data = TRUNCATED[kind]
    whole = np.asarray(decode(data))
    positions = np.linspace(0, len(data) - 1, 40).astype(int).tolist()
    lengths = sorted({*positions, *range(len(data) - 30, len(data))})
    complete = []
    for length in lengths:
        found = outcome(data[:length])
        if isinstance(found, str):
            assert found.isprintable()
        else:
            np.testing.assert_array_equal(np.asarray(found), whole)
            complete.append(length)
    # Checksums, the end mark of a PNG and paddings say nothing of the pixels.
    assert all(length >= len(data) - 20 for length in complete)
    if "JPEG" in kind:
        assert not complete


@pytest.mark.parametrize("at_most", [2, 4, 8])
def test_jpeg_cut_short_is_broken_at_a_reduced_size_too(at_most):
    data = encoded(smooth(100, 120), "JPEG")
    assert "truncated" in reason(data[: len(data) // 2], at_most)
    assert "truncated" in reason(data[:-2], at_most)


def test_changed_bytes_raise_nothing_else(rng):
    files = [data for _, data, _, _ in KINDS]
    broken = 0
    for trial in range(1500):
        data = bytearray(files[trial % len(files)])
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(min(len(data), 300))] = rng.integers(256)
        found = outcome(bytes(data), float(rng.choice([1, 2, 8])))
        if isinstance(found, str):
            assert found.isprintable()
            broken += 1
        else:
            assert found.mode == "RGB"
    assert 200 < broken < 1400


def test_large_images_below_the_limit_are_decoded_without_a_word(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    np.testing.assert_array_equal(np.asarray(decode(encoded(RGB, "PNG"))), RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 2 - 1)
    for form in ("PNG", "JPEG"):
        assert "864 pixels" in reason(encoded(RGB, form))


def test_warnings_of_others_still_warn():
    decode(encoded(RGB, "PNG"))
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", stacklevel=1)


def test_threads_decode_as_one_does():
    files = [data for _, data, _, _ in KINDS] + list(NO_IMAGES.values())

    def pixels(data):
        found = outcome(data)
        return found if isinstance(found, str) else found.tobytes()

    alone = [pixels(data) for data in files]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(pixels, files * 4))
    assert together == alone * 4


@pytest.mark.parametrize("number", UPRIGHT)
@pytest.mark.parametrize("at_most", [1.9, 2, 5, 8, 100])
def test_reduced_pixels_lie_where_the_full_ones_do(number, at_most):
    # On a ramp the level tells the place: 2 levels a pixel along a row, 1 along a column.
    y, x = np.mgrid[:93, :117]
    ramp = np.stack([10 + 2 * x, 10 + y, 120 + 0 * x], -1).astype(np.uint8)
    picture = Picture(encoded(ramp, "JPEG", exif=with_orientation(number), **BEST))
    full, reduced = picture.decode(), picture.decode(at_most)
    assert reduced.reduction == {1.9: 1, 2: 2, 5: 4, 8: 8, 100: 8}[at_most]
    assert reduced.image.width == -(-picture.width // reduced.reduction)
    assert reduced.image.height == -(-picture.height // reduced.reduction)
    for box in [(0, 0, picture.height, picture.width), (16, 8, 64, 72), (13, 27, 50, 61)]:
        crops = []
        for pixels in (full, reduced):
            part, inner = pixels.cut(box)
            crops.append(np.asarray(part.resize((6, 6), Image.Resampling.BILINEAR, inner), float))
        # The border of the picture is repeated outside of it, so that only the inside is exact.
        inside = np.abs(crops[0] - crops[1])[1:-1, 1:-1]
        assert inside.mean() < 0.6
        assert inside.max() < 2.5


def test_only_jpeg_is_reduced():
    for form in ("PNG", "TIFF", "WEBP"):
        pixels = Picture(encoded(RGB, form, **ORIENTED[form])).decode(8)
        assert pixels.reduction == 1
        np.testing.assert_array_equal(np.asarray(pixels.image), RGB)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (7, 3), (8, 8), (9, 15)])
def test_small_jpeg_is_never_reduced_to_nothing(height, width):
    picture = Picture(encoded(smooth(height, width), "JPEG"))
    pixels = picture.decode(8)
    assert pixels.reduction <= min(height, width)
    assert pixels.image.size == (-(-width // pixels.reduction), -(-height // pixels.reduction))


def test_pixels_can_be_asked_for_again():
    picture = Picture(encoded(smooth(64, 64), "JPEG"))
    sizes = [picture.decode(at_most).image.size for at_most in (4, 1, 2)]
    assert sizes == [(16, 16), (64, 64), (32, 32)]


def test_readers_do_not_import_jax():
    root = pathlib.Path(__file__).parents[3]
    code = "import sys, bccl_jax.data.feeding.stream; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
