"""Decodes every image of a data set, in worker processes: `--mode=inspect --verify`.

Worker processes import this module: it must not import JAX, which would start a runtime in each.
"""

import hashlib
import multiprocessing
import os
import pickle
import signal
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import cloudpickle
import numpy as np

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.photographs.decode import BrokenImageError, decode, look
from bccl_jax.data.photographs.decoding import PLAIN, Decoding
from bccl_jax.data.photographs.levels import Look
from bccl_jax.data.split import Split
from bccl_jax.errors import DataError
from bccl_jax.system.processes import follow_parent, starting_workers
from bccl_jax.system.progress import under_way

# Images a task of a worker process.
CHUNK = 32

# Images that are looked at where not every one is decoded.
SAMPLE = 64

# Of one image: why it is broken, "" if it is not; the hash of its bytes, b"" without any; and what
# its levels are, None if it is broken.
Check = tuple[str, bytes, Look | None]

# Of a worker process, read once.
_images: dict[str, EncodedImages] = {}
_decoding = PLAIN


class Verification(NamedTuple):
    """What decoding every image found.

    Attributes:
      broken: name and reason of each image that cannot be read or decoded.
      duplicates: name of an image outside the training split and of a training image that has the
        very same bytes.
      looks: name and levels of each image that is not broken.
      fingerprints: a text for each split, equal for the very same bytes in the same order.
    """

    broken: list[tuple[str, str]]
    duplicates: list[tuple[str, str]]
    looks: list[tuple[str, Look]]
    fingerprints: dict[str, str]


def sample_images(
    splits: dict[str, Split], most: int = SAMPLE, decoding: Decoding = PLAIN
) -> Verification:
    """Decodes a few images, evenly spaced over the splits, in this process.

    Args:
      splits: by name, of `EncodedImages`.
      most: so many at most.
      decoding: by which settings.

    Returns:
      What was found; no duplicates are looked for, and no fingerprints made.
    """
    places = [(split.images, index) for split in splits.values() for index in range(len(split))]
    broken, looks = [], []
    for place in np.unique(np.linspace(0, len(places) - 1, most).astype(int)) if places else ():
        images, index = places[place]
        reason, _, levels = _check(images, index, decoding)
        if reason:
            broken.append((images.name(index), reason))
        else:
            looks.append((images.name(index), levels))
    return Verification(broken, [], looks, {})


def verify_images(
    splits: dict[str, Split], workers: int = -1, decoding: Decoding = PLAIN
) -> Verification:
    """Decodes every image, says how far it is, and compares the splits byte by byte.

    Args:
      splits: by name, of `EncodedImages`; "train" is compared with each other one.
      workers: processes that decode; -1 for one on each core, 0 for this process alone.
      decoding: by which settings.

    Returns:
      What was found, the training split first, each in the order of its images.

    Raises:
      DataError: a worker process was killed.
    """
    images = {part: split.images for part, split in splits.items()}
    checks = _check_all(images, workers, decoding)
    broken, duplicates, looks = [], [], []
    known: dict[bytes, str] = {}
    for part in sorted(images, key=lambda part: part != "train"):
        for index, (reason, digest, levels) in enumerate(checks[part]):
            name = images[part].name(index)
            if reason:
                broken.append((name, reason))
            else:
                looks.append((name, levels))
            if part == "train" and digest:
                known.setdefault(digest, name)
            elif digest in known:
                duplicates.append((name, known[digest]))
    fingerprints = {
        part: _joined(digest for _, digest, _ in found) for part, found in checks.items()
    }
    return Verification(broken, duplicates, looks, fingerprints)


def _joined(digests: Iterable[bytes]) -> str:
    # An image without any bytes keeps its place.
    return hashlib.blake2b(b"".join(d.ljust(16, b"\0") for d in digests), digest_size=8).hexdigest()


def _check_all(
    images: dict[str, EncodedImages], workers: int, decoding: Decoding
) -> dict[str, list[Check]]:
    found = {part: [None] * len(some) for part, some in images.items()}
    with under_way("verifying", sum(map(len, images.values()))) as task:
        for part, start, checks in _checks(images, workers, decoding):
            found[part][start : start + len(checks)] = checks
            task.advance(len(checks))
    return found


def _checks(
    images: dict[str, EncodedImages], workers: int, decoding: Decoding
) -> Iterator[tuple[str, int, list[Check]]]:
    """Yields the chunks as they are done."""
    chunks = [
        (part, start, min(start + CHUNK, len(some)))
        for part, some in images.items()
        for start in range(0, len(some), CHUNK)
    ]
    if workers == 0:
        for chunk in chunks:
            yield _check_chunk(images, *chunk, decoding)
        return
    with tempfile.NamedTemporaryFile() as file:
        # Sent to each worker as it starts they would keep the next one from starting.
        # Unlike pickle it knows classes of a notebook.
        cloudpickle.dump((images, decoding), file)
        file.flush()
        pool = ProcessPoolExecutor(
            len(os.sched_getaffinity(0)) if workers < 0 else workers,
            # A fork of a process that has threads may hang.
            multiprocessing.get_context("spawn"),
            _start_worker,
            (file.name,),
        )
        try:
            with starting_workers():
                futures = [pool.submit(_check_in_worker, *chunk) for chunk in chunks]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that decodes images was killed, as is done where memory runs out; lower "
                "config.data.workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(path: str) -> None:
    global _images, _decoding
    # By SIGTERM the pool ends the others where one has died.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    follow_parent()
    with open(path, "rb") as file:
        _images, _decoding = pickle.load(file)


def _check_in_worker(part: str, start: int, stop: int) -> tuple[str, int, list[Check]]:
    return _check_chunk(_images, part, start, stop, _decoding)


def _check_chunk(
    images: dict[str, EncodedImages], part: str, start: int, stop: int, decoding: Decoding
) -> tuple[str, int, list[Check]]:
    return part, start, [_check(images[part], index, decoding) for index in range(start, stop)]


def _check(images: EncodedImages, index: int, decoding: Decoding) -> Check:
    try:
        data = images[index]
    except OSError as error:
        return " ".join((error.strerror or str(error)).split()), b"", None
    digest = hashlib.blake2b(data, digest_size=16).digest()
    try:
        return "", digest, look(data, decode(data, decoding))
    except BrokenImageError as error:
        return str(error), digest, None
