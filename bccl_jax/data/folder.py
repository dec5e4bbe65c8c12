"""Photographs of one's own: a folder for each class, or a CSV file of paths and labels."""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator

import numpy as np

from bccl_jax.data import checks
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.long_tail import draw_test_split
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import ConfigError, DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
# What systems leave behind, beside names that start with a dot.
_LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx")
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


def load(data_dir: str, test_fraction: float = 0.2, seed: int = 0) -> Splits:
    """Reads a data set of one's own; no image is opened.

    Three layouts are known. Images lie anywhere below the folder of their class:

    - `data_dir/CLASS/*.jpg`;
    - `data_dir/train/CLASS/*.jpg`, and the same below `test` and `val`, of which each may lack;
    - `data_dir` is a CSV file with the header `path,label` or `path,label,split`: paths from its
      folder, labels that are names or integers, and train, test or validation.

    Classes are in the order of their names, of their numbers if all are integers. Where there is no
    test split, one is drawn from the training split (`long_tail.draw_test_split`), the same for the
    same files in any order.

    Args:
      data_dir: a folder or a CSV file.
      test_fraction: share of each class that is drawn.
      seed: of the draw.

    Returns:
      The splits; their notes tell which files were left out, and of the draw.

    Raises:
      ConfigError: a test split is to be drawn and the fraction is not between 0 and 1.
      DataError: the folder or the file is not of these layouts, or cannot be read.
    """
    root = os.path.expanduser(data_dir)
    if os.path.isfile(root):
        parts, notes = _from_csv(root), ()
    elif os.path.isdir(root):
        parts, notes = _from_folder(root)
    else:
        raise DataError(
            f"config.data.dir is {checks.shown(root)}, which is neither a folder nor a CSV file; "
            "name the folder that holds a folder of each class"
        )
    if "test" not in parts:
        if not 0 < test_fraction < 1:
            raise ConfigError(
                f"config.data.test_fraction is {test_fraction} but {checks.shown(root)} has no "
                "test split; write a fraction above 0 and below 1, or add a test split"
            )
        everything = parts["train"]
        remaining, drawn = draw_test_split(everything.labels, test_fraction, seed)
        if not len(drawn):
            raise DataError(
                f"{checks.shown(root)} has no class of two images, so that one could be tested "
                "on; add images or a test split"
            )
        parts |= {"train": everything.take(remaining), "test": everything.take(drawn)}
        notes += (
            f"{len(drawn)} of {len(everything)} images, a share of {test_fraction:g} of each "
            "class, were drawn as the test split",
        )
    return Splits(parts["train"], parts["test"], parts.get("validation"), notes)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """The distinct names, sorted; by number if all are integers."""
    names = sorted(set(names))
    if all(re.fullmatch("[+-]?[0-9]{1,18}", name) for name in names):
        names.sort(key=int)
    return tuple(names)


def _from_folder(root: str) -> tuple[dict[str, Split], tuple[str, ...]]:
    tree = _Tree(root)
    folders = tree.folders("")
    roles = {name: _SPLIT_NAMES[name.lower()] for name in folders if name.lower() in _SPLIT_NAMES}
    # A train is also something to classify, and its folder then holds images itself.
    if list(roles.values()) == ["train"] and len(folders) > 1 and tree.holds_images(*roles):
        roles = {}
    others = [name for name in folders if name not in roles]
    if not roles:
        return _assemble(tree, {"train": _training_classes(tree, "")})
    if others:
        raise DataError(
            f"{checks.shown(root)} holds {checks.some(list(roles))} and also "
            f"{checks.some(others)}; let it hold a folder of each class, or train, test and val "
            "alone"
        )
    folder_of = {role: name for name, role in roles.items()}
    if len(folder_of) < len(roles):
        raise DataError(
            f"{checks.shown(root)} holds {checks.some(list(roles))}, two of which are one split; "
            "keep one of them"
        )
    if "train" not in folder_of:
        raise DataError(
            f"{checks.shown(root)} holds {checks.some(list(roles))} but no train; put the training "
            "images into train"
        )
    tree.stray_images("")
    parts = {"train": _training_classes(tree, folder_of["train"])}
    for role in ("test", "validation"):
        if role not in folder_of:
            continue
        classes = parts[role] = _classes(tree, folder_of[role])
        unknown = [name for name in class_order(classes) if name not in parts["train"]]
        if unknown:
            raise DataError(
                f"{checks.shown(tree.path(folder_of[role]))} has classes that "
                f"{folder_of['train']} lacks, {checks.some(unknown)}; name them as there, or take "
                "them out"
            )
    return _assemble(tree, parts)


