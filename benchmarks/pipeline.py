"""What the host can feed: python -m benchmarks.pipeline.

The grain pipeline over images in memory, by reader threads; and, as a yardstick for photographs,
one thread that decodes JPEG files of 256 to 500 pixels by Pillow and cuts a random box out of each,
resized to a square. "draft" lets the decoder leave out detail that the box does not need: it
decodes at a half, a quarter or an eighth of the size where the box stays as large as the square.
"""

import functools
import io
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from bccl_jax.data.pipeline import create_iterator
from bccl_jax.data.split import Split
from benchmarks.common import in_turn, parser, report
from benchmarks.pillow_views import resized_crop_box


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


def decoded_crop(file: bytes, rng: random.Random, size: int, draft: bool) -> np.ndarray:
    """A random box of a JPEG file, resized to a square.

    Args:
      file: its bytes.
      rng: of the box.
      size: side of the square in pixels.
      draft: decode at a reduced size where the box allows it.

    Returns:
      uint8 [size, size, 3].
    """
    image = Image.open(io.BytesIO(file))
    width, height = image.size
    box = resized_crop_box(rng, width, height)
    if draft:
        share = size / min(box[2] - box[0], box[3] - box[1])
        image.draft("RGB", (int(width * share), int(height * share)))
    across, down = image.size[0] / width, image.size[1] / height
    scaled = box[0] * across, box[1] * down, box[2] * across, box[3] * down
    square = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=scaled)
    return np.asarray(square)


def decoded(files: Sequence[bytes], size: int, draft: bool) -> list[np.ndarray]:
    """One random crop of every file, with the same boxes in every call."""
    rng = random.Random(0)
    return [decoded_crop(file, rng, size, draft) for file in files]


def fed_seconds(split: Split, batch: int, threads: int, batches: int) -> float:
    """Seconds for so many batches of the grain pipeline, once it runs steadily."""
    iterator = create_iterator(split, batch, seed=0, epochs=1000, threads=threads)
    try:
        # What the readers fetch ahead while the first batch is waited for is not counted.
        for _ in range(1 + 2 * threads):
            next(iterator)
        started = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        return time.perf_counter() - started
    finally:
        iterator.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a pipeline."""
    flags = parser(__doc__, "pipeline")
    flags.add_argument("--batch", type=int, default=128, help="images (default: %(default)s)")
    flags.add_argument("--batches", type=int, default=200, help="in one timing (%(default)s)")
    flags.add_argument("--images", type=int, default=10847, help="arrays (default: %(default)s)")
    flags.add_argument("--side", type=int, default=32, help="of the arrays, in pixels")
    flags.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="of grain")
    flags.add_argument("--photographs", type=int, default=64, help="JPEG files (%(default)s)")
    flags.add_argument("--smallest", type=int, default=256, help="side of a photograph")
    flags.add_argument("--largest", type=int, default=500, help="side of a photograph")
    flags.add_argument("--sizes", type=int, nargs="+", default=[224, 112], help="of the crop")
    options = flags.parse_args(argv)

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.images, options.side, options.side, 3), np.uint8)
    split = Split(images, np.zeros(options.images, np.int32), ("any",))
    fed = {threads: [] for threads in options.threads}
    # The readers of one iterator must be gone before the next is timed, so that `in_turn`, which
    # would count their start, cannot be used.
    for _ in range(options.repeats):
        for threads, times in fed.items():
            times.append(fed_seconds(split, options.batch, threads, options.batches))
    rows = []
    for threads, times in fed.items():
        rate = options.batches / statistics.median(times)
        what = f"grain, uint8 arrays of {options.side} px"
        rows.append(_row(what, threads, rate * options.batch, rate))

    files = photographs(options.photographs, options.smallest, options.largest)
    ways = {
        (size, draft): functools.partial(decoded, files, size, draft)
        for size in options.sizes
        for draft in (False, True)
    }
    for (size, draft), spent in in_turn(ways, options.repeats).items():
        decoding = "draft" if draft else "full"
        rate = len(files) / spent
        rows.append(
            _row(f"JPEG, {decoding} decode, crop to {size} px", 1, rate, rate / options.batch)
        )
    settings = {
        "batch": options.batch,
        "images": options.images,
        "photographs": f"{len(files)} of {options.smallest} to {options.largest} px",
        "mean_bytes": sum(map(len, files)) // len(files),
    }
    report(rows, settings, options.json)


def _row(what: str, threads: int, images: float, batches: float) -> dict[str, Any]:
    return {"what": what, "threads": threads, "images/s": images, "batches/s": batches}


if __name__ == "__main__":
    main()
