from experiments.designing.design import Cell
from experiments.designing.recipes import get_config


def digits(*seeds):
    config = get_config("digits", "bccl")
    return [Cell("BCCL", "digits", 20.0, seed, config, False) for seed in seeds]
