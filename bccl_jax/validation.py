"""The checks of a configuration that run before anything else."""

import math

import ml_collections

from bccl_jax import methods
from bccl_jax.augment.views import CROPS, STRONG_POLICIES
from bccl_jax.config import flatten
from bccl_jax.data.sources import DATASETS, SOURCES
from bccl_jax.data.split import Dataset
from bccl_jax.errors import ConfigError
from bccl_jax.models import BACKBONES
from bccl_jax.sizing import sized

SCHEDULES = ("cosine", "step", "constant")
BATCH_NORMS = ("global", "device")
ENGINES = ("auto", "scan", "loop")


def validate(config: ml_collections.ConfigDict) -> None:
    """Checks what can be known before any data is read.

    Args:
      config: what `get_config` returns, changed by the user.

    Raises:
      ConfigError: a value cannot work; the message names its key and what to write.
    """
    # What the data will decide stands in its place.
    config = sized(config, 10_000)
    for key, known in {
        "dtype": ("float32", "bfloat16"),
        "engine": ENGINES,
        "data.name": DATASETS,
        "data.source": SOURCES,
        "augment.strong.crop": CROPS,
        "augment.strong.policy": STRONG_POLICIES,
        "model.backbone": BACKBONES,
        "model.batch_norm": BATCH_NORMS,
        "optimizer.schedule": SCHEDULES,
    }.items():
        if _value(config, key) not in known:
            raise ConfigError(
                f"config.{key} is {_value(config, key)!r}; choose one of {', '.join(known)}"
            )
    for key, value in flatten(config).items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise ConfigError(f"config.{key} is {value}; it must be finite")
    for key, lowest in {
        "seed": 0,
        "epochs": 1,
        "accumulation": 1,
        "devices": 0,
        # Batch normalisation and contrast both need another image to compare with.
        "batch_size": 2,
        "data.imbalance": 0,
        "data.classes": 0,
        "data.pixels": 0,
        "data.subset_seed": 0,
        "data.workers": -1,
        "data.threads": 1,
        "augment.size": 0,
        "augment.eval_resize": 0,
        "augment.strong.crop_padding": 0,
        "augment.strong.num_ops": 1,
        "augment.strong.magnitude": 0,
        "augment.strong.magnitude_std": 0,
        "augment.strong.cutout": 0,
        "optimizer.learning_rate": 0,
        "optimizer.warmup_epochs": 0,
        "optimizer.weight_decay": 0,
        "eval.every_epochs": 1,
        "eval.batch_size": 1,
        "eval.many_above": 0,
        "eval.few_below": 0,
        "eval.calibration_bins": 1,
        "checkpoint.every_epochs": 1,
        "checkpoint.every_steps": 0,
    }.items():
        if not _value(config, key) >= lowest:
            raise ConfigError(
                f"config.{key} is {_value(config, key)}; it must be at least {lowest}"
            )
    for key in (
        "augment.sim.jitter_prob",
        "augment.sim.grayscale_prob",
        "augment.sim.blur_prob",
        "optimizer.momentum",
        "data.max_broken",
    ):
        if not 0 <= _value(config, key) <= 1:
            raise ConfigError(f"config.{key} is {_value(config, key)}; it must lie in 0 to 1")
    ground = config.data.background
    levels = [level for level in ground if isinstance(level, int) and 0 <= level <= 255]
    if not len(levels) == len(ground) == 3:
        raise ConfigError(
            f"config.data.background is {ground}; it takes red, green and blue, whole numbers from "
            "0 to 255"
        )
    for key in ("data.validation_fraction", "data.test_fraction"):
        if not 0 <= _value(config, key) < 1:
            raise ConfigError(
                f"config.{key} is {_value(config, key)}; it must be at least 0 and below 1"
            )
    if 0 < config.data.imbalance < 1:
        raise ConfigError(
            f"config.data.imbalance is {config.data.imbalance}; it must be at least 1, which is "
            "balanced, or 0, which takes the training split as it is"
        )
    if config.batch_size % config.accumulation or config.batch_size < 2 * config.accumulation:
        raise ConfigError(
            f"config.accumulation is {config.accumulation}, which does not split "
            f"config.batch_size={config.batch_size} into equal parts of at least 2 images"
        )
    _validate_augment(config.augment)
    if config.optimizer.warmup_epochs >= config.epochs:
        raise ConfigError(
            f"config.optimizer.warmup_epochs is {config.optimizer.warmup_epochs} in a run of "
            f"{config.epochs} epochs; lower it or raise config.epochs"
        )
    if config.eval.few_below > config.eval.many_above + 1:
        raise ConfigError(
            f"config.eval.few_below is {config.eval.few_below} and config.eval.many_above "
            f"{config.eval.many_above}, so that a class could be in both groups; lower few_below"
        )
    method = methods.create(config.method)
    method.validate(config.epochs)
    if config.eval.logit_adjustment and method.prior_in_loss:
        raise ConfigError(
            f"config.eval.logit_adjustment is {config.eval.logit_adjustment:g}, but the loss of "
            f"this {config.method.name} run has the class prior in it already, which would be "
            "corrected twice; leave it at 0 (it is for cross_entropy)"
        )


def _validate_augment(augment: ml_collections.ConfigDict) -> None:
    lengths = {"mean": 3, "std": 3, "strong.jitter": 4, "strong.fill": 3, "sim.jitter": 4}
    for key, length in lengths.items():
        if len(_value(augment, key)) != length or min(_value(augment, key)) < 0:
            raise ConfigError(
                f"config.augment.{key} is {_value(augment, key)}; "
                f"it takes {length} numbers that are not negative"
            )
    if min(augment.std) <= 0:
        raise ConfigError(f"config.augment.std is {augment.std}; each must be above 0")
    for key in ("strong.scale", "strong.ratio", "sim.scale", "sim.ratio", "sim.blur_sigma"):
        low_high = _value(augment, key)
        if len(low_high) != 2 or not 0 < low_high[0] <= low_high[1]:
            raise ConfigError(
                f"config.augment.{key} is {low_high}; it takes two numbers, 0 < low <= high"
            )
    for view in ("strong", "sim"):
        if augment[view].scale[1] > 1:
            raise ConfigError(
                f"config.augment.{view}.scale is {augment[view].scale}; a crop covers at most 1"
            )


def validate_against_data(config: ml_collections.ConfigDict, dataset: Dataset) -> None:
    """Checks what depends on the data.

    Args:
      config: a config that `validate` accepts, sized to the data.
      dataset: what it names.

    Raises:
      ConfigError: the batch is larger than the training split, or the settings are for images of
        another kind.
    """
    validate(config)
    num_train = len(dataset.train)
    if config.batch_size > num_train:
        raise ConfigError(
            f"config.batch_size is {config.batch_size} but {config.data.name} has only "
            f"{num_train} training images; lower it to at most {num_train}"
        )
    if dataset.train.encoded:
        if not config.augment.size:
            raise ConfigError(
                "config.augment.size is 0, but photographs need the side of their crops in "
                "pixels; write 224, for example"
            )
        if config.augment.strong.crop != "resized":
            raise ConfigError(
                f"config.augment.strong.crop is {config.augment.strong.crop!r}, but a crop of a "
                "photograph has to be 'resized'"
            )
        if config.augment.eval_resize < config.augment.size:
            raise ConfigError(
                f"config.augment.eval_resize is {config.augment.eval_resize}, which leaves no "
                f"central crop of config.augment.size={config.augment.size}; raise it"
            )


def _value(config, dotted_key):
    for part in dotted_key.split("."):
        config = config[part]
    return config
