"""The checks of a configuration that run before anything else."""

import ml_collections
import numpy as np

from bccl_jax import methods
from bccl_jax.augment.views import view_names
from bccl_jax.config import flatten, get_config
from bccl_jax.config.adjustment import check_adjustment
from bccl_jax.config.allowed import check_keys, check_values
from bccl_jax.config.importing import import_files
from bccl_jax.config.sizing import sized, stage_config
from bccl_jax.data import subset
from bccl_jax.data.sampling import SAMPLERS, is_sampler
from bccl_jax.data.split import Dataset, Split
from bccl_jax.data.subset import BalancedSubset
from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method, scheduled
from bccl_jax.optimization.optimizer import OPTIMIZERS
from bccl_jax.settings.bounds import shown
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.system.names import printable

# Steps are counted in 32 bits.
_MOST_STEPS = 2**31 - 1


def validate(config: ml_collections.ConfigDict) -> None:
    """Checks what can be known before any data is read.

    Args:
      config: what `get_config` returns, changed by the user.

    Raises:
      ConfigError: a value cannot work; the message names its key and what to write.
    """
    if isinstance(config, ml_collections.ConfigDict):
        import_files(flatten(config))
    check_keys(config)
    check_values(config)
    # What the data will decide stands in its place.
    config = sized(config, 10_000)
    check_values(config)
    if config.batch_size % config.accumulation or config.batch_size < 2 * config.accumulation:
        raise ConfigError(
            f"config.accumulation is {config.accumulation}, which does not split "
            f"config.batch_size={config.batch_size} into equal parts of at least 2 images"
        )
    _check_optimizer(config.optimizer)
    if config.eval.few_below > config.eval.many_above + 1:
        raise ConfigError(
            f"config.eval.few_below is {config.eval.few_below} and config.eval.many_above "
            f"{config.eval.many_above}, so that a class could be in both groups; lower few_below"
        )
    method = methods.create(config.method)
    method.validate(config.epochs)
    _check_views(config.method.name, method)
    _check_streams(config.method.name, method)
    _check_schedules(config, method)
    _check_unfit(config, method)
    _check_soft_labels(config, method)
    check_adjustment(config, method)


def _check_views(name: str, method: Method) -> None:
    """Checks that the views that a method asks for are there."""
    known = view_names()
    for view in method.views:
        if view not in known:
            raise ConfigError(
                f"config.method.name is {name!r}, which asks for the view {shown(view)}; there are "
                f"{', '.join(known)}{did_you_mean(nearest(view, known)) or methods.of_a_file()}"
            )


def _check_streams(name: str, method: Method) -> None:
    """Checks that what the further streams of a method are drawn by is there."""
    for source in method.streams:
        part = source if isinstance(source, BalancedSubset) else BalancedSubset(sampler=source)
        if not is_sampler(part.sampler):
            raise ConfigError(
                f"config.method.name is {name!r}, which asks for a stream of {shown(part.sampler)};"
                f" there are {', '.join(SAMPLERS)}, and methods.base.BalancedSubset for a part of "
                "its own"
            )
        if not isinstance(part.per_class, int) or part.per_class < 1:
            raise ConfigError(
                f"config.method.name is {name!r}, which asks for a part of {shown(part.per_class)} "
                "images of each class; it must be a whole number of at least 1"
            )


def _check_optimizer(optimizer: ml_collections.ConfigDict) -> None:
    """Checks that no setting was changed that this optimizer does not read."""
    usual = get_config().optimizer
    for other, keys in OPTIMIZERS.items():
        changed = [key for key in keys if optimizer[key] != usual[key]]
        if other != optimizer.name and changed:
            key = changed[0]
            raise ConfigError(
                f"config.optimizer.{key} is {optimizer[key]}, but config.optimizer.name is "
                f"{optimizer.name!r}, which has no {key}; leave it at {usual[key]}, or set "
                f"config.optimizer.name to {other!r}"
            )


def _check_soft_labels(config: ml_collections.ConfigDict, method: Method) -> None:
    """Checks that the method takes the options that soften labels."""
    name, augment = config.method.name, config.augment
    mixes = {f"augment.{key}": augment[key] for key in ("mixup_alpha", "cutmix_alpha")}
    for key, value in {"label_smoothing": config.label_smoothing, **mixes}.items():
        if value and not method.soft_labels:
            raise ConfigError(
                f"config.{key} is {value:g}, but the loss of {name} takes one label of each image "
                "and no shares of classes; leave it at 0"
            )
        if value and key in mixes and not method.mixable:
            others = "choose other views, as config.method.view_set 'strong+sim+sim' has them, or "
            raise ConfigError(
                f"config.{key} is {value:g}, but the view that this {name} classifies is "
                "contrasted too, and a mixed image has no class to be contrasted by; "
                f"{others if 'view_set' in config.method else ''}leave it at 0"
            )
    if augment.mix_probability != 1 and not any(mixes.values()):
        raise ConfigError(
            f"config.augment.mix_probability is {augment.mix_probability:g}, but no image is "
            "mixed; set config.augment.mixup_alpha or config.augment.cutmix_alpha, or leave it at 1"
        )


def _check_unfit(config: ml_collections.ConfigDict, method: Method) -> None:
    """Checks that no option is set that the method cannot go with."""
    if not method.unfit:
        return
    values, usual = flatten(config), flatten(get_config())
    for key, reason in method.unfit.items():
        if key not in values:
            raise ConfigError(
                f"config.method.name is {config.method.name!r}, whose Method.unfit names "
                f"{shown(key)}, which is no key of a config{did_you_mean(nearest(key, values))}"
            )
        if values[key] != usual[key]:
            raise ConfigError(
                f"config.{key} is {shown(values[key])}, but {reason}; leave it at "
                f"{shown(usual[key])}"
            )


