"""Your own pictures: a folder of classes, or a CSV file of paths and labels.

    python -m bccl_jax.main --config=folder --config.data.dir=photos
    python -m bccl_jax.main --config=folder --config.data.dir=photos --mode=eval
    python -m bccl_jax.main --config=folder --config.data.dir=photos --mode=inspect

`photos` holds CLASS/*.jpg; or train/ and test/ (and val/) of such folders; or it is a CSV file with
the header path,label or path,label,split. Without a test set a fifth of each class becomes one, the
same every time. docs/datasets.md has the details, such as the keys for splits of other names.

The recipe is that of ImageNet-LT; batch, epochs, learning rate and warm-ups follow the number of
pictures (`bccl_jax/config/sizing.py`). With a few thousand pictures start from ImageNet's weights:
--config.model.pretrained=resnet50-0676ba61.pth. Give each data set a --workdir of its own.
"""

from bccl_jax.config import recipes


def get_config(variant=""):
    """Returns the config of a variant: a method, a backbone, or both."""
    config = recipes.photographs(variant)
    config.data.name = "folder"
    config.data.dir = "photos"
    config.batch_size = 0
    config.epochs = 0
    config.optimizer.learning_rate = 0.0
    # The authors' code warms rate and contrast up over the same ten epochs.
    if config.method.get("preset") != "released":
        config.optimizer.warmup_epochs = -1
        if "num_centroids" in config.method:
            config.method.warmup_epochs = -1
    return config
