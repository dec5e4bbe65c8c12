"""ImageNet-LT with ResNet-50: Table 3 of Kim & Ko 2025, 57.1 %.

100 epochs of batch 128, SGD of 0.1 with cosine decay. 115,846 images of 1,000 classes; the best
epoch is chosen on the 20,000 of the validation list, the figure is that of the 50,000 of the test
list. Needs ImageNet's pictures and the lists, as docs/datasets.md says. Not yet run to the end by
us: docs/results.md has what was measured.

    python -m bccl_jax.main --config=imagenet_lt --config.data.dir=imagenet
    python -m bccl_jax.main --config=imagenet_lt:resnext50 --config.data.dir=imagenet
    python -m bccl_jax.main --config=imagenet_lt:cross_entropy,resnext50 ...

On one GPU of 24 GB: --config.model.remat=True. On several: docs/scaling.md.
"""

from bccl_jax.config import recipes


def get_config(variant=""):
    """Returns the config of a variant: a method, a backbone, or both."""
    return recipes.photographs(variant, published=("photographs",))
