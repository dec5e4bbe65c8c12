"""CIFAR-100-LT with ResNet-32: Table 1 of Kim & Ko 2025, 52.55 / 56.89 / 65.3 % at 100 / 50 / 10.

200 epochs of batch 128, as section 4.1 has it. Needs the original python files: cifar-100-python
below `data/`, or wherever --config.data.dir says. Our figures are in docs/results.md.

    python -m bccl_jax.main --config=cifar100_lt --config.data.imbalance=100
    python -m bccl_jax.main --config=cifar100_lt --config.model.backbone=resnet32x4
    python -m bccl_jax.main --config=cifar100_lt:logit_adjustment
    python -m bccl_jax.main --config=cifar100_lt:bccl,released
    python -m bccl_jax.main --config=cifar100_lt:bcl,published

"released" is what the paper's authors released, which differs from the paper:
docs/paper_and_code.md. "published" gives a compared method its authors' own epochs, batch,
optimizer and views instead of those of BCCL.
"""

from bccl_jax import config as default


def get_config(method="bccl"):
    """Returns the config with the settings of `method`."""
    return default.get_config(method, published=("cifar",))
