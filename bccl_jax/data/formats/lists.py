"""Lists of images, a path and a label a line, and the names of their classes."""

import dataclasses
import os
import re

import numpy as np

from bccl_jax.data import checks
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown
from bccl_jax.system.text_files import read_lines


@dataclasses.dataclass(frozen=True)
class Entries:
    """What a list names.

    Attributes:
      paths: of N images, normalised.
      labels: int32 [N].
      lines: numbers of the N lines.
    """

    paths: list[str]
    labels: np.ndarray
    lines: list[int]


def read_list(path: str, num_classes: int) -> Entries:
    """Reads a list: a path and, after blanks, a label a line.

    Blank lines, blanks around a line, Windows line ends and a byte order mark are of no account;
    paths may have blanks in them.

    Args:
      path: of the list.
      num_classes: K.

    Returns:
      Its entries in the order of its lines; a path that comes twice counts twice.

    Raises:
      DataError: the list cannot be read or names no image, or a line has no path, a path outside
        the root, no integer from 0 to K - 1 as its label, or another label than the line before
        that names the same path.
    """
    paths, labels, lines = [], [], []
    first_of: dict[str, int] = {}
    origin = shown(path)
    for number, line in enumerate(read_lines(path), 1):
        fields = line.rsplit(maxsplit=1)
        if not fields:
            continue
        where = f"{origin}, line {number}"
        if len(fields) == 1:
            raise DataError(
                f"{where}: {shown(fields[0])} is not a path and a label; write both with a "
                "blank between them"
            )
        label = _label(fields[1], num_classes, where)
        image = checks.image_path(fields[0].strip(), where)
        first = first_of.setdefault(image, len(paths))
        if first < len(paths) and labels[first] != label:
            raise DataError(
                f"{where}: {shown(image)} has the label {label} here and {labels[first]} in "
                f"line {lines[first]}; keep one of the two"
            )
        paths.append(image)
        labels.append(label)
        lines.append(number)
    if not paths:
        raise DataError(f"{origin} names no image; get the list again")
    return Entries(paths, np.array(labels, np.int32), lines)


def _label(text: str, num_classes: int, where: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise DataError(
            f"{where}: the label {shown(text)} is not an integer; write one from 0 to "
            f"{num_classes - 1}"
        )
    if not 0 <= int(text) < num_classes:
        raise DataError(
            f"{where}: the label {text} is outside 0 to {num_classes - 1}; mend it, or the list is "
            "of another data set"
        )
    return int(text)


def names_of_classes(path: str, most_classes: int, num_classes: int) -> tuple[str, ...]:
    """Reads `label<TAB>name`, or `label<TAB>id<TAB>name<TAB>count`, a line; else label numbers.

    A list that was cut down may have fewer classes than the file names.
    """
    if not os.path.lexists(path):
        return tuple(map(str, range(num_classes)))
    names: dict[int, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{shown(path)}, line {number}"
        fields = [field.strip() for field in line.split("\t")]
        position = {2: 1, 4: 2}.get(len(fields))
        if position is None or not fields[position]:
            raise DataError(
                f"{where}: {shown(line)} is not label, id, name and count with tabs between "
                "them; mend it or take the file away"
            )
        label = _label(fields[0], most_classes, where)
        if label in names:
            raise DataError(f"{where}: class {label} is named twice; keep one of the two")
        names[label] = fields[position]
    unnamed = [label for label in range(num_classes) if label not in names]
    if unnamed:
        raise DataError(
            f"{shown(path)} leaves {len(unnamed)} of {num_classes} classes without a name, "
            f"the first {unnamed[0]}; complete it or take the file away"
        )
    return tuple(names[label] for label in range(num_classes))
