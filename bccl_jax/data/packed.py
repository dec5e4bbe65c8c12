"""Photographs packed once into a few large files: made by `--mode=pack`, read at random.

A packed data set is a folder:

    manifest.json              written last: what is in the folder, and how large each shard is
    train-00000.array_record   one record an image: the bytes of its file, untouched
    train.labels.npy           int32 [N]
    train.names.json           N names, relative to the folder that all images share

While packing goes on, `plan.json` stands in the manifest's place. A shard gets its name only when
it is whole and on the disk, so that packing that was killed goes on after the last such shard.
"""

import collections
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from bccl_jax.data.checks import shown
from bccl_jax.data.decode import BrokenImageError, decode
from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.records import RecordImages, Shard, open_shard
from bccl_jax.data.split import Dataset, Split, Splits
from bccl_jax.errors import ConfigError, DataError

FORMAT = 1
PARTS = ("train", "test", "validation")
MANIFEST, PLAN, UNFINISHED = "manifest.json", "plan.json", ".partial"
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
    print(f"packed       {output_dir}")
    print(f"train on it  --config.data.source=packed --config.data.dir={output_dir}")
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
    """Packs the images of all splits, with a progress bar; goes on where it was stopped.

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
    directory = pathlib.Path(directory).expanduser()
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
            if (directory / MANIFEST).exists():
                load(directory)
            else:
                _pack_parts(directory, plan, parts, names, verify)


def _pack_parts(
    directory: pathlib.Path,
    plan: dict,
    parts: dict[str, Split],
    names: dict[str, list[str]],
    verify: bool,
) -> None:
    for unfinished in directory.glob(f"*{UNFINISHED}"):
        unfinished.unlink()
    _write(directory / PLAN, json.dumps(plan, indent=1).encode())
    for part, split in parts.items():
        _write(directory / f"{part}.names.json", json.dumps(names[part]).encode())
        with _whole(directory / f"{part}.labels.npy") as path, path.open("wb") as file:
            np.save(file, split.labels.astype(np.int32), allow_pickle=False)
    whole = {part: _whole_shards(directory, part, len(split)) for part, split in parts.items()}
    with tqdm(
        desc="packing",
        unit="image",
        total=sum(map(len, parts.values())),
        initial=sum(shard.images for shards in whole.values() for shard in shards),
        file=sys.stderr,
        disable=None,
        dynamic_ncols=True,
    ) as bar:
        for part, split in parts.items():
            _write_shards(directory, part, split.images, whole[part], plan, verify, bar)
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
            f"{shown(directory)} cannot be written ({_one_line(error)}); mend that and {_AGAIN}"
        ) from error


@contextlib.contextmanager
def _alone(directory: pathlib.Path) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        _lock(handle, directory)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, directory: pathlib.Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(
            f"another process is packing into {shown(directory)}; wait for its end"
        ) from None
    except OSError:  # a file system without locks must do without
        pass


def _found(directory: pathlib.Path) -> dict:
    """The manifest or the plan that is there; refuses a folder of anything else."""
    for path in (directory / MANIFEST, directory / PLAN):
        if path.exists():
            there = _read_json(path)
            if isinstance(there, dict) and all(key in there for key in _IDENTITY):
                return there
    others = [path.name for path in directory.iterdir() if path.name != PLAN + UNFINISHED]
    if others:
        raise ConfigError(
            f"{shown(directory)} holds something else already, {shown(min(others))} for one; name "
            "a new or empty folder by --output"
        )
    return {}


def _shard_path(directory: pathlib.Path, part: str, number: int) -> pathlib.Path:
    return directory / f"{part}-{number:05d}.array_record"


def _whole_shards(directory: pathlib.Path, part: str, images: int) -> list[Shard]:
    """The shards that are finished, from the first one on, of a split of so many images."""
    shards = []
    while True:
        path = _shard_path(directory, part, len(shards))
        try:
            shards.append(Shard(path, open_shard(path).num_records()))
        except OSError:  # not there, or not whole: written from here on
            break
    if sum(shard.images for shard in shards) > images:
        raise DataError(
            f"the {part} shards in {shown(directory)} hold more than the {images} images of the "
            "split; delete the folder and pack anew"
        )
    return shards


def _write_shards(
    directory: pathlib.Path,
    part: str,
    images: EncodedImages,
    shards: list[Shard],
    plan: dict,
    verify: bool,
    bar: tqdm,
) -> None:
    """Appends to `shards` until they hold all images."""
    done = sum(shard.images for shard in shards)
    with contextlib.closing(_read_ahead(images, done, verify)) as stream:
        while done < len(images):
            path = _shard_path(directory, part, len(shards))
            with _whole(path) as unfinished:
                count = _write_shard(unfinished, stream, plan, bar)
            shards.append(Shard(path, count))
            done += count


def _write_shard(path: pathlib.Path, stream: Iterator[bytes], plan: dict, bar: tqdm) -> int:
    """Writes images until the shard is full or none is left; returns how many."""
    size = count = 0
    try:
        writer = ArrayRecordWriter(os.fspath(path), WRITER_OPTIONS)
        try:
            for data in stream:
                writer.write(data)
                bar.update()
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
            f"{shown(images.name(index))} cannot be {what} ({_one_line(error)}); mend it and "
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


def _write(path: pathlib.Path, content: bytes) -> None:
    with _whole(path) as unfinished:
        unfinished.write_bytes(content)


def load(directory: str | pathlib.Path, name: str | None = None) -> Splits:
    """Reads what a packed folder holds; no image is read.

    Args:
      directory: the folder.
      name: of the data set that it should be; any if not given.

    Returns:
      The splits that were packed, in their order.

    Raises:
      DataError: there is none, packing is not finished, a shard is missing or truncated, or it is
        another data set.
    """
    directory = pathlib.Path(directory).expanduser()
    try:
        manifest = _manifest(directory)
        if manifest["format"] != FORMAT:
            raise DataError(
                f"{shown(directory)} was packed in format {manifest['format']!r}, and format "
                f"{FORMAT} is known here; pack it anew by --mode=pack"
            )
        if name is not None and manifest["name"] != name:
            raise DataError(
                f"config.data.dir={shown(directory)} holds {shown(manifest['name'])} and not "
                f"{name}; name another folder or set config.data.name"
            )
        class_names = tuple(manifest["class_names"])
        parts = {
            part: _load_part(directory, part, entry, class_names)
            for part, entry in manifest["splits"].items()
        }
        return Splits(**parts, notes=tuple(manifest["notes"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{shown(directory)} is not as --mode=pack leaves it ({_one_line(error)}); delete it "
            "and pack anew"
        ) from error


def _manifest(directory: pathlib.Path) -> dict:
    if (directory / MANIFEST).exists():
        return _read_json(directory / MANIFEST)
    if not (directory / PLAN).exists():
        raise DataError(
            f"no data set is packed in config.data.dir={shown(directory)}, for it has no {MANIFEST}"
            f"; pack one by --mode=pack --output={shown(directory)}"
        )
    plan = _read_json(directory / PLAN)
    counts = {part: entry["images"] for part, entry in plan["splits"].items()}
    done = sum(
        shard.images
        for part, images in counts.items()
        for shard in _whole_shards(directory, part, images)
    )
    raise DataError(
        f"packing {shown(plan['name'])} into {shown(directory)} is not finished, {done} of "
        f"{sum(counts.values())} images are there; give its command again, "
        f"--mode=pack --output={shown(directory)}, and it goes on"
    )


def _load_part(
    directory: pathlib.Path, part: str, entry: dict, class_names: tuple[str, ...]
) -> Split:
    shards = []
    for number, shard in enumerate(entry["shards"]):
        path = _shard_path(directory, part, number)
        found = path.stat().st_size if path.is_file() else None
        if found != shard["bytes"]:
            raise DataError(
                f"{shown(path)} "
                + ("is missing" if found is None else f"has {found} of {shard['bytes']} bytes")
                + "; copy it again from where it was packed, or delete the folder and pack anew"
            )
        shards.append(Shard(path, shard["images"]))
    names = _read_json(directory / f"{part}.names.json")
    labels = _read_labels(directory / f"{part}.labels.npy", len(class_names))
    counts = {
        "the manifest": entry["images"],
        "the shards": sum(shard.images for shard in shards),
        "the labels": len(labels),
        "the names": len(names),
    }
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{what} {count}" for what, count in counts.items())
        raise DataError(
            f"the {part} split in {shown(directory)} does not fit together, by {told} images; "
            "delete the folder and pack anew"
        )
    return Split(RecordImages(shards, names), labels, class_names)


def _read_labels(path: pathlib.Path, num_classes: int) -> np.ndarray:
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{shown(path)} cannot be read ({_one_line(error)}); copy it again from where it was "
            "packed, or delete the folder and pack anew"
        ) from error
    if (
        labels.dtype != np.int32
        or labels.ndim != 1
        or not np.all((labels >= 0) & (labels < num_classes))
    ):
        raise DataError(
            f"{shown(path)} does not hold labels from 0 to {num_classes - 1}; delete the folder "
            "and pack anew"
        )
    return labels


def _read_json(path: pathlib.Path):
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{shown(path)} cannot be read ({_one_line(error)}); copy it again from where it was "
            "packed, or delete the folder and pack anew"
        ) from error


def _one_line(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return " ".join(str(reason).split()) or type(error).__name__
