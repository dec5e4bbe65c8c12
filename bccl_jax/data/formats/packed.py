"""Photographs packed into a few large files, read at random.

A packed data set, which `packing.py` makes, is a folder:

    manifest.json              written last: what is in the folder, and how large each shard is
    train-00000.array_record   one record an image: the bytes of its file, untouched
    train.labels.npy           int32 [N]
    train.names.json           N names, relative to the folder that all images share
    train.numbers.npy          what packing that goes on compares its images with

While packing goes on, `plan.json` stands in the manifest's place.
"""

import json
import pathlib
from typing import Any

import numpy as np

from bccl_jax.data.formats.records import RecordImages, Shard, open_shard
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import DataError
from bccl_jax.system.array_files import read_array
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import printable, shown
from bccl_jax.system.regular_files import read_regular

FORMAT = 1
# No data set has so many images, and no shard so many bytes.
_MOST = 2**60
PARTS = ("train", "test", "validation")
MANIFEST, PLAN = "manifest.json", "plan.json"


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
    parts, notes = _load_parts(directory, name, ("train", "test"))
    return Splits(**parts, notes=notes)


def load_test(directory: str | pathlib.Path, name: str | None = None) -> Split:
    """Reads the test split of a packed data set alone; see `load`."""
    return _load_parts(directory, name, ("test",), others=False)[0]["test"]


def _load_parts(
    directory: str | pathlib.Path, name: str | None, needed: tuple[str, ...], others: bool = True
) -> tuple[dict[str, Split], tuple[str, ...]]:
    directory = expanded(directory)
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
                f"{name}; name another folder by --config.data.dir=DIR, or set config.data.name"
            )
        class_names = tuple(manifest["class_names"])
        if not all(isinstance(name, str) for name in (*class_names, *manifest["notes"])):
            raise TypeError("a name is no text")
        entries = manifest["splits"]
        wanted = (*needed, *(part for part in entries if others and part not in needed))
        if not set(wanted) <= set(PARTS):
            raise TypeError(f"a split is called {shown(min(set(wanted) - set(PARTS)))}")
        found = {part: _load_part(directory, part, entries[part], class_names) for part in wanted}
        # They are printed, and a manifest may be a stranger's.
        return found, tuple(map(printable, manifest["notes"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{shown(directory)} is not as --mode=pack leaves it ({one_line(error)}); delete it "
            "and pack anew"
        ) from error


def _manifest(directory: pathlib.Path) -> dict:
    if (directory / MANIFEST).exists():
        return read_json(directory / MANIFEST)
    if not (directory / PLAN).exists():
        raise DataError(
            f"no data set is packed in config.data.dir={shown(directory)}, for it has no {MANIFEST}"
            f"; name the folder that has one by --config.data.dir=DIR, or pack one by --mode=pack "
            f"--output={shown(directory)}"
        )
    plan = read_json(directory / PLAN)
    counts = {
        part: _count(plan["splits"][part]["images"]) for part in PARTS if part in plan["splits"]
    }
    done = sum(
        shard.images
        for part, images in counts.items()
        for shard in whole_shards(directory, part, images)
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
        path = shard_path(directory, part, number)
        found = path.stat().st_size if path.is_file() else None
        if found != _count(shard["bytes"]):
            raise DataError(
                f"{shown(path)} "
                + ("is missing" if found is None else f"has {found} of {shard['bytes']} bytes")
                + "; copy it again from where it was packed, or delete the folder and pack anew"
            )
        shards.append(Shard(path, _count(shard["images"])))
    names = read_json(directory / f"{part}.names.json")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{part}.names.json is no list of names")
    labels = _read_labels(directory / f"{part}.labels.npy", len(class_names))
    counts = {
        "the manifest": _count(entry["images"]),
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


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError("a number of images or bytes is none")
    return value


def _read_labels(path: pathlib.Path, num_classes: int) -> np.ndarray:
    try:
        labels = read_array(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{shown(path)} cannot be read ({one_line(error)}); copy it again from where it was "
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


def read_json(path: pathlib.Path):
    """Reads one of the JSON files of a packed folder.

    Raises:
      DataError: it is missing or broken.
    """
    try:
        return json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{shown(path)} cannot be read ({one_line(error)}); copy it again from where it was "
            "packed, or delete the folder and pack anew"
        ) from error


def one_line(error: Exception) -> str:
    """The reason of an error, on one line."""
    reason = getattr(error, "strerror", None) or error
    return " ".join(str(reason).split()) or type(error).__name__


def shard_path(directory: pathlib.Path, part: str, number: int) -> pathlib.Path:
    """Where a shard of a split lies."""
    return directory / f"{part}-{number:05d}.array_record"


def whole_shards(directory: pathlib.Path, part: str, images: int) -> list[Shard]:
    """The shards that are finished, from the first one on, of a split of so many images."""
    shards = []
    while True:
        path = shard_path(directory, part, len(shards))
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
