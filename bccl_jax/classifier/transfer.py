"""What of another run's network a new one takes over: the backbone, and the heads that fit."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier, create_classifier
from bccl_jax.errors import ConfigError

# Of a network's arrays: "params" or "batch_stats", the backbone or a head, and on.
Path = tuple[str, ...]

# Before the names of heads.
_HEAD = "heads_"
_CLASSIFIER = f"{_HEAD}classifier"


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What is taken over.

    Attributes:
      arrays: by their paths.
      told: a clause that says which heads are kept and which are new.
    """

    arrays: dict[Path, jax.Array]
    told: str


@dataclasses.dataclass(frozen=True)
class _Form:
    """Of an array: its shape, and which axes one class more makes longer, by how much."""

    shape: tuple[int, ...]
    by_class: tuple[tuple[int, int], ...]

    def without(self, axis: int) -> tuple[int, ...]:
        """The lengths of the other axes."""
        return self.shape[:axis] + self.shape[axis + 1 :]


def transfer(params: Any, batch_stats: Any, there: ImageClassifier, here: ImageClassifier):
    """Chooses what a network takes over from another one.

    The backbone always; a head by its name, where its arrays have the same shapes. An array that
    has a part for each class, as a classifier's have, is put together of those of the classes of
    the same names, in whatever order. Where the other network lacks a class of this one the whole
    of such a head is new: beside trained weights the scale of random ones would decide.

    Args:
      params: the other network's parameters, nested dicts.
      batch_stats: its running statistics, nested dicts.
      there: the other network.
      here: the one that starts.

    Returns:
      The `Transfer`.

    Raises:
      ConfigError: the backbones have arrays of other shapes.
    """
    arrays = _flat(params, batch_stats)
    others, mine = _forms(there), _forms(here)
    found = _of_backbone(arrays, mine)
    rows, kept = same_classes(there, here), {}
    for name in sorted({path[1] for path in mine} - {"backbone"}):
        taken = _of_head(name, arrays, others, mine, rows)
        kept[name] = taken is not None
        found |= taken or {}
    return Transfer(found, _told(kept, rows, there, here))


def same_classes(there: ImageClassifier, here: ImageClassifier) -> np.ndarray | None:
    """Which classes of another network the K classes of one are, by their names.

    Args:
      there: the other one.
      here: the one.

    Returns:
      int [K]; None where one is not there. Names that are numbers do not say what a class is, but
      for the same data set, nor a name that two classes have which of them is meant.
    """
    names, others = here.class_names, there.class_names
    if _numbers_alone(there, here):
        return None
    if names == others:
        return np.arange(len(names))
    if len(set(others)) < len(others) or not set(names) <= set(others):
        return None
    return np.array([others.index(name) for name in names])


def _numbers_alone(there: ImageClassifier, here: ImageClassifier) -> bool:
    numbers = all(name.isdecimal() for name in here.class_names)
    return numbers and here.config.data.name != there.config.data.name


def _flat(params: Any, batch_stats: Any) -> dict[Path, Any]:
    return flax.traverse_util.flatten_dict({"params": params, "batch_stats": batch_stats})


def _forms(classifier: ImageClassifier) -> dict[Path, _Form]:
    """Of all arrays of a network."""
    counts = classifier.class_counts
    wider = create_classifier(
        classifier.config,
        (*classifier.class_names, ""),
        np.append(counts, counts.max()),
        classifier.image_shape,
        classifier.mesh,
    )
    now, then = (
        _flat(of.abstract_variables.params, of.abstract_variables.batch_stats)
        for of in (classifier, wider)
    )
    return {
        path: _Form(array.shape, _longer(array.shape, then[path].shape))
        for path, array in now.items()
    }


def _longer(shape: Sequence[int], other: Sequence[int]) -> tuple[tuple[int, int], ...]:
    both = enumerate(zip(shape, other, strict=True))
    return tuple((axis, more - length) for axis, (length, more) in both if more != length)


def _of_backbone(arrays: Mapping[Path, jax.Array], mine: Mapping[Path, _Form]) -> dict:
    there = {path: array for path, array in arrays.items() if path[1] == "backbone"}
    here = {path: form.shape for path, form in mine.items() if path[1] == "backbone"}
    for path in sorted({*there, *here}):
        theirs, ours = there[path].shape if path in there else None, here.get(path)
        if theirs != ours:
            raise ConfigError(
                f"its backbone has other arrays than this run's, {'/'.join(path[2:])} is "
                f"{_shown(theirs)} there and {_shown(ours)} here"
            )
    return there


def _shown(shape: Sequence[int] | None) -> str:
    return "missing" if shape is None else str(list(shape))


def _of_head(
    name: str,
    arrays: Mapping[Path, jax.Array],
    others: Mapping[Path, _Form],
    mine: Mapping[Path, _Form],
    rows: np.ndarray | None,
) -> dict[Path, jax.Array] | None:
    """What a head takes over; None where the other one's does not fit."""
    moved = _places(name, others, mine)
    if not moved:
        return None
    found = {}
    for place, path in moved.items():
        array, theirs, ours = arrays[path], others[path], mine[place]
        if theirs.by_class != ours.by_class:
            return None
        if not ours.by_class:
            fits = array.shape == ours.shape
        else:
            ((axis, each),) = ours.by_class[:1]
            fits = rows is not None and len(ours.by_class) == 1 and each == 1
            fits = fits and theirs.without(axis) == ours.without(axis)
        if not fits:
            return None
        found[place] = jnp.take(array, rows, axis) if ours.by_class else array
    return found


def _places(
    name: str, others: Mapping[Path, _Form], mine: Mapping[Path, _Form]
) -> dict[Path, Path] | None:
    """Where the arrays of the other one's head go: into the head, or into what it is around.

    One of learned scales is around a classifier, which it takes over.
    """
    there, here = (
        [path for path in forms if path[1] == name and path[0] == "params"]
        for forms in (others, mine)
    )
    for inner in ((), *sorted({path[2:3] for path in here})):
        within = {path for path in here if path[2 : 2 + len(inner)] == inner}
        moved = {(*path[:2], *inner, *path[2:]): path for path in there}
        if moved.keys() == within:
            statistics = [path for path in mine if path[:2] == ("batch_stats", name)]
            if inner and statistics or not set(statistics) <= others.keys():
                return None
            return moved | {path: path for path in statistics}
    return None


def _told(
    kept: Mapping[str, bool],
    rows: np.ndarray | None,
    there: ImageClassifier,
    here: ImageClassifier,
) -> str:
    number, total = len(here.class_names), len(there.class_names)
    if kept[_CLASSIFIER]:
        which = f"{number} classes of the same names"
        first = (
            f"classifier kept, {which if number == total else f'{number} of its {total} classes'}"
        )
    elif rows is not None:
        first = "classifier new: it is of another kind there"
    elif _numbers_alone(there, here):
        first = "classifier new: numbers of another data set do not name its classes"
    else:
        same = len(set(here.class_names) & set(there.class_names))
        first = f"classifier new: {same} of {number} classes are the same"
    heads = {name.removeprefix(_HEAD): fits for name, fits in kept.items() if name != _CLASSIFIER}
    return ", ".join([first, *(f"{name} {'kept' if f else 'new'}" for name, f in heads.items())])
