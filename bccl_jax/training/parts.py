"""Parts of a network's parameters, named by their paths."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import traverse_util

from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import NOTHING


def parted(params: Any, paths: tuple[str, ...]) -> tuple[Any, Any]:
    """Parts parameters into those below some paths and the rest.

    Args:
      params: a nested dict of arrays, or anything like it.
      paths: such as "heads_classifier" or "heads_classifier/scale"; none means all, and `NOTHING`
        none.

    Returns:
      Two nested dicts; with no paths the parameters as they are, and nothing.

    Raises:
      ConfigError: there is nothing below a path.
    """
    if not paths:
        return params, {}
    if paths == NOTHING:
        return {}, params
    flat = traverse_util.flatten_dict(params, sep="/")
    chosen = {key: value for key, value in flat.items() if _below(key, paths)}
    for path in paths:
        if not any(_below(key, (path,)) for key in flat):
            raise ConfigError(
                f"a stage names the parameters {path!r}, but there are only "
                f"{', '.join(sorted({key.split('/')[0] for key in flat}))}"
            )
    rest = {key: value for key, value in flat.items() if key not in chosen}
    return tuple(traverse_util.unflatten_dict(part, sep="/") for part in (chosen, rest))


def joined(one: Any, other: Any) -> Any:
    """What `parted` parted, as one again."""
    if not other:
        return one
    shared = one.keys() & other.keys()
    return {**one, **other, **{key: joined(one[key], other[key]) for key in shared}}


def scaled(tree: Any, factors: Mapping[str, float]) -> Any:
    """A nested dict of arrays, those below some paths times a factor each.

    Args:
      tree: like parameters.
      factors: by path.

    Raises:
      ConfigError: there is nothing below a path.
    """
    for path, factor in factors.items():
        chosen, rest = parted(tree, (path,))
        tree = joined(rest, jax.tree.map(lambda x, by=factor: by * x, chosen))
    return tree


def _below(key: str, paths: tuple[str, ...]) -> bool:
    return any(key == path or key.startswith(f"{path}/") for path in paths)
