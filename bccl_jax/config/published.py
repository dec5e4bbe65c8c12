"""Recipes of the compared methods: the harness's for all, or each method's own."""

from collections.abc import Mapping, Sequence
from typing import Any

from bccl_jax import methods
from bccl_jax.errors import ConfigError

# Config files of the data sets that methods have recipes for.
_FILES = "cifar10_lt.py, cifar100_lt.py, imagenet_lt.py and inaturalist2018.py"


def published_recipe(method: str, kinds: Sequence[str]) -> Mapping[str, Any]:
    """What a method's own recipe changes in the harness's, by flat config key.

    Args:
      method: its name.
      kinds: what the data is, such as ("inaturalist2018", "photographs"); the first that the method
        has a recipe for counts.

    Raises:
      ConfigError: it has none for this data.
    """
    for kind in kinds:
        if kind in method_recipes(method):
            return method_recipes(method)[kind]
    if not kinds:
        raise ConfigError(
            f"'{method},published' is the recipe of its authors, which is for the data sets that "
            f"they trained on: {_FILES}; write {method} here"
        )
    raise ConfigError(
        f"{method} has no published recipe for {kinds[-1]}, only for "
        f"{', '.join(method_recipes(method))}; write {method} here"
    )


def own_settings(method: str, kinds: Sequence[str]) -> dict[str, Any]:
    """The settings of the method itself that its published recipe changes for such data.

    They belong to the method and not to the budget, so that the harness's recipe has them too.

    Args:
      method: its name.
      kinds: see `published_recipe`.

    Returns:
      Values by flat config key, all of them "method.NAME"; none where there is no recipe.
    """
    for kind in kinds:
        recipe = method_recipes(method).get(kind, {})
        if recipe:
            return {key: value for key, value in recipe.items() if key.startswith("method.")}
    return {}


def method_recipes(method: str) -> Mapping[str, Mapping[str, Any]]:
    """The recipes of a method by what they are for; see `Method.published`."""
    return methods.method_class(method).published
