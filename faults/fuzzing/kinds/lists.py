"""Lists of pictures: published ones, CSV files, those of --test and of predict."""

import io
import os
import pathlib

import numpy as np
from PIL import Image

from bccl_jax.data.formats import another, listed, table
from bccl_jax.data.split import Split
from bccl_jax.use import given
from faults.fuzzing.surface import Files, Input, Kind, Surface, Whole, consistent

_CLASSES = ("cat", "bär", "a b")
_PICTURES = [f"{part}/{name} {number}.png" for part in "ab" for name in "xy" for number in (1, 2)]
_LISTS = listed.ListedDataset("listed", 3, "train.txt", 4, "test.txt", 4, "val.txt", 4)


def _pictures(root: pathlib.Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (3, 2)).save(content, "PNG")
    for name in _PICTURES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.getvalue())


def _check(root: pathlib.Path, split: Split) -> None:
    labels = split.labels
    consistent(labels.dtype == np.int32 and labels.shape == (len(split),), "labels", labels)
    inside = bool(np.all((labels >= 0) & (labels < len(split.class_names))))
    consistent(inside, "labels outside of the classes", labels)
    for index in range(len(split)):
        path = os.path.realpath(split.images.name(index))
        consistent(path.startswith(f"{root}/"), "a picture outside of the root", path)
        consistent(len(split.images[index]) > 0, "an empty picture", path)


def _listed(root: pathlib.Path) -> Surface:
    _pictures(root)
    lines = [f"{path} {number % 3}" for number, path in enumerate(_PICTURES)]
    files = Files(
        root,
        {
            "train.txt": Whole("\n".join(lines[:4]).encode(), "lines", separators=b" "),
            "test.txt": Whole("\r\n".join(lines[4:]).encode(), "lines", separators=b" "),
            "val.txt": Whole("\n".join(lines[2:5] + [""]).encode(), "lines", separators=b" "),
            "classes.txt": Whole(
                "".join(f"{n}\tid{n}\t{name}\t3\n" for n, name in enumerate(_CLASSES)).encode(),
                "lines",
                separators=b"\t",
            ),
        },
    )

    def read(entry: Input) -> None:
        files.put(entry)
        splits = listed.load(_LISTS, str(root), check_totals=False)
        for split in (splits.train, splits.test, splits.validation):
            _check(root, split)

    return Surface(files.make, read, (str(root), *files.whole), files.unchanged())


def _table(root: pathlib.Path) -> Surface:
    _pictures(root)
    rows = [
        f"{path},{_CLASSES[n % 2]},{('train', 'test')[n // 5]}" for n, path in enumerate(_PICTURES)
    ]
    wide = [f'{path},"{_CLASSES[n % 2]}",{n}' for n, path in enumerate(_PICTURES)]
    files = Files(
        root,
        {
            "all.csv": Whole("\n".join(["path,label,split", *rows]).encode(), "lines"),
            "wide.csv": Whole("\r\n".join(["File,Class,x", *wide]).encode(), "lines"),
        },
    )
    columns = {"all.csv": table.BY_NAME, "wide.csv": table.Columns("file", "class")}

    def read(entry: Input) -> None:
        path = files.put(entry)
        for split in table.load(str(path), columns[entry.target])[0].values():
            _check(root, split)

    return Surface(files.make, read, tuple(files.whole), files.unchanged())


def _test_list(root: pathlib.Path) -> Surface:
    _pictures(root)
    rows = [f"{path},{_CLASSES[n % 3]}" for n, path in enumerate(_PICTURES)]
    files = Files(root, {"new.csv": Whole("\n".join(["path,label", *rows]).encode(), "lines")})

    def read(entry: Input) -> None:
        path = str(files.put(entry))
        known_only = len(entry.content) % 2 == 0
        _check(root, another.load(path, _CLASSES, known_only=known_only).test)

    return Surface(files.make, read, ("new.csv",), files.unchanged())


def _predict_list(root: pathlib.Path) -> Surface:
    _pictures(root)
    names = [str(root / name) for name in _PICTURES]
    files = Files(root, {"list.txt": Whole("\n".join(names).encode(), "lines", separators=b"/")})

    def read(entry: Input) -> None:
        for item in given.listed_in(str(files.put(entry))):
            consistent(isinstance(item.source, str), "an item", item)

    # A path of an unknown home is named by itself.
    return Surface(files.make, read, ("list.txt", "home folder"), files.unchanged())


def _path(root: pathlib.Path) -> Surface:
    """What stands on the command line of predict: a file, a folder or a pattern."""
    _pictures(root)
    whole = Whole(f"{root}/a/*.png".encode(), "lines", separators=b"/")
    files = Files(root, {"path": whole})

    def read(entry: Input) -> None:
        os.chdir(root)
        text = os.fsdecode(entry.content)
        if not os.path.abspath(os.path.expanduser(text)).startswith(f"{root}/"):
            # The rest of the machine is as large as it is.
            text = f"{root}{os.path.normpath(f'//{text}')[1:]}"
        for item in given.items_of(text):
            consistent(os.path.exists(item.source), "an item that is not there", item)

    return Surface(files.make, read, ("file", "folder", "path"), files.unchanged())


KINDS = [
    Kind("listed", 8, _listed),
    Kind("table", 12, _table),
    Kind("test_list", 10, _test_list),
    Kind("predict_list", 6, _predict_list),
    Kind("predict_path", 4, _path),
]
