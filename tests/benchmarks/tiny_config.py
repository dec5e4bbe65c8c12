"""The digits config without what takes long to compile: no jitter, no policy, small heads."""

from tests.tiny import tiny_config


def get_config(method="bccl"):
    config = tiny_config(method).unlock()
    config.augment.strong.cutout = 0
    return config
