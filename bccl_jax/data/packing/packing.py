"""Packing photographs into a few large files: `--mode=pack`.

A shard gets its name only when it is whole and on the disk, so that packing that was killed goes on
after the last such shard. `packed.py` describes the folder and reads it.
"""

import collections
import contextlib
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.formats.packed import (
    FORMAT,
    MANIFEST,
    PLAN,
    load,
    one_line,
    read_json,
    shard_path,
    whole_shards,
)
from bccl_jax.data.formats.packed_from import check_unchanged, find_numbers, numbers_path
from bccl_jax.data.formats.records import Shard, library_path
from bccl_jax.data.photographs.decode import BrokenImageError, decode
from bccl_jax.data.split import Dataset, Split, Splits
from bccl_jax.errors import ConfigError, DataError
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.locks import lock
from bccl_jax.system.names import shown
from bccl_jax.system.progress import Task, say, under_way

PARTS = ("train", "test", "validation")
UNFINISHED = ".partial"
_AGAIN = "give the same command again, which goes on from the last whole shard"
# What two plans of the same data set agree in.
_IDENTITY = ("format", "name", "fingerprint")
# A record is found without its neighbours, and JPEG does not compress further.
WRITER_OPTIONS = "group_size:1,uncompressed"
SHARD_BYTES = 256 * 2**20
SHARD_IMAGES = 2**17
# Images read ahead of the one that is written, by as many threads as hide a slow disk.
READ_AHEAD, THREADS = 128, 16


def pack_dataset(dataset: Dataset, output_dir: str | pathlib.Path, verify: bool = False) -> int:
    """Packs a data set for the command line and says where it lies.

    Args:
      dataset: of photographs.
      output_dir: the folder to pack into: a new or empty one, or that of the same data set, which
        then goes on.
      verify: decode each image before it is packed.

    Returns:
      The exit code: 0, or 130 where Ctrl-C stopped it.

    Raises:
      ConfigError: a part of the training split was set aside; or see `pack`.
      DataError: see `pack`.
    """
    if dataset.set_aside:
        raise ConfigError(
            "config.data.validation_fraction sets images aside, which can be done anew in each run "
            "of packed ones; leave it 0 for --mode=pack"
        )
    splits = Splits(dataset.train, dataset.test, dataset.validation, dataset.notes)
    try:
        pack(dataset.name, splits, output_dir, verify=verify)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last whole shard", file=sys.stderr)
        return 130
    print(f"packed       {shown(output_dir)}")
    print(f"train on it  --config.data.source=packed --config.data.dir={shown(output_dir)}")
    return 0


def pack(
    name: str,
    splits: Splits,
    directory: str | pathlib.Path,
    *,
    verify: bool = False,
    shard_bytes: int = SHARD_BYTES,
    shard_images: int = SHARD_IMAGES,
) -> None:
    """Packs the images of all splits and says how far it is; goes on where it was stopped.

    Args:
      name: of the data set.
      splits: whose images are `EncodedImages`.
      directory: a new or empty folder, or that of the same splits.
      verify: decode each image before it is packed.
      shard_bytes: a shard ends once its images have as many bytes.
      shard_images: or once it holds so many images.

    Raises:
      ConfigError: the images are arrays in memory, or the folder holds something else.
      DataError: an image cannot be read or, if it is verified, decoded; the folder cannot be
        written, or is packed but damaged; or another process packs into it.
    """
    directory = directory_to_write(directory, "--output")
    parts = {part: getattr(splits, part) for part in PARTS if getattr(splits, part) is not None}
    for part, split in parts.items():
        if not split.encoded:
            raise ConfigError(
                f"the {part} images of {name} are arrays in memory; --mode=pack is for photographs"
            )
    names = _relative_names(parts)
    plan = {
        "format": FORMAT,
        "name": name,
        "class_names": list(splits.train.class_names),
        "notes": list(splits.notes),
        "shard_bytes": shard_bytes,
        "shard_images": shard_images,
        "fingerprint": _fingerprint(parts, names),
        "splits": {part: {"images": len(split)} for part, split in parts.items()},
    }
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with _alone(directory):
            there = _found(directory)
            if any(there.get(key, plan[key]) != plan[key] for key in _IDENTITY):
                raise ConfigError(
                    f"{shown(directory)} holds {shown(str(there['name']))} of other images, labels "
                    "or names; name a new folder by --output"
                )
            # What is there already was cut by its own sizes.
            plan |= {key: there[key] for key in ("shard_bytes", "shard_images") if key in there}
            numbers = find_numbers(parts)
            if (directory / MANIFEST).exists():
                load(directory)
                everything = {part: len(split) for part, split in parts.items()}
                check_unchanged(directory, parts, numbers, everything)
                say(f"{shown(directory)} is packed completely already; nothing is left to do")
            else:
                _pack_parts(directory, plan, parts, names, numbers, verify)


