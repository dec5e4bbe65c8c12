"""A run in one file: what its directory has, but for what training alone needs."""

import hashlib
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import DataError, WorkdirError
from bccl_jax.system import tensor_files
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import shown
from bccl_jax.workdir import content, identity
from bccl_jax.workdir.agreement import differences

# Of the document; a later version may have another one.
FORMAT = 1
# The numbers of the images of a split (`data.fingerprint`), and the arrays of the network.
_NUMBERS, _STATE = "images/", "state/"


def write(
    path: pathlib.Path,
    document: Mapping[str, Any],
    variables: Any,
    numbers: Mapping[str, np.ndarray],
) -> None:
    """Writes a shared file.

    Args:
      path: of the file.
      document: records of a run's directory by their names, and "checkpoint".
      variables: the arrays of the network, a pytree of structs and dicts.
      numbers: of the images of splits, `data.fingerprint.fingerprint`.

    Raises:
      DataError: an array is of a kind that such a file cannot hold.
      OSError: the file cannot be written.
    """
    arrays = {f"{_STATE}{name}": np.asarray(leaf) for name, leaf in named_leaves(variables)}
    arrays |= {f"{_NUMBERS}{part}": found for part, found in numbers.items()}
    tensor_files.write(path, arrays, {**document, "format": FORMAT})


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a pytree by their paths, such as "params/backbone/Conv_0/kernel"."""
    return [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def sha256(path: pathlib.Path) -> str:
    """The SHA-256 of a whole file, as sha256sum prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class SharedRun:
    """A shared file in the place of a run's directory, of which it answers the same questions.

    Args:
      path: of the file.

    Raises:
      DataError: it is no shared file, damaged, or of a later version.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = expanded(path).absolute()
        self._file = tensor_files.TensorFile(self.path)
        self._document = self._file.document
        if self._document.get("format") != FORMAT:
            raise DataError(
                f"{shown(self.path)} is of format {shown(repr(self._document.get('format')))}, and "
                f"this version of the project reads {FORMAT}; install the one that wrote it"
            )

    @property
    def file(self) -> tensor_files.TensorFile:
        """The file, checked."""
        return self._file

    def record(self, name: str, kind: type) -> Any:
        """See `Workdir.record`."""
        found = self._document.get(name)
        if not isinstance(found, kind):
            raise DataError(f"{self.place(name)} is missing; let the run be shared anew")
        return found

    def has(self, name: str) -> bool:
        """See `Workdir.has`."""
        return name in self._document

    def place(self, name: str) -> str:
        """See `Workdir.place`."""
        return f"the record {name!r} of {shown(self.path)}"

    def check(self, config: ml_collections.ConfigDict, evaluating: bool = True) -> bool:
        """See `Workdir.check`; no run is trained in a file."""
        saved = self.record("config", dict)
        if differing := differences(config, saved, evaluating, {}):
            raise WorkdirError(
                f"{shown(self.path)} is of a run of another config: "
                f"{'; '.join(differing.values())}; give the same values"
            )
        return True

    def parts(self) -> set[str]:
        """See `Workdir.parts`."""
        return set(self.record("splits", dict))

    def check_classes(self, dataset: Dataset) -> None:
        """See `Workdir.check_classes`."""
        named = shown(self.path)
        identity.check_classes(self.record("classes", list), dataset, named)
        identity.check_splits(self.record("splits", dict), dataset, named)

    def check_test_split(self, split: Split) -> None:
        """See `Workdir.check_test_split`."""
        identity.check_split(self.record("splits", dict), "test", split, shown(self.path))

    def check_images(self, dataset: Dataset, numbers: dict[str, np.ndarray]) -> str | None:
        """See `Workdir.check_images`."""
        then = self.recorded(numbers)
        if not then:
            return f"{shown(self.path)} has no record of what its images contained"
        content.compare(then, numbers, dataset, {}, self.path)
        return None

    def recorded(self, parts: Iterable[str]) -> dict[str, np.ndarray]:
        """See `Workdir.recorded`."""
        names = {part: f"{_NUMBERS}{part}" for part in parts}
        return {
            part: self._file.array(name).astype(np.uint64).reshape(-1)
            for part, name in names.items()
            if name in self._file.shapes
        }


class SharedCheckpoint:
    """The one checkpoint of a shared file; see `Checkpoints`.

    Args:
      file: that holds it.

    Attributes:
      directory: the file's path.
      averaged: whether its weights are the averaged ones.

    Raises:
      DataError: what the file says of it is no such thing.
    """

    def __init__(self, file: tensor_files.TensorFile):
        self._file, self.directory = file, file.path
        told = file.document.get("checkpoint")
        try:
            self._step, self._names = told["step"], [str(name) for name in told["names"]]
            self.averaged = told["averaged"]
            sound = type(self._step) is int and type(self.averaged) is bool and self._names
        except (KeyError, TypeError):
            sound = False
        if not sound:
            raise DataError(
                f"{shown(file.path)} does not say what checkpoint it holds; let the run be shared "
                "anew"
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def named(self) -> list[str]:
        """See `Checkpoints.named`."""
        return self._names[:1]

    def place(self, step: int) -> str:
        """See `Checkpoints.place`."""
        del step
        return shown(self.directory)

    def resolve(self, which: str) -> int:
        """See `Checkpoints.resolve`."""
        if which not in (*self._names, str(self._step)):
            raise WorkdirError(
                f"there is no checkpoint '{shown(which)}' in {shown(self.directory)}, which holds "
                f"one alone: {' and '.join(map(shown, self._names))}, step {self._step}"
            )
        return self._step

    def taking(self, which: str, read: Callable[[int], Any]) -> tuple[int, Any]:
        """See `Checkpoints.taking`."""
        step = self.resolve(which)
        return step, read(step)

    def restore_part(self, step: int, abstract: Any) -> Any:
        """See `Checkpoints.restore_part`; each array is compared with what the config makes.

        Raises:
          DataError: an array is missing, or of another shape or kind.
        """
        del step
        wanted = named_leaves(abstract)
        for name, leaf in wanted:
            self._compare(f"{_STATE}{name}", leaf)
        # After all of them were found right.
        found = [
            jax.device_put(self._file.array(f"{_STATE}{name}"), leaf.sharding)
            for name, leaf in wanted
        ]
        return jax.tree.unflatten(jax.tree.structure(abstract), found)

    def _compare(self, name: str, leaf: jax.ShapeDtypeStruct) -> None:
        kind, shape = self._file.shapes.get(name, (None, ()))
        if (kind, shape) != (leaf.dtype, leaf.shape):
            there = f"{kind} {list(shape)}" if kind is not None else "missing"
            raise DataError(
                f"the array {shown(name)} of {shown(self.directory)} is {there}, and its config "
                f"makes {leaf.dtype} {list(leaf.shape)}: they are not of one run; let it be shared "
                "anew"
            )
