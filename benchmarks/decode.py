"""From the bytes of a photograph to its crops, on one core: python -m benchmarks.decode.

The training crops of one decoded image against Pillow's own calls, once with a decode for every
crop and once with a single one; the evaluation crop against a resize of the whole image; and what
the parts of the work take. Photographs are those below --dir, or generated ones.
"""

import functools
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from bccl_jax.data.photographs.crops import Crop, evaluation_crop, random_boxes, training_crops
from bccl_jax.data.photographs.decode import Picture
from benchmarks.common import in_turn, parser, report

_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
_BILINEAR = Image.Resampling.BILINEAR


def photographs(count: int, smallest: int, largest: int, seed: int = 0) -> list[bytes]:
    """JPEG files of smoothed noise, of which every octave has the same contrast.

    Args:
      count: how many.
      smallest: side in pixels, drawn for width and height each.
      largest: bound of the side, included.
      seed: of the draws.

    Returns:
      Files of quality 90.
    """
    rng = np.random.default_rng(seed)
    files = []
    for _ in range(count):
        width, height = (int(side) for side in rng.integers(smallest, largest + 1, 2))
        levels = np.zeros((height, width, 3), np.float32)
        cell = max(width, height)
        while cell > 2:
            coarse = rng.normal(128, 20, (height // cell + 2, width // cell + 2, 3))
            octave = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
            levels += np.asarray(octave.resize((width, height), Image.Resampling.BICUBIC)) - 128.0
            cell //= 2
        encoded = io.BytesIO()
        picture = Image.fromarray((levels + 128).clip(0, 255).astype(np.uint8))
        picture.save(encoded, "JPEG", quality=90)
        files.append(encoded.getvalue())
    return files


def files_below(folder: pathlib.Path, count: int) -> list[bytes]:
    """The image files of a folder and of those in it.

    Args:
      folder: where to look.
      count: how many at most; they are spread evenly over the sorted paths.

    Returns:
      Their bytes.

    Raises:
      FileNotFoundError: there are none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"{folder} has no images that end in {', '.join(_SUFFIXES)}.")
    chosen = np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
    return [paths[index].read_bytes() for index in chosen]


def cut_by_pillow(image: Image.Image, crop: Crop, size: int, rng: np.random.Generator):
    """A random resized crop of an image in memory, by Pillow's own calls.

    Args:
      image: RGB.
      crop: its bounds.
      size: side of the result in pixels.
      rng: of the box.

    Returns:
      uint8 [size, size, 3].
    """
    ((top, left, height, width),) = random_boxes(image.height, image.width, [crop], rng).tolist()
    box = (left, top, left + width, top + height)
    return np.asarray(image.crop(box).resize((size, size), _BILINEAR))


def trained_by_pillow(
    data: bytes, crops: Sequence[Crop], size: int, rng: np.random.Generator, *, again: bool
) -> np.ndarray:
    """The crops of a file by Pillow's own calls.

    Args:
      data: the bytes of the file.
      crops: V of them.
      size: side of the result in pixels.
      rng: of the boxes.
      again: whether to decode the file for every crop, as transforms that each open it do.

    Returns:
      uint8 [V, size, size, 3].
    """
    image = Image.open(io.BytesIO(data)).convert("RGB")
    squares = [cut_by_pillow(image, crops[0], size, rng)]
    for crop in crops[1:]:
        if again:
            image = Image.open(io.BytesIO(data)).convert("RGB")
        squares.append(cut_by_pillow(image, crop, size, rng))
    return np.stack(squares)


def evaluated_by_pillow(data: bytes, resize: int, size: int) -> np.ndarray:
    """The evaluation crop of a file by Pillow's own calls: the whole is resized, then cut.

    Args:
      data: the bytes of the file.
      resize: length of the short side in pixels.
      size: side of the result in pixels.

    Returns:
      uint8 [size, size, 3].
    """
    image = Image.open(io.BytesIO(data)).convert("RGB")
    short = min(image.size)
    image = image.resize(tuple(int(resize * side / short) for side in image.size), _BILINEAR)
    left, top = (round((side - size) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def parts(files: Sequence[bytes], size: int) -> dict[str, Callable[[], Any]]:
    """What the work on every file consists of; a part starts from the result of the one before.

    Args:
      files: their bytes.
      size: side of a crop in pixels.

    Returns:
      By name a function that does one part for all files, of one crop each.
    """
    rng = np.random.default_rng(0)
    whole = [Picture(data).decode() for data in files]
    boxes = [random_boxes(p.image.height, p.image.width, [Crop()], rng)[0].tolist() for p in whole]
    cut = [pixels.cut(box) for pixels, box in zip(whole, boxes, strict=True)]
    square = [part.resize((size, size), _BILINEAR, inner) for part, inner in cut]

    def for_all(function: Callable, *sequences: Sequence) -> Callable[[], None]:
        def run() -> None:
            for arguments in zip(*sequences, strict=True):
                function(*arguments)

        return run

    return {
        "header": for_all(Picture, files),
        "header and decode": for_all(lambda data: Picture(data).decode(), files),
        "header and decode, half the size": for_all(lambda data: Picture(data).decode(2), files),
        "cut of one crop": for_all(lambda pixels, box: pixels.cut(box), whole, boxes),
        "resize of one crop": for_all(
            lambda cropped: cropped[0].resize((size, size), _BILINEAR, cropped[1]), cut
        ),
        "array of one crop": for_all(np.asarray, square),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a way and one a part."""
    flags = parser(__doc__, "decode")
    flags.add_argument(
        "--dir", type=pathlib.Path, help="folder of photographs (default: generated)"
    )
    flags.add_argument("--images", type=int, default=64, help="photographs (default: %(default)s)")
    flags.add_argument("--smallest", type=int, default=375, help="side of a generated photograph")
    flags.add_argument("--largest", type=int, default=500, help="side of a generated photograph")
    flags.add_argument("--size", type=int, default=224, help="of a crop (default: %(default)s)")
    flags.add_argument("--resize", type=int, default=256, help="short side in evaluation")
    flags.add_argument("--crops", type=int, default=3, help="of an image (default: %(default)s)")
    options = flags.parse_args(argv)

    if options.dir:
        files = files_below(options.dir, options.images)
    else:
        files = photographs(options.images, options.smallest, options.largest)
    size, crops = options.size, [Crop()] * options.crops
    full = {"reduced": False}
    train, evaluate = f"{len(crops)} crops, ", "evaluation, "
    train_functions = {
        "ours": training_crops,
        "ours at full size": functools.partial(training_crops, **full),
        "Pillow, one decode": functools.partial(trained_by_pillow, again=False),
        "Pillow, a decode each": functools.partial(trained_by_pillow, again=True),
    }
    evaluate_functions = {
        "ours": evaluation_crop,
        "ours at full size": functools.partial(evaluation_crop, **full),
        "Pillow": evaluated_by_pillow,
    }

    def training(function: Callable) -> Callable[[], None]:
        def run() -> None:
            # The same boxes in every way and every round.
            rng = np.random.default_rng(0)
            for data in files:
                function(data, crops, size, rng)

        return run

    def evaluation(function: Callable) -> Callable[[], None]:
        def run() -> None:
            for data in files:
                function(data, options.resize, size)

        return run

    ways = {train + name: training(function) for name, function in train_functions.items()}
    ways |= {evaluate + name: evaluation(function) for name, function in evaluate_functions.items()}
    ways |= parts(files, size)
    rows = [
        {
            "work": name,
            "ms an image": 1e3 * spent / len(files),
            "images/s a core": len(files) / spent,
        }
        for name, spent in in_turn(ways, options.repeats).items()
    ]
    sides = np.array([Image.open(io.BytesIO(data)).size for data in files])
    settings = {
        "photographs": f"{len(files)} {'real' if options.dir else 'generated'}",
        "mean_sides": "x".join(str(round(side)) for side in sides.mean(0)),
        "mean_bytes": sum(map(len, files)) // len(files),
        "size": size,
        "resize": options.resize,
        "pillow": PIL.__version__,
        "jpeg": _jpeg_library(),
    }
    report(rows, settings, options.json)


def _jpeg_library() -> str:
    if features.check("libjpeg_turbo"):
        return f"libjpeg-turbo {features.version('libjpeg_turbo')}"
    return f"libjpeg {features.version('jpg')}"


if __name__ == "__main__":
    main()
