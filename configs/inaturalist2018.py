"""iNaturalist 2018 with ResNet-50: Table 3 of Kim & Ko 2025, 72.3 %.

100 epochs of batch 128, as ImageNet-LT, with a weight decay of 1e-4. 437,513 images of 8,142
classes; the 24,426 of the validation list are the test split, as in all the field. Needs the
pictures and the lists, as docs/datasets.md says. Not yet run by us.

    python -m bccl_jax.main --config=inaturalist2018 --config.data.dir=inat2018

The queue of 8,142 x 64 embeddings of 2,048 numbers takes 2.1 GB in bfloat16, the centroids 0.33 GB:
docs/scaling.md has the whole account and how devices share them. On one GPU of 24 GB:
--config.model.remat=True.
"""

from bccl_jax.config import recipes


def get_config(variant=""):
    """Returns the config of a variant: a method, a backbone, or both."""
    changes = {
        "data.name": "inaturalist2018",
        # BCL's figures for this data set.
        "augment.mean": (0.466, 0.471, 0.380),
        "augment.std": (0.195, 0.194, 0.192),
        "optimizer.weight_decay": 1e-4,
        # An epoch takes hours on one device.
        "checkpoint.every_steps": 500,
    }
    config = recipes.photographs(variant, changes, published=("inaturalist2018",))
    if "num_centroids" in config.method:
        config.method.queue_dtype = "bfloat16"
    return config