def _check_schedules(config: ml_collections.ConfigDict, method: Method) -> None:
    """Checks that learning-rate schedules fit into the stages that they are of."""
    stages = method.stages(config.epochs)
    if sum(stage.epochs for stage in stages) != config.epochs:
        raise ConfigError(
            f"config.method.name is {config.method.name!r}, whose stages of "
            f"{' + '.join(str(stage.epochs) for stage in stages)} epochs are not a run of "
            f"{config.epochs}; Method.stages has to share out config.epochs"
        )
    start_from = config.method.get("start_from")
    if start_from and config.model.pretrained:
        raise ConfigError(
            f"config.method.start_from is {shown(start_from)} and config.model.pretrained "
            f"{shown(config.model.pretrained)}, but a run has one start; leave one of them out"
        )
    for number, stage in enumerate(stages, 1):
        if not stage.epochs and not (start_from or config.model.pretrained):
            key = "model.pretrained" if start_from is None else "method.start_from"
            raise ConfigError(
                f"stage {number} of {len(stages)} of {config.method.name} has no epochs of "
                f"the {config.epochs}, so that nothing was trained before; raise "
                f"{stage.set_by}, or name the run that trained it by config.{key}"
            )
    stages = scheduled(stages)
    for number, stage in enumerate(stages, 1):
        if not stage.epochs:
            continue
        own = stage_config(config, stage)
        length = f"a run of {config.epochs} epochs"
        if len(stages) > 1:
            length = f"stage {number} of {len(stages)}, of {stage.epochs} epochs"
        if own.optimizer.warmup_epochs >= own.epochs:
            raise ConfigError(
                f"config.optimizer.warmup_epochs is {own.optimizer.warmup_epochs} in {length}; "
                "lower it or raise config.epochs"
            )
        steps = own.optimizer.step_epochs
        if own.optimizer.schedule == "step" and steps and not steps[-1] < own.epochs:
            raise ConfigError(
                f"config.optimizer.step_epochs is {shown(tuple(steps))} in {length}; name epochs "
                "within it"
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
    method = methods.create(config.method)
    method.validate_splits(set(dataset.by_role))
    counts = np.bincount(dataset.train.labels, minlength=dataset.num_classes)
    subset.check(method.streams, counts, dataset.train.class_names, config.method.name)
    there = counts > 0
    if config.label_smoothing and method.prior_in_loss and not there.all():
        absent = dataset.train.class_names[int(np.argmin(there))]
        raise ConfigError(
            f"config.label_smoothing is {config.label_smoothing:g}, which gives every class a "
            f"share, but {printable(absent)} has no training image and the loss of "
            f"{config.method.name} has the log of the class prior, so that it would be infinite; "
            "leave it at 0"
        )
    num_train = int(subset.trained_counts(counts, method.streams).sum())
    if config.batch_size > num_train:
        aside = len(dataset.train) - num_train
        aside = f", for {config.method.name} holds {aside} out" if aside else ""
        raise ConfigError(
            f"config.batch_size is {config.batch_size} but {config.data.name} has only "
            f"{num_train} training images{aside}; lower it to at most {num_train}"
        )
    steps = config.epochs * (num_train // config.batch_size)
    if steps > _MOST_STEPS:
        raise ConfigError(
            f"config.epochs is {config.epochs}, which makes {steps:,} steps of batch "
            f"{config.batch_size}; a run has at most {_MOST_STEPS:,}, so lower it"
        )
    if dataset.train.encoded:
        if "plain" in method.views:
            raise ConfigError(
                f"config.method.name is {config.method.name!r}, which asks for the view 'plain'; "
                "photographs have no such crops, choose another method"
            )
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
    validate_against_test(config, dataset.test)
    _check_side(config.augment, None if dataset.train.encoded else dataset.train.images.shape[1])


def validate_against_test(config: ml_collections.ConfigDict, test: Split) -> None:
    """Checks what an evaluation depends on.

    Raises:
      ConfigError: the settings of `augment` leave no crop of photographs.
    """
    if test.encoded and config.augment.eval_resize < config.augment.size:
        raise ConfigError(
            f"config.augment.eval_resize is {config.augment.eval_resize}, which leaves no "
            f"central crop of config.augment.size={config.augment.size}; raise it"
        )


def _check_side(augment: ml_collections.ConfigDict, side: int | None) -> None:
    """Checks the strong view of images in memory, of `side` pixels, or of photographs."""
    size, strong = augment.size, augment.strong
    if side is not None and strong.crop != "resized":
        if size not in (0, side):
            raise ConfigError(
                f"config.augment.size is {size}, but config.augment.strong.crop is "
                f"{strong.crop!r}, which keeps the {side} pixels of an image; write 0, or 'resized'"
            )
        size = side
    size = size or side
    if strong.crop == "padded" and strong.crop_padding >= size:
        raise ConfigError(
            f"config.augment.strong.crop_padding is {strong.crop_padding}, so that a crop of an "
            f"image of {size} pixels may show nothing of it; lower it below {size}"
        )
    if strong.cutout >= 2 * size:
        raise ConfigError(
            f"config.augment.strong.cutout is {strong.cutout}, which covers the whole of an image "
            f"of {size} pixels; lower it below {2 * size}"
        )