def _training_classes(tree: "_Tree", folder: str) -> dict[str, list[str]]:
    classes = _classes(tree, folder)
    if len(classes) == 1:
        raise DataError(
            f"{checks.shown(tree.path(folder))} has one class alone, "
            f"{checks.shown(*classes)}; name the folder that holds a folder of each class by "
            "config.data.dir"
        )
    return classes


def _classes(tree: "_Tree", folder: str) -> dict[str, list[str]]:
    """Class name -> paths of its images, of a folder that holds a folder of each class."""
    names, path = tree.folders(folder), checks.shown(tree.path(folder))
    stray = tree.stray_images(folder)
    if not names:
        found = f"holds {stray} images but" if stray else "holds"
        raise DataError(
            f"{path} {found} no folder of a class; put the images of each class into a folder "
            "of its name, or name a CSV file of them by config.data.dir"
        )
    classes = {}
    for name in names:
        classes[name] = tree.images_below(os.path.join(folder, name))
        if not classes[name]:
            raise DataError(
                f"{checks.shown(tree.path(os.path.join(folder, name)))} has no image of class "
                f"{checks.shown(name)}, which must end in {', '.join(SUFFIXES)}; put some in or "
                "take the folder away"
            )
    return classes


def _assemble(
    tree: "_Tree", parts: dict[str, dict[str, list[str]]]
) -> tuple[dict[str, Split], tuple[str, ...]]:
    names = class_order(parts["train"])
    splits = {}
    for role, classes in parts.items():
        paths = [path for name in names for path in classes.get(name, [])]
        counts = [len(classes.get(name, [])) for name in names]
        labels = np.repeat(np.arange(len(names), dtype=np.int32), counts)
        splits[role] = Split(FileImages(tree.root, paths), labels, names)
    return splits, tree.notes()


