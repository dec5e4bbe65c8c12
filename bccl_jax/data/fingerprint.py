"""A number for each image that its bytes alone decide: changed images, and ones in two splits.

Images in memory count whole. Of a photograph count its size and its first, middle and last bytes
(`EncodedImages.excerpt`), so that hundreds of thousands can be looked at before a run; the last
ones of a PNG hold a checksum of all. Records that are too many to be read are looked at shard by
shard.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from bccl_jax.data.encoded import PIECE, EncodedImages
from bccl_jax.data.formats.records import RecordImages
from bccl_jax.data.split import Dataset, Split
from bccl_jax.system.names import shown

# In place of the number of an image that cannot be read.
UNREADABLE = 0
# Bytes of the shards of a split, above which they are not read record by record.
RECORDS_BELOW = 256 * 2**20
# Of a larger shard a piece is read at each multiple of it, and the last one.
STRIDE = 256 * 2**10
# Enough to hide a slow disk, and the images that each reads at a time.
THREADS, CHUNK = 16, 64


def fingerprint(
    dataset: Dataset, parts: Collection[str] = ("train", "validation", "test")
) -> dict[str, np.ndarray]:
    """Looks at every image of a data set, with a progress bar if that takes long.

    Args:
      dataset: what to look at.
      parts: the splits that matter, of those that there are.

    Returns:
      uint64 [N] of each split by its name, equal for equal images in equal order wherever they lie,
      `UNREADABLE` for one that cannot be read; [shards] of a split of large shards.
    """
    return image_numbers({k: split for k, split in dataset.splits.items() if k in parts})


def image_numbers(splits: dict[str, Split]) -> dict[str, np.ndarray]:
    """`fingerprint` of any splits by name."""
    works = {part: _work(split) for part, split in splits.items()}
    total = sum(count for count, _ in works.values())
    with (
        ThreadPoolExecutor(THREADS) as pool,
        tqdm(
            desc="looking at images",
            unit="image",
            total=total,
            file=sys.stderr,
            disable=None,
            delay=2,
            dynamic_ncols=True,
        ) as bar,
    ):
        found = {}
        for part, (count, number) in works.items():
            found[part] = np.zeros(count, np.uint64)
            for start, numbers in _in_chunks(pool, count, number):
                found[part][start : start + len(numbers)] = numbers
                bar.update(len(numbers))
    return found


def shared(dataset: Dataset, numbers: dict[str, np.ndarray]) -> dict[str, list[tuple[int, int]]]:
    """The images outside the training split that are training images too.

    Args:
      dataset: the splits, the training split perhaps not among them.
      numbers: what `fingerprint` found, of some splits at least; of a training split that is not
        there a number for each image.

    Returns:
      (position there, position of the first such training image) by split; a split of large shards
      has none.
    """
    train = numbers.get("train", ())
    pairs = {}
    if not len(train) or (dataset.train is not None and len(train) != len(dataset.train)):
        return pairs
    values, first = np.unique(train, return_index=True)
    for part, split in dataset.splits.items():
        if part == "train" or len(numbers.get(part, ())) != len(split):
            continue
        places = np.searchsorted(values, numbers[part]).clip(max=len(values) - 1)
        same = (values[places] == numbers[part]) & (numbers[part] != UNREADABLE)
        pairs[part] = [(int(i), int(first[places[i]])) for i in np.flatnonzero(same)]
    return {part: found for part, found in pairs.items() if found}


def warnings(dataset: Dataset, numbers: dict[str, np.ndarray]) -> list[str]:
    """A sentence for each split that has training images in it; see `shared`."""
    sentences = []
    for part, pairs in shared(dataset, numbers).items():
        first = " = ".join(pair_names(dataset, part, *pairs[0]))
        sentences.append(
            f"warning: {len(pairs):,} of {len(dataset.splits[part]):,} {part} images are training "
            f"images too, the first {first}, so that figures on them are too good; take them out "
            "of one of the two (--mode=inspect --verify lists them)"
        )
    return sentences


def pair_names(
    dataset: Dataset, part: str, position: int, training_position: int
) -> tuple[str, str]:
    """What a person calls an image of a split and the training image that it is too."""
    here = image_name(dataset.splits[part], part, position)
    if dataset.train is None:
        return here, f"training image {training_position}"
    return here, image_name(dataset.train, "training", training_position)


def image_name(split: Split, part: str, position: int) -> str:
    """What a person calls an image: its name, or its place in a split of images in memory."""
    if split.encoded:
        return shown(split.images.name(position))
    return f"{part} image {position} ({shown(split.class_names[split.labels[position]])})"


def _number(content: bytes | np.ndarray) -> int:
    number = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    return max(number, UNREADABLE + 1)


# The number of an encoded image of no bytes: its size alone.
EMPTY = _number((0).to_bytes(8, "little"))


def _in_chunks(
    pool: ThreadPoolExecutor, count: int, number: Callable[[int], int]
) -> Iterator[tuple[int, list[int]]]:
    def numbers(start: int) -> tuple[int, list[int]]:
        return start, [number(i) for i in range(start, min(start + CHUNK, count))]

    return pool.map(numbers, range(0, count, CHUNK))


def _work(split: Split) -> tuple[int, Callable[[int], int]]:
    """How many numbers a split has, and what finds one of them."""
    images = split.images
    if not split.encoded:
        pixels = np.ascontiguousarray(images)
        return len(split), lambda position: _number(pixels[position])
    if isinstance(images, RecordImages) and _size(images) >= RECORDS_BELOW:
        used = np.unique(np.searchsorted(images.ends, images.indices, side="right"))
        return len(used), lambda position: _shard_number(images.shards[used[position]].path)
    return len(images), lambda position: _image_number(images, position)


def _size(images: RecordImages) -> int:
    try:
        return sum(os.path.getsize(shard.path) for shard in images.shards)
    except OSError:
        return 0


def _image_number(images: EncodedImages, position: int) -> int:
    try:
        return _number(images.excerpt(position))
    except OSError:
        return UNREADABLE


def _shard_number(path: str | os.PathLike) -> int:
    digest = hashlib.blake2b(digest_size=8)
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(size.to_bytes(8, "little"))
            for start in [*range(0, max(size - PIECE, 0), STRIDE), max(size - PIECE, 0)]:
                digest.update(os.pread(file.fileno(), PIECE, start))
    except OSError:
        return UNREADABLE
    return max(int.from_bytes(digest.digest(), "little"), UNREADABLE + 1)
