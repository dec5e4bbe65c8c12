"""Writing images into shards, one after another, each read ahead of the writing."""

import collections
import contextlib
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from array_record.python.array_record_module import ArrayRecordWriter

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.formats.packed import one_line, shard_path
from bccl_jax.data.formats.records import Shard, library_path
from bccl_jax.data.packing.whole_files import whole
from bccl_jax.data.photographs.decode import BrokenImageError, decode
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown
from bccl_jax.system.progress import Task

AGAIN = "give the same command again, which goes on from the last whole shard"
# A record is found without its neighbours, and JPEG does not compress further.
WRITER_OPTIONS = "group_size:1,uncompressed"
# Images read ahead of the one that is written, by as many threads as hide a slow disk.
READ_AHEAD, THREADS = 128, 16


def write_shards(
    directory: pathlib.Path,
    part: str,
    images: EncodedImages,
    shards: list[Shard],
    plan: dict,
    verify: Decoding | None,
    task: Task,
) -> None:
    """Writes the shards of a part that are not there yet.

    Args:
      directory: to write them to.
      part: such as "train".
      images: of the part.
      shards: the first ones, which are whole; the others are appended.
      plan: whose `shard_bytes` and `shard_images` say when a shard ends.
      verify: by which settings each image is decoded before it is written; None for not at all.
      task: told of each image.

    Raises:
      DataError: an image cannot be read or, if it is verified, decoded.
      OSError: a shard cannot be written.
    """
    done = sum(shard.images for shard in shards)
    with contextlib.closing(_read_ahead(images, done, verify)) as stream:
        while done < len(images):
            path = shard_path(directory, part, len(shards))
            with whole(path) as unfinished:
                count = _write_shard(unfinished, stream, plan, task)
            shards.append(Shard(path, count))
            done += count


def _write_shard(path: pathlib.Path, stream: Iterator[bytes], plan: dict, task: Task) -> int:
    """Writes images until the shard is full or none is left; returns how many."""
    size = count = 0
    try:
        writer = ArrayRecordWriter(library_path(path), WRITER_OPTIONS)
        try:
            for data in stream:
                writer.write(data)
                task.advance()
                size += len(data)
                count += 1
                if size >= plan["shard_bytes"] or count >= plan["shard_images"]:
                    break
        except BaseException:
            with contextlib.suppress(RuntimeError):
                writer.close()
            raise
        # Much is written only now, and a full disk noticed.
        writer.close()
    except RuntimeError as error:  # what the library raises, whatever went wrong
        raise OSError(str(error).split(";")[0]) from error
    return count


def _read_ahead(images: EncodedImages, first: int, verify: Decoding | None) -> Iterator[bytes]:
    """Yields the images from the first one on, in order."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        pending = collections.deque()
        for index in range(first, len(images)):
            pending.append(pool.submit(_read, images, index, verify))
            if len(pending) == READ_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(images: EncodedImages, index: int, verify: Decoding | None) -> bytes:
    try:
        data = images[index]
        if verify is not None:
            decode(data, verify)
    except (OSError, BrokenImageError) as error:
        what = "decoded" if isinstance(error, BrokenImageError) else "read"
        raise DataError(
            f"{shown(images.name(index))} cannot be {what} ({one_line(error)}); mend it and {AGAIN}"
        ) from error
    return data
