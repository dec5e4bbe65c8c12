"""Packed data sets: manifest, names, labels, shards, and the plan of one that is not finished."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from bccl_jax.data.encoded import FileImages
from bccl_jax.data.formats import packed
from bccl_jax.data.packing import packing
from bccl_jax.data.split import Dataset, Split
from faults.fuzzing.surface import Files, Input, Kind, Surface, Whole, consistent

_FORMS = {".json": "json", ".npy": "bytes", ".array_record": "bytes"}


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield


def _written(root: pathlib.Path) -> dict[str, Whole]:
    """A data set of six pictures, packed by the project itself."""
    source = root / "source"
    source.mkdir()
    for number in range(6):
        (source / f"{number}.jpg").write_bytes(bytes([number]) * (50 + number))
    splits = {}
    for part, numbers in (("train", range(4)), ("test", range(4, 6))):
        images = FileImages(source, [f"{number}.jpg" for number in numbers])
        labels = np.arange(len(images), dtype=np.int32) % 2
        splits[part] = Split(images, labels, ("apple", "bär"))
    with _silently():
        packing.pack_dataset(Dataset("folder", splits["train"], splits["test"]), root / "made")
    found = {}
    for path in sorted((root / "made").iterdir()):
        if path.suffix in _FORMS and path.is_file():
            often = 6 if path.name == packed.MANIFEST else 1
            found[path.name] = Whole(path.read_bytes(), _FORMS[path.suffix], often)
    return found


def _packed(root: pathlib.Path) -> Surface:
    files = Files(root / "packed", _written(root))

    def read(entry: Input) -> None:
        files.put(entry)
        test_only = len(entry.content) % 4 == 0
        if test_only:
            _check([packed.load_test(files.root, "folder")])
        else:
            splits = packed.load(files.root, "folder")
            _check([split for split in splits[:3] if split is not None])

    return Surface(files.make, read, (str(files.root),), files.unchanged())


def _check(splits: list[Split]) -> None:
    for split in splits:
        labels, names = split.labels, split.class_names
        consistent(labels.dtype == np.int32 and len(labels) == len(split), "labels", labels)
        consistent(all(isinstance(name, str) for name in names), "names", names)
        consistent(bool(np.all((labels >= 0) & (labels < len(names)))), "labels", labels, names)
        for index in range(min(len(split), 8)):
            # What cannot be read is a broken picture.
            with contextlib.suppress(OSError):
                consistent(isinstance(split.images[index], bytes), "a picture", index)


def _plan(root: pathlib.Path) -> Surface:
    whole = _written(root)
    manifest = json.loads(whole[packed.MANIFEST].content)
    parts = {part: {"images": entry["images"]} for part, entry in manifest["splits"].items()}
    plan = {**manifest, "splits": parts}
    kept = {name: each for name, each in whole.items() if name.startswith("train")}
    kept[packed.PLAN] = Whole(json.dumps(plan).encode(), "json", 10)
    files = Files(root / "packed", kept)

    def read(entry: Input) -> None:
        files.put(entry)
        packed.load(files.root)

    return Surface(files.make, read, (str(files.root),), [])


KINDS = [Kind("packed", 8, _packed), Kind("packed_plan", 4, _plan)]
