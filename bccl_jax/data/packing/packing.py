"""Packing photographs into a few large files: `--mode=pack`.

Packing that was killed goes on after the last shard that is whole. `packed.py` describes the folder
and reads it; `shards.py` writes the images.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator

import numpy as np

from bccl_jax.data.formats.packed import (
    FORMAT,
    MANIFEST,
    PARTS,
    PLAN,
    load,
    one_line,
    read_json,
    whole_shards,
)
from bccl_jax.data.packing.packed_from import check_unchanged, find_numbers, numbers_path
from bccl_jax.data.packing.shards import AGAIN, write_shards
from bccl_jax.data.packing.whole_files import UNFINISHED, write, write_array
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.data.split import Dataset, Split, Splits
from bccl_jax.errors import ConfigError, DataError
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.locks import lock
from bccl_jax.system.names import shown
from bccl_jax.system.progress import say, under_way

# What two plans of the same data set agree in.
_IDENTITY = ("format", "name", "fingerprint")
_SIZES = ("shard_bytes", "shard_images")
SHARD_BYTES = 256 * 2**20
SHARD_IMAGES = 2**17


def pack_dataset(
    dataset: Dataset, output_dir: str | pathlib.Path, verify: Decoding | None = None
) -> int:
    """Packs a data set for the command line and says where it lies.

    Args:
      dataset: of photographs.
      output_dir: the folder to pack into: a new or empty one, or that of the same data set, which
        then goes on.
      verify: by which settings each image is decoded before it is packed; None for not at all.

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
    verify: Decoding | None = None,
    shard_bytes: int = SHARD_BYTES,
    shard_images: int = SHARD_IMAGES,
) -> None:
    """Packs the images of all splits and says how far it is; goes on where it was stopped.

    Args:
      name: of the data set.
      splits: whose images are `EncodedImages`.
      directory: a new or empty folder, or that of the same splits.
      verify: by which settings each image is decoded before it is packed; None for not at all.
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
            plan |= {key: there[key] for key in _SIZES if key in there}
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
    verify: Decoding | None,
) -> None:
    for unfinished in directory.glob(f"*{UNFINISHED}"):
        unfinished.unlink()
    whole = {part: whole_shards(directory, part, len(split)) for part, split in parts.items()}
    done = {part: sum(shard.images for shard in shards) for part, shards in whole.items()}
    check_unchanged(directory, parts, numbers, done)
    write(directory / PLAN, json.dumps(plan, indent=1).encode())
    for part, split in parts.items():
        write(directory / f"{part}.names.json", json.dumps(names[part]).encode())
        write_array(directory / f"{part}.labels.npy", split.labels.astype(np.int32))
        if part in numbers:
            write_array(numbers_path(directory, part), numbers[part])
    total, there = sum(map(len, parts.values())), sum(done.values())
    if there:
        say(f"goes on after {there:,} of {total:,} images, which lie in whole shards")
    with under_way("packing", total, done=there) as task:
        for part, split in parts.items():
            write_shards(directory, part, split.images, whole[part], plan, verify, task)
            plan["splits"][part]["shards"] = [
                {"images": shard.images, "bytes": shard.path.stat().st_size}
                for shard in whole[part]
            ]
    write(directory / MANIFEST, json.dumps(plan, indent=1).encode())
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
            f"{shown(directory)} cannot be written ({one_line(error)}); mend that and {AGAIN}"
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
                sizes = [there[key] for key in _SIZES if key in there]
                if not all(type(size) is int and size > 0 for size in sizes):
                    raise ConfigError(
                        f"{shown(path)} does not say how large shards are; delete the folder and "
                        "pack anew"
                    )
                return there
    others = [path.name for path in directory.iterdir() if path.name != PLAN + UNFINISHED]
    if others:
        raise ConfigError(
            f"{shown(directory)} holds something else already, {shown(min(others))} for one; name "
            "a new or empty folder by --output"
        )
    return {}
