"""Places-LT with ResNet-50: not in the paper of BCCL; the recipe is that of ImageNet-LT.

62,500 images of 365 classes; the best epoch is chosen on the 7,300 of the validation list, the
figure is that of the 36,500 of the test list. The field starts from ImageNet's weights and trains
for 30 epochs, mostly a ResNet-152, so that figures from random weights compare with none of its.
Needs the pictures and the lists, as docs/datasets.md says. Not yet run by us.

    python -m bccl_jax.main --config=places_lt --config.data.dir=places
    python -m bccl_jax.main --config=places_lt --config.model.pretrained=resnet50.pth ...
"""

from bccl_jax.config import recipes


def get_config(variant=""):
    """Returns the config of a variant: a method, a backbone, or both."""
    return recipes.photographs(variant, {"data.name": "places_lt"})
