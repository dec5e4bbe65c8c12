"""A picture of more pixels than a run allows is broken, and found so before it is decoded."""

import io
import struct
import zlib

import ml_collections
import numpy as np
import pytest
from PIL import Image

from bccl_jax.config import get_config
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.feeding.stream import EvaluationStream, TrainingStream
from bccl_jax.data.fingerprint import fingerprint
from bccl_jax.data.order import Order
from bccl_jax.data.packing.packing import pack
from bccl_jax.data.photographs.crops import Crop, evaluation_crop, training_crops
from bccl_jax.data.photographs.decode import BrokenImageError, decode, upright_rgb, why_broken
from bccl_jax.data.photographs.decoding import MAX_PIXELS, Decoding
from bccl_jax.data.photographs.fitting import Fit
from bccl_jax.data.split import Dataset, Split, Splits
from bccl_jax.errors import BrokenPicturesError, DataError
from bccl_jax.evaluation.beforehand import check_decodable
from bccl_jax.inspecting import inspection
from bccl_jax.workdir.skipped import SkippedImages

SIDE = 20
FEWER = Decoding(max_pixels=SIDE * SIDE - 1)
TOLD = r"it has 400 pixels, more than config\.data\.max_pixels=399 allows"


def encoded(form="PNG", side=SIDE, **settings):
    file = io.BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(file, form, **settings)
    return file.getvalue()


def header_of_png(width, height):
    """A PNG of which nothing but the header is there."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + body + struct.pack(">I", zlib.crc32(body)) + end


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_it_is_told_by_the_header_in_every_format(form, monkeypatch):
    data = encoded(form)
    decode(data, Decoding(max_pixels=SIDE * SIDE))
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(BrokenImageError, match=f"^{TOLD}$"):
        decode(data, FEWER)


def test_the_default_refuses_what_takes_a_gigabyte():
    with pytest.raises(BrokenImageError, match=r"176,890,000 pixels, .*max_pixels=89478485"):
        decode(header_of_png(13_300, 13_300))
    # It is cut short, which is found when it is decoded.
    with pytest.raises(BrokenImageError, match="truncated|cut|not enough|broken"):
        decode(header_of_png(9_459, 9_459))
    assert get_config().data.max_pixels == MAX_PIXELS == 89_478_485


@pytest.mark.parametrize(
    "see",
    [
        lambda data: training_crops(data, [Crop()], 4, np.random.default_rng(0), decoding=FEWER),
        lambda data: evaluation_crop(data, 4, 4, decoding=FEWER),
        lambda data: Fit((4, 4), decoding=FEWER).of_file(data),
        lambda data: upright_rgb(Image.open(io.BytesIO(data)), FEWER),
    ],
    ids=["training", "evaluation", "fitted", "of Pillow"],
)
def test_a_jpeg_that_would_be_decoded_at_a_fraction_is_no_exception(see):
    """Which fraction it is depends on the crop, and so would whether it is broken."""
    with pytest.raises(BrokenImageError, match=TOLD):
        see(encoded("JPEG"))


@pytest.fixture
def split(tmp_path):
    """Three pictures, of which the second is too large."""
    for name, side in (("a", 8), ("b", SIDE), ("c", 8)):
        (tmp_path / f"{name}.png").write_bytes(encoded(side=side))
    images = FileImages(tmp_path, ["a.png", "b.png", "c.png"])
    return Split(images, np.array([0, 1, 0], np.int32), ("x", "y"))


def test_training_takes_another_one_in_its_place(split):
    order = Order(split.labels, 3, 0)
    stream = TrainingStream(
        split.images, order, 1, range(3), crops=[Crop()], size=4, decoding=FEWER
    )
    broken = [int(stream[position]["broken"]) for position in range(3)]
    assert sorted(broken) == [-1, -1, 1]


def test_an_evaluation_leaves_it_out(split):
    stream = EvaluationStream(split.images, 3, range(3), 4, 4, FEWER)
    assert [bool(stream[position]["decoded"]) for position in range(3)] == [True, False, True]


def test_a_run_names_it_and_why_and_knows_it_as_mended_where_the_limit_is_raised(
    split, tmp_path, capsys
):
    path = tmp_path / "broken.txt"
    SkippedImages(path, split.images, 0.5, decoding=FEWER).add(np.array([1]))
    said = capsys.readouterr().err
    name = tmp_path / "b.png"
    assert said.startswith(f"skipped {name}, which cannot be decoded (it has 400 pixels, more than")
    assert "config.data.max_pixels=399 allows): 1 of 3" in said
    SkippedImages(path, split.images, 0.5, decoding=FEWER)
    assert path.read_text() == f"{name}\n"
    SkippedImages(path, split.images, 0.5)
    assert "1 of 1 pictures" in capsys.readouterr().err
    assert path.read_text() == ""


def test_it_is_told_before_a_run_that_could_not_be_evaluated(split):
    dataset = Dataset("own", split, split)
    numbers = fingerprint(dataset)
    check_decodable({"test": split}, numbers, 0.0)
    with pytest.raises(BrokenPicturesError, match=rf"1 of 3 .*b\.png among them \({TOLD}\)"):
        check_decodable({"test": split}, numbers, 0.0, FEWER)


@pytest.mark.parametrize("verify", [False, True])
def test_inspect_tells_of_it(split, tmp_path, capsys, verify):
    dataset = Dataset("own", split, split)
    data = {"workers": 0, "background": (255, 255, 255), "max_pixels": 399}
    config = ml_collections.ConfigDict({"eval": {"many_above": 5, "few_below": 3}, "data": data})
    code = inspection.run(dataset, config, tmp_path / "output", verify=verify)
    told = capsys.readouterr().out
    if verify:
        assert code == 1
        assert "it has 400 pixels, more than config.data.max_pixels=399 allows" in told
    else:
        assert "2 of 6 images cannot be decoded" in told


def test_packing_verifies_by_it(split, tmp_path):
    splits = Splits(split, split)
    pack("own", splits, tmp_path / "sound", verify=Decoding())
    with pytest.raises(DataError, match=rf"b\.png cannot be decoded \({TOLD}\)"):
        pack("own", splits, tmp_path / "refused", verify=FEWER)
    # What is copied byte for byte is not decoded.
    pack("own", splits, tmp_path / "copied")


def test_the_reason_of_a_sound_picture_is_none(split):
    assert [why_broken(split.images, index) for index in range(3)] == ["", "", ""]
    assert why_broken(split.images, 1, FEWER) == TOLD.replace("\\", "")
