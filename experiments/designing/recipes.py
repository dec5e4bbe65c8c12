"""The config of each data set."""

import importlib

import ml_collections

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


def get_config(dataset: str, method: str) -> ml_collections.ConfigDict:
    """The config of a data set, a key of `CONFIGS`, with the settings of a method."""
    return importlib.import_module(CONFIGS[dataset]).get_config(method)
