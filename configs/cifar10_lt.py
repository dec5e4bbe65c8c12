"""CIFAR-10-LT with ResNet-32: Table 1 of Kim & Ko 2025, 85.22 / 88.07 / 91.92 % at 100 / 50 / 10.

200 epochs of batch 128, as section 4.1 has it. Needs the original python files:
cifar-10-batches-py below `data/`, or wherever --config.data.dir says.

    python -m bccl_jax.main --config=cifar10_lt --config.data.imbalance=100
"""

from bccl_jax import config as default


def get_config(method="bccl"):
    """Returns the config with the settings of `method`."""
    config = default.get_config(method, published=("cifar10", "cifar"))
    config.data.name = "cifar10"
    return config
