"""Where something from outside is read: well-formed input, how it changes, its reader."""

import dataclasses
import json
import pathlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bccl_jax.errors import BcclError
from faults.fuzzing import odd
from faults.fuzzing.mutation import json_mutated, lines_mutated, mutated


class Inconsistent(Exception):
    """An input was read as something that it cannot be."""


class Input(NamedTuple):
    """What is read once.

    Attributes:
      target: which file it is the content of, or another name of what it is.
      content: its bytes.
    """

    target: str
    content: bytes


class Surface(NamedTuple):
    """What a kind of inputs is read by, in a folder of its own.

    Attributes:
      make: an input of a source of random numbers.
      read: reads an input; raises one of `refusals`, or `Inconsistent`.
      names: of which a message of a refusal has to have one.
      whole: well-formed inputs, which have to be read.
      refusals: errors whose messages a command prints as one sentence.
      megabytes: by which an input may raise the memory of the process.
    """

    make: Callable[[random.Random], Input]
    read: Callable[[Input], None]
    names: Sequence[str]
    whole: Sequence[Input]
    refusals: tuple[type, ...] = (BcclError,)
    megabytes: int = 256


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of inputs.

    Attributes:
      name: on the command line and in the table.
      share: of all inputs, in proportion to those of the others.
      prepare: makes its surface in an empty folder.
    """

    name: str
    share: float
    prepare: Callable[[pathlib.Path], Surface]


class Whole(NamedTuple):
    """A well-formed file.

    Attributes:
      content: its bytes.
      form: "json", "json lines", "lines" or "bytes", by which it is changed.
      often: how often it is the one that is changed, in proportion to the others.
      separators: of the fields of a line.
    """

    content: bytes
    form: str = "bytes"
    often: float = 1
    separators: bytes = b" ,\t"


class Files:
    """Well-formed files in a folder, of which one is another one at a time.

    Args:
      root: the folder.
      whole: the files by their paths in it; they are written.
    """

    def __init__(self, root: pathlib.Path, whole: Mapping[str, Whole]):
        self.root, self.whole = root, whole
        self._targets = list(whole)
        self._often = [each.often for each in whole.values()]
        self._others = tuple(each.content for each in whole.values())
        self._changed: str | None = None
        for name, each in whole.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(each.content)

    def unchanged(self) -> list[Input]:
        """Each file as it was written."""
        return [Input(name, each.content) for name, each in self.whole.items()]

    def make(self, rng: random.Random) -> Input:
        """A file of them, changed."""
        target = rng.choices(self._targets, self._often)[0]
        return Input(target, changed(rng, self.whole[target], self._others))

    def put(self, given: Input) -> pathlib.Path:
        """Writes an input in the place of its file; the others are as they were."""
        if self._changed not in (None, given.target):
            (self.root / self._changed).write_bytes(self.whole[self._changed].content)
        path = self.root / given.target
        path.write_bytes(given.content)
        self._changed = given.target
        return path


def changed(rng: random.Random, whole: Whole, others: tuple[bytes, ...] = ()) -> bytes:
    """The content of a file, changed as befits its form in most cases, else byte by byte."""
    if whole.form == "bytes" or rng.random() < 0.3:
        return mutated(rng, whole.content, others)
    if whole.form == "lines":
        return lines_mutated(rng, whole.content, whole.separators)
    if whole.form == "json":
        return odd.as_json(json_mutated(rng, json.loads(whole.content)), rng.choice((None, 1)))
    lines = whole.content.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = odd.as_json(json_mutated(rng, json.loads(lines[at])))
    return b"\n".join(lines) + rng.choice((b"\n", b"\n", b"\n", b""))


def consistent(holds: bool, what: str, *of: Any) -> None:
    """Raises `Inconsistent` where something does not hold of what was read."""
    if not holds:
        raise Inconsistent(f"{what}: {of!r}"[:500])
