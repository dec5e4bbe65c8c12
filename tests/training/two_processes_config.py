"""The digits config shrunk to a convolution and a normalisation, which compile at once."""

import functools

from bccl_jax.models import BACKBONES
from bccl_jax.models.cifar_resnet import CifarResNet
from tests.tiny import tiny_config


def get_config():
    BACKBONES["resnet8"] = functools.partial(CifarResNet, blocks=0)
    config = tiny_config().unlock()
    config.epochs = 5
    config.eval.every_epochs = 3
    config.augment.sim.jitter = (0.0, 0.0, 0.0, 0.0)
    return config
