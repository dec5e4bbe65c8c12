"""All of CIFAR-100-LT at 16 pixels: where settings are chosen, between small and full size.

Every class of CIFAR-100, images halved by averaging, ResNet-8, 75 epochs of batch 128; padding,
Cutout and warm-ups in proportion, SimAugment's crops of a quarter of the picture at least. All else
is the recipe of CIFAR-100-LT. A run takes about a quarter of an hour on one core.

    python -m bccl_jax.main --config=cifar100_middle
    python -m experiments.run classifier --dataset=cifar100_middle --seeds=3
"""

from bccl_jax import config as default


def get_config(method="bccl"):
    """Returns the config with the settings of `method`, such as "bccl" or "bccl,released"."""
    config = default.get_config(method)
    config.data.pixels = 16
    config.epochs = 75
    config.model.backbone = "resnet8"
    config.augment.strong.crop_padding = 2
    config.augment.strong.cutout = 8
    config.augment.sim.scale = (0.25, 1.0)
    config.optimizer.warmup_epochs = round(config.optimizer.warmup_epochs * 75 / 200)
    # A step takes a fifth of a second on a core.
    config.engine = "scan"
    if "num_centroids" in config.method:
        config.method.warmup_epochs = round(config.method.warmup_epochs * 75 / 200)
    if config.method.name == "sbcl":
        config.method.warmup_epochs = round(config.method.warmup_epochs * 75 / 200)
    if config.method.name in ("gcl", "sbcl"):
        config.method.refit_epochs = round(config.method.refit_epochs * 75 / 200)
    return config
