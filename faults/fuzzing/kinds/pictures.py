"""Picture files of every format, changed: cut, and with sizes that no memory has."""

import functools
import io
import pathlib
import random
import struct

import numpy as np
from PIL import Image, features

from bccl_jax.data.photographs.decode import BrokenImageError, Picture, look
from faults.fuzzing.mutation import mutated
from faults.fuzzing.surface import Input, Kind, Surface, consistent

_SIDES = (1, 2, 23, 4000, 13_300, 20_000, 65_535, 2**31 - 1)


@functools.cache
def _written() -> dict[str, bytes]:
    levels = np.random.default_rng(0).integers(0, 256, (23, 17, 4), dtype=np.uint8)
    rgba = Image.fromarray(levels)
    rgb, exif = rgba.convert("RGB"), Image.Exif()
    exif[0x0112] = 6
    ways = {
        "jpg": (rgb, "JPEG", {"exif": exif}),
        "progressive.jpg": (rgb, "JPEG", {"progressive": True}),
        "cmyk.jpg": (rgb.convert("CMYK"), "JPEG", {}),
        "png": (rgba, "PNG", {}),
        "grey16.png": (Image.fromarray(levels[..., 0].astype(np.uint16) * 257), "PNG", {}),
        "palette.png": (rgb.convert("P"), "PNG", {"transparency": 3, "exif": exif}),
        "gif": (rgb.convert("P"), "GIF", {"save_all": True, "append_images": [rgb]}),
        "bmp": (rgb, "BMP", {}),
        "tif": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "deflate.tif": (rgba, "TIFF", {"compression": "tiff_deflate"}),
        "ppm": (rgb, "PPM", {}),
        "tga": (rgb, "TGA", {}),
        "ico": (rgba, "ICO", {}),
        "webp": (rgba, "WEBP", {}),
        "avif": (rgb, "AVIF", {}),
        "jp2": (rgb, "JPEG2000", {}),
        "dds": (rgba, "DDS", {}),
        "pcx": (rgb, "PCX", {}),
        "sgi": (rgb, "SGI", {}),
    }
    lacking = {"webp": "webp", "avif": "avif", "jp2": "jpg_2000"}
    found = {}
    for name, (image, form, how) in ways.items():
        if name in lacking and not features.check(lacking[name]):
            continue
        content = io.BytesIO()
        image.save(content, form, **how)
        found[name] = content.getvalue()
    return found


def _resized(rng: random.Random, content: bytes) -> bytes:
    """Other sides in the header: wherever the picture's own stand, in any width and order."""
    for side in (23, 17):
        form = rng.choice((">H", "<H", ">I", "<I"))
        raw = struct.pack(form, side)
        new = min(rng.choice(_SIDES), 256 ** len(raw) - 1)
        content = content.replace(raw, struct.pack(form, new), rng.choice((1, -1)))
    return content


def _pictures(root: pathlib.Path) -> Surface:
    del root
    written = _written()

    def make(rng: random.Random) -> Input:
        name = rng.choice(list(written))
        if rng.random() < 0.25:
            return Input(name, _resized(rng, written[name]))
        return Input(name, mutated(rng, written[name], tuple(written.values())))

    def read(entry: Input) -> None:
        picture = Picture(entry.content)
        pixels = picture.decode((1, 2, 8)[len(entry.content) % 3])
        image = pixels.image
        consistent(image.mode == "RGB" and min(image.size) > 0, "a picture", image)
        if pixels.reduction == 1:
            consistent(image.size == (picture.width, picture.height), "its size", image.size)
            look(entry.content, image)

    whole = [Input(name, content) for name, content in written.items()]
    # A message follows the name of the file.
    return Surface(make, read, ("",), whole, (BrokenImageError,), 2200)


KINDS = [Kind("picture", 5, _pictures)]
