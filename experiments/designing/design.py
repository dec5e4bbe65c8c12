"""What an experiment is: rows of settings, data sets and seeds, and the runs that they make."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_collections

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config.remembering import files_of
from bccl_jax.errors import ConfigError

from .hashing import hash_of
from .lengths import shrink
from .recipes import Recipe, find

# The share of each class that is set aside where a study chooses settings.
VALIDATION_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table: a method and the settings that make it.

    Attributes:
      name: what the table calls it.
      method: of the harness, maybe with a preset, as in "bccl,released"; None where it has none
        yet, so that the row is shown as missing.
      changes: {config key: value} on top of the data set's config.
      scaled: {config key: factor}: numbers that are a multiple of what that config has, or of what
        the method's preset has where it leaves them to that.
      paper: {(data set, imbalance factor): {"all": top-1 %, ...}} as the paper prints it.
      value: where the row stands on the horizontal axis of a figure.
    """

    name: str
    method: str | None = "bccl"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scaled: Mapping[str, float] = dataclasses.field(default_factory=dict)
    paper: Mapping[tuple[str, float], Mapping[str, float]] = dataclasses.field(default_factory=dict)
    value: float | str | None = None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A table, a figure or a study.

    Attributes:
      title: for a person.
      rows: in the order of the table.
      datasets: of the paper, keys of `recipes.CONFIGS`.
      imbalances: imbalance factors of the paper; empty keeps the config's own.
      reference: name of the row that the others are tested against.
      on_validation: whether a part of the training split takes the test split's place, as in every
        study that chooses settings.
      axis: what a figure's horizontal axis is called; "" for a table.
    """

    title: str
    rows: tuple[Row, ...]
    datasets: tuple[str, ...] = ("cifar100",)
    imbalances: tuple[float, ...] = (100.0,)
    reference: str = "BCCL"
    on_validation: bool = False
    axis: str = ""

    def __post_init__(self):
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names) or self.reference not in names:
            raise ValueError(f"{self.title}: names of rows repeat or lack {self.reference!r}")


@dataclasses.dataclass(frozen=True)
class Scale:
    """What the command line changes of an experiment; None and () keep its own.

    Attributes:
      seeds: 0 to `seeds` - 1 are run.
      datasets: in place of the experiment's, as `recipes.find` takes them.
      imbalances: in place of the experiment's.
      epochs: of every run; warm-ups and step schedules shrink in proportion.
      backbone: of every run.
      data_dir: where the data lies.
      on_validation: in place of the experiment's.
    """

    seeds: int = 3
    datasets: tuple[str, ...] = ()
    imbalances: tuple[float, ...] = ()
    epochs: int | None = None
    backbone: str | None = None
    data_dir: str | None = None
    on_validation: bool | None = None


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: a row on a data set with a seed.

    Attributes:
      row: name of the row.
      dataset: the label of its recipe.
      imbalance: the imbalance factor.
      seed: of the run.
      config: of the run, the seed in it.
      full_size: whether data set, backbone and epochs are the paper's.
      config_hash: of everything but the seed and what does not shape a run.
    """

    row: str
    dataset: str
    imbalance: float
    seed: int
    config: ml_collections.ConfigDict
    full_size: bool

    @property
    def config_hash(self) -> str:
        """Twelve hexadecimal digits; runs of one row that differ by seed alone share them."""
        return hash_of(default.flatten(self.config))


def cells(experiment: Experiment, scale: Scale) -> list[Cell]:
    """The runs of an experiment, the most informative first.

    All rows at the first imbalance factor with one seed come first, then its other seeds, then the
    other factors, then the other data sets.

    Args:
      experiment: what to run.
      scale: how far.

    Returns:
      The cells; rows that the harness has no method for have none, and neither have rows with a
      backbone of their own where the scale sets another.

    Raises:
      ConfigError: a data set is unknown, or a row's settings do not fit its config.
    """
    found = []
    for recipe, imbalance in settings(experiment, scale):
        for seed in range(scale.seeds):
            for row in experiment.rows:
                if row.method is not None and _fits(row, recipe, scale):
                    found.append(_cell(experiment, row, recipe, imbalance, seed, scale))
    return found


def settings(experiment: Experiment, scale: Scale) -> list[tuple[Recipe, float]]:
    """The (recipe, imbalance factor) pairs that an experiment has at a scale.

    Raises:
      ConfigError: a data set is unknown, or its config file cannot be used.
    """
    pairs = []
    asked = scale.datasets or experiment.datasets
    for recipe in dict.fromkeys(find(dataset, scale.data_dir) for dataset in asked):
        own = (recipe.config("bccl").data.imbalance,)
        # A data set that the paper does not have is taken with its own factor.
        usual = experiment.imbalances if recipe.label in experiment.datasets else ()
        pairs += [(recipe, float(factor)) for factor in scale.imbalances or usual or own]
    return pairs


def _fits(row: Row, recipe: Recipe, scale: Scale) -> bool:
    if "model.backbone" not in row.changes:
        return True
    return scale.backbone is None and recipe.config("bccl").model.backbone == "resnet32"


def _cell(
    experiment: Experiment, row: Row, recipe: Recipe, imbalance: float, seed: int, scale: Scale
) -> Cell:
    config, dataset = recipe.config(row.method), recipe.label
    if scale.backbone is not None:
        config.model.backbone = scale.backbone
        # The process that trains the run has not read the data set's config file.
        config.imports = files_of(config)
    on_validation = experiment.on_validation
    if scale.on_validation is not None:
        on_validation = scale.on_validation
    if on_validation:
        config.data.validation_fraction = VALIDATION_FRACTION
    config.data.imbalance = imbalance
    config.seed = seed
    there = default.flatten(config)
    if unknown := (set(row.changes) | set(row.scaled)) - set(there):
        raise ConfigError(f"row {row.name!r} changes {min(unknown)}, which is no key of {dataset}")
    multiples = {
        key: factor * _own(config, key, there[key], row) for key, factor in row.scaled.items()
    }
    try:
        config.update_from_flattened_dict({**row.changes, **multiples})
    except TypeError as error:
        raise ConfigError(f"row {row.name!r} does not fit {dataset}: {error}") from error
    if scale.epochs is not None:
        # What a row sets, such as a warm-up, is of a whole run too.
        shrink(config, scale.epochs)
    full_size = (
        dataset in experiment.datasets and scale.epochs is None and scale.backbone is None
    ) and not on_validation
    return Cell(row.name, dataset, imbalance, seed, config, full_size)


def _own(config: ml_collections.ConfigDict, key: str, value: Any, row: Row) -> float:
    """The number that a config has at a key, or that its method's preset has for it.

    Raises:
      ConfigError: there is none to multiply.
    """
    if value is None and key.startswith("method."):
        value = getattr(methods.create(config.method), key.removeprefix("method."))
    if not value:
        raise ConfigError(
            f"row {row.name!r} has a multiple of config.{key}, which is {value} for this data set, "
            "so that it would be no other run; name a config file of yours that sets it with "
            "--dataset"
        )
    return value
