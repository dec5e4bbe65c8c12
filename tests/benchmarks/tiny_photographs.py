"""The recipe of photographs, shrunk to what compiles in seconds."""

from bccl_jax.config import recipes


def get_config(variant=""):
    config = recipes.photographs(variant)
    config.model.backbone = "resnet8"
    config.augment.size = 8
    config.augment.strong.policy = "none"
    config.batch_size = 4
    config.epochs = 20
    if config.method.name == "bccl":
        config.method.projector_hidden = 16
        config.method.projector_dim = 8
    return config
