"""The numbers of a recipe that follow others: the size of the data, the size of the crops."""

import math

import ml_collections

from bccl_jax import methods
from bccl_jax.data.split import Split
from bccl_jax.methods.base import Stage


def sized(config: ml_collections.ConfigDict, num_train: int) -> ml_collections.ConfigDict:
    """Fills in what a config leaves to the size of the training split.

    - `batch_size` 0: about 20 steps an epoch, a power of two from 8 to 128.
    - `epochs` 0: about two million images in all, from 100 to 200 epochs; the paper's recipes have
      2.2 million on CIFAR-100-LT and 100 epochs on ImageNet-LT.
    - `epochs` where the method's first stage is another run's (`method.start_from`): those of the
      others.
    - `augment.eval_resize` 0: 256 / 224 of `augment.size`.
    - `optimizer.learning_rate` 0: 0.1 of SGD and 0.001 of AdamW at a batch of 128, in proportion to
      the batch.
    - `optimizer.warmup_epochs` and `method.warmup_epochs` below 0: 5 and a tenth of the epochs, as
      long as the run lasts longer.

    Args:
      config: any config.
      num_train: images of the training split.

    Returns:
      A copy without such gaps; the config itself where there are none.
    """
    warms_up = "warmup_epochs" in config.method
    started = bool(config.method.get("start_from"))
    gaps = (
        config.batch_size == 0
        or config.epochs == 0
        or started
        or config.optimizer.learning_rate == 0
        or (config.augment.size and config.augment.eval_resize == 0)
        or config.optimizer.warmup_epochs < 0
        or (warms_up and config.method.warmup_epochs < 0)
    )
    if not gaps:
        return config
    if isinstance(config, ml_collections.FrozenConfigDict):
        config = ml_collections.ConfigDict(config)
    config = config.copy_and_resolve_references()
    if config.batch_size == 0:
        power = int(math.log2(max(num_train / 20, 1)))
        config.batch_size = min(max(2**power, 8), 128, max(num_train, 2))
    if config.epochs == 0:
        config.epochs = min(max(2_000_000 // num_train, 100), 200)
    if started:
        config.epochs = methods.create(config.method).trained_epochs(config.epochs)
    if config.augment.eval_resize == 0:
        config.augment.eval_resize = round(config.augment.size * 256 / 224)
    if config.optimizer.learning_rate == 0:
        usual = 0.001 if config.optimizer.name == "adamw" else 0.1
        # A config file may have written the 0 as a whole number.
        with config.optimizer.ignore_type():
            config.optimizer.learning_rate = usual * config.batch_size / 128
    if config.optimizer.warmup_epochs < 0:
        config.optimizer.warmup_epochs = min(5, config.epochs // 4)
    if warms_up and config.method.warmup_epochs < 0:
        config.method.warmup_epochs = min(max(config.epochs // 10, 1), config.epochs - 1)
    return config


def stage_config(config: ml_collections.ConfigDict, stage: Stage) -> ml_collections.ConfigDict:
    """The config of a stage: its epochs, and its optimizer's settings in the place of the run's.

    Args:
      config: of the run, sized.
      stage: of its method.

    Returns:
      A copy; the config itself for a stage that is the run.
    """
    if stage.epochs == config.epochs and not stage.optimizer and stage.rate_factor == 1:
        return config
    config = ml_collections.ConfigDict(config).copy_and_resolve_references()
    # One that is left out is built nevertheless, with a schedule that no step asks.
    config.epochs = max(stage.epochs, 1)
    if not stage.epochs:
        config.optimizer.warmup_epochs, config.optimizer.step_epochs = 0, ()
    with config.optimizer.ignore_type():
        config.optimizer.learning_rate *= stage.rate_factor
        config.optimizer.update(stage.optimizer)
    return config


def image_shape(config: ml_collections.ConfigDict, split: Split) -> tuple[int, int, int]:
    """(H, W, 3) of what a network sees of the images of a split, which a config is sized to."""
    if split.encoded:
        return config.augment.size, config.augment.size, 3
    return tuple(split.images.shape[1:])
