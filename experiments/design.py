"""What an experiment is: rows of settings, data sets and seeds, and the runs that they make."""

import dataclasses
import hashlib
import importlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from bccl_jax import config as default
from bccl_jax.errors import ConfigError
from bccl_jax.workdir.agreement import FREE_KEYS

# Data sets by the name that --dataset takes, and the config module of each.
CONFIGS = {
    "cifar10": "configs.cifar10_lt",
    "cifar100": "configs.cifar100_lt",
    "cifar100_middle": "configs.cifar100_middle",
    "cifar100_small": "configs.cifar100_small",
    "digits": "configs.digits_lt",
    "imagenet_lt": "configs.imagenet_lt",
    "inaturalist2018": "configs.inaturalist2018",
}

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
      paper: {(data set, imbalance factor): {"all": top-1 %, ...}} as the paper prints it.
      value: where the row stands on the horizontal axis of a figure.
    """

    name: str
    method: str | None = "bccl"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    paper: Mapping[tuple[str, float], Mapping[str, float]] = dataclasses.field(default_factory=dict)
    value: float | str | None = None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A table, a figure or a study.

    Attributes:
      title: for a person.
      rows: in the order of the table.
      datasets: of the paper, keys of `CONFIGS`.
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
      datasets: in place of the experiment's.
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


# Keys that came after published results, and their values then: they leave the hashes as they were.
_YOUNGER = {
    "label_smoothing": 0.0,
    "data.background": [255, 255, 255],
    "data.sampler": "instance_balanced",
    "augment.mixup_alpha": 0.0,
    "augment.cutmix_alpha": 0.0,
    "augment.mix_probability": 1.0,
    "optimizer.name": "sgd",
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.999,
    "optimizer.epsilon": 1e-8,
    "optimizer.clip_norm": 0.0,
    "optimizer.ema": 0.0,
    "optimizer.sam_rho": 0.0,
    "method.view_set": "strong+sim+sim",
    "method.one_view_counts": False,
    "method.centroid_loss_form": "softmax",
    "method.temperature_start": None,
    "method.temperature_epochs": 0,
    "method.contrastive_ramp_epochs": 0,
    "method.classifier_start": "unit",
    "method.refresh_twice": False,
    "method.queue_max_age": 0,
    "method.kmeans_start": "plus_plus",
    "method.centroids_on_sphere": True,
    "method.projector_start": "kaiming",
    "method.projector_start_scale": 1.0,
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: a row on a data set with a seed.

    Attributes:
      row: name of the row.
      dataset: a key of `CONFIGS`.
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


def hash_of(flat: Mapping[str, Any]) -> str:
    """The hash of a flattened config, but for its seed and `FREE_KEYS`."""
    shaping = {k: v for k, v in flat.items() if k != "seed" and not k.startswith(FREE_KEYS)}
    for key, value in _YOUNGER.items():
        if key in shaping and shaping[key] == value:
            del shaping[key]
    content = json.dumps(shaping, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


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
    for dataset, imbalance in settings(experiment, scale):
        for seed in range(scale.seeds):
            for row in experiment.rows:
                if row.method is not None and _fits(row, dataset, scale):
                    found.append(_cell(experiment, row, dataset, imbalance, seed, scale))
    return found


def settings(experiment: Experiment, scale: Scale) -> list[tuple[str, float]]:
    """The (data set, imbalance factor) pairs that an experiment has at a scale.

    Raises:
      ConfigError: a data set is unknown.
    """
    pairs = []
    for dataset in scale.datasets or experiment.datasets:
        if dataset not in CONFIGS:
            raise ConfigError(f"--dataset={dataset} is unknown; choose of {', '.join(CONFIGS)}")
        own = (get_config(dataset, "bccl").data.imbalance,)
        # A data set that the paper does not have is taken with its own factor.
        usual = experiment.imbalances if dataset in experiment.datasets else ()
        pairs += [(dataset, float(factor)) for factor in scale.imbalances or usual or own]
    return pairs


def get_config(dataset: str, method: str) -> ml_collections.ConfigDict:
    """The config of a data set, a key of `CONFIGS`, with the settings of a method."""
    return importlib.import_module(CONFIGS[dataset]).get_config(method)


def _fits(row: Row, dataset: str, scale: Scale) -> bool:
    if "model.backbone" not in row.changes:
        return True
    return scale.backbone is None and get_config(dataset, "bccl").model.backbone == "resnet32"


def _cell(
    experiment: Experiment, row: Row, dataset: str, imbalance: float, seed: int, scale: Scale
) -> Cell:
    config = get_config(dataset, row.method)
    if scale.epochs is not None:
        shrink(config, scale.epochs)
    if scale.backbone is not None:
        config.model.backbone = scale.backbone
    if scale.data_dir is not None:
        config.data.dir = scale.data_dir
    on_validation = experiment.on_validation
    if scale.on_validation is not None:
        on_validation = scale.on_validation
    if on_validation:
        config.data.validation_fraction = VALIDATION_FRACTION
    config.data.imbalance = imbalance
    config.seed = seed
    if unknown := set(row.changes) - set(default.flatten(config)):
        raise ConfigError(f"row {row.name!r} changes {min(unknown)}, which is no key of {dataset}")
    try:
        config.update_from_flattened_dict(dict(row.changes))
    except TypeError as error:
        raise ConfigError(f"row {row.name!r} does not fit {dataset}: {error}") from error
    full_size = (
        dataset in experiment.datasets and scale.epochs is None and scale.backbone is None
    ) and not on_validation
    return Cell(row.name, dataset, imbalance, seed, config, full_size)


def shrink(config: ml_collections.ConfigDict, epochs: int) -> None:
    """Sets the length of a run, and its warm-ups and step schedule in proportion, in place."""
    share = epochs / config.epochs
    config.optimizer.warmup_epochs = round(config.optimizer.warmup_epochs * share)
    # Not rounded: in a short run two steps would fall on one epoch.
    config.optimizer.step_epochs = tuple(
        int(epoch) if epoch.is_integer() else epoch
        for epoch in (float(f"{epoch * share:.6g}") for epoch in config.optimizer.step_epochs)
    )
    if "warmup_epochs" in config.method:
        # One epoch at least: with none the first centroids would come later, not sooner.
        own = config.method.warmup_epochs
        config.method.warmup_epochs = max(round(own * share), min(own, 1))
    for name in ("temperature_epochs", "contrastive_ramp_epochs"):
        if name in config.method:
            config.method[name] = math.ceil(config.method[name] * share)
    config.epochs = epochs


def at_factors(
    dataset: str, figures: Sequence[float], factors: Sequence[float] = (100.0, 50.0, 10.0)
) -> dict[tuple[str, float], dict[str, float]]:
    """A row's printed top-1 figures by imbalance factor, as `Row.paper` takes them."""
    return {(dataset, f): {"all": figure} for f, figure in zip(factors, figures, strict=True)}
