"""Photographs named by a CSV file: a path and a label a line, and a split if there is one."""

import csv
import dataclasses
import io
import os
import re
from collections.abc import Iterable, Iterator

import numpy as np

from bccl_jax.data import checks
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.formats.split_folders import SPLIT_NAMES
from bccl_jax.data.split import Split
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown, some
from bccl_jax.system.text_files import read_text

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_INTEGER = "[+-]?[0-9]{1,18}"


@dataclasses.dataclass(frozen=True)
class Columns:
    """What the columns of a CSV file are called; "" for path, label and split.

    If none is named there may be no others, since one might be a misspelt split.

    Attributes:
      path: of the paths.
      label: of the labels.
      split: of the splits.
    """

    path: str = ""
    label: str = ""
    split: str = ""

    def keys(self) -> list[str]:
        """The keys by which the config names some."""
        return [f"config.data.{role}_column" for role, name in vars(self).items() if name]


BY_NAME = Columns()


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """The distinct names, sorted; by number if all are integers."""
    names = sorted(set(names))
    if all(re.fullmatch(_INTEGER, name) for name in names):
        names.sort(key=int)
    return tuple(names)


def load(path: str, columns: Columns = BY_NAME) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Reads the splits that a CSV file names.

    Args:
      path: of the file; paths in it start from its folder.
      columns: of the file.

    Returns:
      role -> split, and notes on what was not read.

    Raises:
      DataError: the file is broken or lacks a column, or an image is missing.
    """
    origin, root = shown(path), os.path.dirname(path) or "."
    rows = read(path, columns)
    trained = set(rows.of("train").labels)
    if not trained:
        raise DataError(f"{origin} names no training image; add lines of the split train")
    if len(trained) == 1:
        raise DataError(
            f"{origin} has one class alone to train on, {shown(*trained)}; add images of another"
        )
    for label, line in zip(rows.labels, rows.lines, strict=True):
        if label not in trained:
            raise DataError(
                f"{origin}, line {line}: the class {shown(label)} has no training image; "
                "write a class that has, or add training images of this one"
            )
    checks.check_present(root, rows.paths, rows.lines, path, "the folder of the CSV file")
    names = class_order(trained)
    return {role: rows.of(role).split(root, names) for role in sorted(set(rows.roles))}, rows.notes


def load_test(path: str, class_names: tuple[str, ...], columns: Columns = BY_NAME) -> Split | None:
    """Reads the test split alone, of a run that knows the names of its classes; see `load`.

    Returns:
      The split; None if no line is of it.

    Raises:
      DataError: the file is broken, or an image is missing or of a class that the run has not.
    """
    rows = read(path, columns).of("test")
    if not rows.paths:
        return None
    for label, line in zip(rows.labels, rows.lines, strict=True):
        if label not in class_names:
            raise DataError(
                f"{shown(path)}, line {line}: the run was not trained on the class {shown(label)}; "
                "take the line out or name the data of the run by "
                "--config.data.dir=FILE.csv"
            )
    root = os.path.dirname(path) or "."
    checks.check_present(root, rows.paths, rows.lines, path, "the folder of the CSV file")
    return rows.split(root, class_names)


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the lines of a file say, one entry each.

    Attributes:
      paths: of the images, from the folder of the file.
      labels: names of classes.
      roles: "train", "test" or "validation"; "train" where the file has no splits.
      lines: in which each stands.
      notes: on what was not read.
    """

    paths: list[str]
    labels: list[str]
    roles: list[str]
    lines: list[int]
    notes: tuple[str, ...]

    def of(self, role: str) -> "Rows":
        """The rows of a split alone."""
        return self.take(n for n, other in enumerate(self.roles) if other == role)

    def take(self, kept: Iterable[int]) -> "Rows":
        """Some of the rows."""
        kept = list(kept)
        columns = (self.paths, self.labels, self.roles, self.lines)
        return Rows(*([column[n] for n in kept] for column in columns), self.notes)

    def split(self, root: str, names: tuple[str, ...]) -> Split:
        """The split of all of them; `names` are those of its classes, `root` the file's folder."""
        numbers = {name: number for number, name in enumerate(names)}
        labels = np.array([numbers[label] for label in self.labels], np.int32)
        return Split(FileImages(root, self.paths), labels, names)