def _pack_parts(
    directory: pathlib.Path,
    plan: dict,
    parts: dict[str, Split],
    names: dict[str, list[str]],
    numbers: dict[str, np.ndarray],
    verify: bool,
) -> None:
    for unfinished in directory.glob(f"*{UNFINISHED}"):
        unfinished.unlink()
    whole = {part: whole_shards(directory, part, len(split)) for part, split in parts.items()}
    done = {part: sum(shard.images for shard in shards) for part, shards in whole.items()}
    check_unchanged(directory, parts, numbers, done)
    _write(directory / PLAN, json.dumps(plan, indent=1).encode())
    for part, split in parts.items():
        _write(directory / f"{part}.names.json", json.dumps(names[part]).encode())
        _write_array(directory / f"{part}.labels.npy", split.labels.astype(np.int32))
        if part in numbers:
            _write_array(numbers_path(directory, part), numbers[part])
    total, there = sum(map(len, parts.values())), sum(done.values())
    if there:
        say(f"goes on after {there:,} of {total:,} images, which lie in whole shards")
    with under_way("packing", total, done=there) as task:
        for part, split in parts.items():
            _write_shards(directory, part, split.images, whole[part], plan, verify, task)
            plan["splits"][part]["shards"] = [
                {"images": shard.images, "bytes": shard.path.stat().st_size}
                for shard in whole[part]
            ]
    _write(directory / MANIFEST, json.dumps(plan, indent=1).encode())
    (directory / PLAN).unlink()


def _relative_names(parts: dict[str, Split]) -> dict[str, list[str]]:
    """Names below the folder that all share, so that the images may be moved meanwhile."""
    names = {
        part: [split.images.name(i) for i in range(len(split))] for part, split in parts.items()
    }
    folders = {os.path.dirname(name) for some in names.values() for name in some}
    try:
        root = os.path.join(os.path.commonpath(folders), "")
    except ValueError:  # no image, or absolute and relative names
        return names
    return {part: [name.removeprefix(root) for name in some] for part, some in names.items()}


def _fingerprint(parts: dict[str, Split], names: dict[str, list[str]]) -> str:
    digest = hashlib.sha256(json.dumps(names).encode())
    for split in parts.values():
        digest.update(json.dumps(split.class_names).encode())
        digest.update(split.labels.astype("<i4").tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _writing(directory: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{shown(directory)} cannot be written ({one_line(error)}); mend that and {_AGAIN}"
        ) from error


@contextlib.contextmanager
def _alone(directory: pathlib.Path) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        if not lock(handle, directory):
            raise DataError(f"another process is packing into {shown(directory)}; wait for its end")
        yield
    finally:
        os.close(handle)


def _found(directory: pathlib.Path) -> dict:
    """The manifest or the plan that is there; refuses a folder of anything else."""
    for path in (directory / MANIFEST, directory / PLAN):
        if path.exists():
            there = read_json(path)
            if isinstance(there, dict) and all(key in there for key in _IDENTITY):
                return there
    others = [path.name for path in directory.iterdir() if path.name != PLAN + UNFINISHED]
    if others:
        raise ConfigError(
            f"{shown(directory)} holds something else already, {shown(min(others))} for one; name "
            "a new or empty folder by --output"
        )
    return {}


def _write_shards(
    directory: pathlib.Path,
    part: str,
    images: EncodedImages,
    shards: list[Shard],
    plan: dict,
    verify: bool,
    task: Task,
) -> None:
    """Appends to `shards` until they hold all images."""
    done = sum(shard.images for shard in shards)
    with contextlib.closing(_read_ahead(images, done, verify)) as stream:
        while done < len(images):
            path = shard_path(directory, part, len(shards))
            with _whole(path) as unfinished:
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


def _read_ahead(images: EncodedImages, first: int, verify: bool) -> Iterator[bytes]:
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


def _read(images: EncodedImages, index: int, verify: bool) -> bytes:
    try:
        data = images[index]
        if verify:
            decode(data)
    except (OSError, BrokenImageError) as error:
        what = "decoded" if isinstance(error, BrokenImageError) else "read"
        raise DataError(
            f"{shown(images.name(index))} cannot be {what} ({one_line(error)}); mend it and "
            f"{_AGAIN}"
        ) from error
    return data


@contextlib.contextmanager
def _whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path to write to; what is there at the end gets its name once it is on the disk."""
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        yield unfinished
        _to_disk(unfinished)
        unfinished.replace(path)
        _to_disk(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _to_disk(path: pathlib.Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_array(path: pathlib.Path, array: np.ndarray) -> None:
    with _whole(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _write(path: pathlib.Path, content: bytes) -> None:
    with _whole(path) as unfinished:
        unfinished.write_bytes(content)
