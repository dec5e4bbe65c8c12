"""Tiny-ImageNet-LT: the whole path of ImageNet-LT, from lists to figures, at 64 pixels.

7,457 images of 200 classes, 150 down to 3 of each; 2,000 to test on. Not in the paper of BCCL: it
is here to try that recipe on a small machine. Needs the pictures and the lists train_lt.txt and
val.txt, as docs/datasets.md says. What we measured is in docs/results.md.

    python -m bccl_jax.main --config=tiny_imagenet_lt --config.data.dir=tiny-imagenet-200
"""

from bccl_jax.config import recipes


def get_config(variant=""):
    """Returns the config of a variant: a method, a backbone, or both."""
    changes = {"data.name": "tiny_imagenet_lt", "augment.size": 64, "augment.eval_resize": 64}
    return recipes.photographs(variant, changes)