class _Tree:
    """A folder, read in the order of names so that nothing depends on the file system.

    Args:
      root: the folder.

    Raises:
      DataError: from any method: a folder cannot be read or is met twice, or an image is no file.
    """

    def __init__(self, root: str):
        self.root = root
        self._left_out: list[str] = []
        self._met: dict[tuple[int, int], str] = {}
        self._read: dict[str, tuple[list[str], list[str]]] = {}

    def path(self, folder: str) -> str:
        """Where a folder lies."""
        return os.path.join(self.root, folder) if folder else self.root

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""
        return self._entries(folder)[0]

    def holds_images(self, folder: str) -> bool:
        """Whether a folder has images itself."""
        return bool(self._entries(folder)[1])

    def stray_images(self, folder: str) -> int:
        """Leaves the images out that a folder of class folders has itself; returns their number."""
        images = self._entries(folder)[1]
        self._left_out += [os.path.join(folder, name) for name in images]
        return len(images)

    def images_below(self, folder: str) -> list[str]:
        """Paths from the root of all images below a folder, sorted."""
        paths, waiting = [], [folder]
        while waiting:
            current = waiting.pop()
            folders, images = self._entries(current)
            waiting += [os.path.join(current, name) for name in folders]
            paths += [os.path.join(current, name) for name in images]
        return sorted(paths)

    def notes(self) -> tuple[str, ...]:
        """What was left out, hidden files apart."""
        if not self._left_out:
            return ()
        return (
            f"{len(self._left_out)} files of {checks.shown(self.root)} were left out, which are no "
            f"images of a class: {checks.some(sorted(self._left_out))}",
        )

    def _entries(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the folders and of the images in a folder, each sorted."""
        if folder not in self._read:
            self._read[folder] = self._scan(folder)
        return self._read[folder]

    def _scan(self, folder: str) -> tuple[list[str], list[str]]:
        path = self.path(folder)
        try:
            status = os.stat(path)
            with os.scandir(path) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f"the folder {checks.shown(path)} cannot be read ({error.strerror}); mend its "
                "rights"
            ) from error
        first = self._met.setdefault((status.st_dev, status.st_ino), path)
        if first != path:
            raise DataError(
                f"{checks.shown(path)} is a link to {checks.shown(first)}, whose images it would "
                "repeat; take it away"
            )
        folders, images = [], []
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in _LEFT_BY_SYSTEMS:
                continue
            kind, named = _kind(entry), entry.name.lower().endswith(SUFFIXES)
            if kind == "broken link" or (named and kind != "file"):
                raise DataError(
                    f"{checks.shown(entry.path)} is a {kind} and no image; put the image in its "
                    "place or take it away"
                )
            if kind == "folder":
                folders.append(entry.name)
            elif named:
                images.append(entry.name)
            else:
                self._left_out.append(os.path.join(folder, entry.name))
        return folders, images


def _kind(entry: os.DirEntry) -> str:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link that leads back to itself
        return "broken link"
    return "broken link" if entry.is_symlink() and not os.path.exists(entry.path) else "device"


def _from_csv(path: str) -> dict[str, Split]:
    if path.lower().endswith(_ARCHIVES):
        raise DataError(
            f"config.data.dir is {checks.shown(path)}, which is still packed; unpack it and name "
            "the folder"
        )
    origin, root = checks.shown(path), os.path.dirname(path) or "."
    paths, labels, roles, lines = [], [], [], []
    line_of: dict[str, int] = {}
    for line, row in _rows(path):
        where = f"{origin}, line {line}"
        for column, value in row.items():
            if not value:
                raise DataError(f"{where}: the {column} is empty; write one or delete the line")
        image = checks.image_path(row["path"], where)
        first = line_of.setdefault(image, line)
        if first != line:
            raise DataError(
                f"{where}: {checks.shown(image)} is in line {first} already; delete one of the two"
            )
        role = _SPLIT_NAMES.get(row.get("split", "train").lower())
        if role is None:
            raise DataError(
                f"{where}: the split is {checks.shown(row['split'])}; write train, test or "
                "validation"
            )
        paths.append(image)
        labels.append(row["label"])
        roles.append(role)
        lines.append(line)
    if all(re.fullmatch("[+-]?[0-9]{1,18}", label) for label in labels):
        labels = [str(int(label)) for label in labels]
    trained = {label for label, role in zip(labels, roles, strict=True) if role == "train"}
    if not trained:
        raise DataError(f"{origin} names no training image; add lines of the split train")
    if len(trained) == 1:
        raise DataError(
            f"{origin} has one class alone to train on, {checks.shown(*trained)}; add images of "
            "another"
        )
    for label, line in zip(labels, lines, strict=True):
        if label not in trained:
            raise DataError(
                f"{origin}, line {line}: the class {checks.shown(label)} has no training image; "
                "write a class that has, or add training images of this one"
            )
    checks.check_present(root, paths, lines, path, "the folder of the CSV file")
    names = class_order(trained)
    numbers = {name: number for number, name in enumerate(names)}
    everything = Split(
        FileImages(root, paths), np.array([numbers[label] for label in labels], np.int32), names
    )
    return {
        role: everything.take(np.flatnonzero([role == other for other in roles]))
        for role in sorted(set(roles))
    }


def _rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and {column: value} of the rows of a CSV file, blanks taken off."""
    origin = checks.shown(path)
    reader = csv.reader(io.StringIO(checks.read_text(path), newline=""), strict=True)
    header = None
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{origin}, line {line}: this is not CSV ({error}); mend the quotation marks"
            ) from error
        if row is None:
            break
        row = [value.strip() for value in row]
        if not any(row):
            continue
        if header is None:
            header = [name.lower() for name in row]
            if sorted(header) not in (["label", "path"], ["label", "path", "split"]):
                raise DataError(
                    f"{origin}, line {line}: the header is {checks.shown(','.join(row))}; write "
                    "path,label or path,label,split"
                )
            continue
        if len(row) != len(header):
            raise DataError(
                f"{origin}, line {line}: there are {len(row)} fields under a header of "
                f"{len(header)}; put a value that has a comma into quotation marks"
            )
        yield line, dict(zip(header, row, strict=True))
    if header is None:
        raise DataError(f"{origin} is empty; write the header path,label and a line for each image")