def read(path: str, columns: Columns = BY_NAME) -> Rows:
    """Reads the lines of a CSV file; whether the images are there is not looked at.

    Raises:
      DataError: the file is broken or lacks a column.
    """
    if path.lower().endswith(_ARCHIVES):
        raise DataError(
            f"config.data.dir is {shown(path)}, which is still packed; unpack it and name "
            "the folder by --config.data.dir=DIR"
        )
    origin = shown(path)
    table = _Table(path, columns)
    paths, labels, roles, lines = [], [], [], []
    line_of: dict[str, int] = {}
    for line, row in table.rows():
        where = f"{origin}, line {line}"
        for column, value in row.items():
            if not value:
                raise DataError(f"{where}: the {column} is empty; write one or delete the line")
        image = checks.image_path(row["path"], where)
        first = line_of.setdefault(image, line)
        if first != line:
            raise DataError(
                f"{where}: {shown(image)} is in line {first} already; delete one of the two"
            )
        role = SPLIT_NAMES.get(row.get("split", "train").lower())
        if role is None:
            raise DataError(
                f"{where}: the split is {shown(row['split'])}; write train, test or validation"
            )
        paths.append(image)
        labels.append(row["label"])
        roles.append(role)
        lines.append(line)
    if all(re.fullmatch(_INTEGER, label) for label in labels):
        labels = [str(int(label)) for label in labels]
    return Rows(paths, labels, roles, lines, table.notes())


class _Table:
    """The rows of a CSV file, blanks taken off.

    Args:
      path: of the file.
      columns: of the file.

    Raises:
      DataError: from any method: the file is broken or lacks a column.
    """

    def __init__(self, path: str, columns: Columns):
        self._path, self._columns = path, columns
        self._header: list[str] = []
        # Columns that are not read, and whether every value of theirs is the name of a split.
        self._unread: dict[int, bool] = {}

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yields line numbers and {"path": value, "label": value}, and "split" if there is one."""
        position, number = {}, 0
        for line, row in self._lines():
            if not self._header:
                self._header = row
                position = self._positions(line)
                continue
            if len(row) != len(self._header):
                there = f"there are {len(row)} fields" if len(row) > 1 else "there is 1 field"
                mend = "put a value that has a comma into quotation marks"
                if len(row) < len(self._header):
                    mend = "complete the line or delete it"
                raise DataError(
                    f"{shown(self._path)}, line {line}: {there} under a header of "
                    f"{len(self._header)}; {mend}"
                )
            number += 1
            for column in self._unread:
                self._unread[column] &= row[column].lower() in SPLIT_NAMES
            yield line, {role: row[column] for role, column in position.items()}
        if not self._header:
            raise DataError(
                f"{shown(self._path)} is empty; write the header path,label and a line for "
                "each image"
            )
        splits = [self._header[column] for column, could_be in self._unread.items() if could_be]
        if splits and number and "split" not in position:
            raise DataError(
                f"{shown(self._path)}: the column {shown(splits[0])} names train, "
                "test or validation in every line but is not read; name it by "
                "config.data.split_column or take it out"
            )

    def notes(self) -> tuple[str, ...]:
        """What was not read."""
        if not self._unread:
            return ()
        names = some([self._header[n] or f"column {n + 1} (no name)" for n in self._unread])
        return (f"columns of {shown(self._path)} that were not read: {names}",)

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        content = io.StringIO(read_text(self._path), newline="")
        reader = csv.reader(content, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise DataError(
                    f"{shown(self._path)}, line {line}: this is not CSV ({error}); mend the "
                    "quotation marks"
                ) from error
            if row is None:
                return
            row = [value.strip() for value in row]
            if any(row):
                yield line, row

    def _positions(self, line: int) -> dict[str, int]:
        """Role -> number of its column, by the header."""
        header, folded = self._header, [name.lower() for name in self._header]
        where = f"{shown(self._path)}, line {line}"
        told = f"{where}: the header is {shown(','.join(header))}"
        for delimiter, plural in _OTHER_DELIMITERS.items():
            if len(header) == 1 and delimiter in header[0]:
                names = some([name.strip() for name in header[0].split(delimiter)])
                raise DataError(
                    f"{told}; write commas in place of {plural} between its columns, {names}"
                )
        if self._columns == BY_NAME:
            if sorted(folded) not in (["label", "path"], ["label", "path", "split"]):
                raise DataError(
                    f"{told}; write path,label or path,label,split, or name its columns by "
                    "config.data.path_column and config.data.label_column"
                )
            return {name: number for number, name in enumerate(folded)}
        position: dict[str, int] = {}
        for role, named in vars(self._columns).items():
            name, key = named or role, f"config.data.{role}_column"
            found = [n for n, column in enumerate(header) if column == name]
            found = found or [n for n, column in enumerate(folded) if column == name.lower()]
            if not found and role == "split" and not named:
                continue
            if len(found) != 1 or found[0] in position.values():
                fault = "is two columns" if len(found) > 1 else "is the column of another key"
                raise DataError(
                    f"{where}: the {role} column {shown(name)} "
                    f"{fault if found else 'is not there'}; write one of the columns there as "
                    f"{key}: {shown(', '.join(header))}"
                )
            position[role] = found[0]
        self._unread = {n: True for n in range(len(header)) if n not in position.values()}
        return position
