"""What PyTorch calls the arrays of our backbones, and how it lays them out.

ResNet-50 and ResNeXt-50 have torchvision's names. The networks for small images have those of the
field's `ResNet_s` (Cao et al. 2019), whose last layer is called "linear". The layers are the same
ones; nothing but names and the order of axes differs.
"""

from typing import Any

import flax.linen as nn
import flax.traverse_util
import numpy as np

from bccl_jax.models.cifar_resnet import CifarResNet
from bccl_jax.models.imagenet_resnet import ImageNetResNet, blocks

# Our modules, within the backbone and within a block.
_MODULES = {
    "Conv_0": "conv1",
    "Conv_1": "conv2",
    "Conv_2": "conv3",
    "BatchNorm_0": "bn1",
    "BatchNorm_1": "bn2",
    "BatchNorm_2": "bn3",
    "shortcut_conv": "downsample.0",
    "shortcut_norm": "downsample.1",
}
_ARRAYS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_BLOCKS = ("Bottleneck_", "BasicBlock_")
# By the number of axes: PyTorch has O, I, height, width and O, I where Flax has height, width, I, O
# and I, O.
FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}

Known = CifarResNet | ImageNetResNet


def is_known(backbone: nn.Module) -> bool:
    """Whether PyTorch has a network of the same layers."""
    return type(backbone) in (CifarResNet, ImageNetResNet)


def last_layer_name(backbone: Known) -> str:
    """What PyTorch's network calls the layer over the features."""
    return "fc" if isinstance(backbone, ImageNetResNet) else "linear"


def torch_name(path: tuple[str, ...], backbone: Known) -> str:
    """What PyTorch calls an array.

    Args:
      path: of the array within the backbone's variables, without their collection, such as
        ("Bottleneck_3", "Conv_0", "kernel").
      backbone: the module, one that `is_known`.

    Returns:
      The name, such as "layer2.0.conv1.weight".
    """
    *modules, array = path
    parts = []
    for kind in _BLOCKS:
        if modules[0].startswith(kind):
            stage, block = _block(int(modules.pop(0).removeprefix(kind)), backbone)
            parts += [f"layer{stage + 1}", str(block)]
    return ".".join([*parts, _MODULES[modules[0]], _ARRAYS[array]])


def to_torch(variables: Any, backbone: Known) -> dict[str, np.ndarray]:
    """The variables of a backbone as a state dict of PyTorch's, without counters of batches.

    Args:
      variables: {"params": ..., "batch_stats": ...} of the backbone, on the host.
      backbone: the module, one that `is_known`.

    Returns:
      Arrays by their names, float32, C-contiguous.
    """
    return {
        torch_name(path[1:], backbone): np.ascontiguousarray(
            np.asarray(array).transpose(TO_TORCH[np.ndim(array)]), np.float32
        )
        for path, array in flax.traverse_util.flatten_dict(variables).items()
    }


def _block(number: int, backbone: Known) -> tuple[int, int]:
    """Stage and place within it, both from 0."""
    if isinstance(backbone, CifarResNet):
        return divmod(number, backbone.blocks)
    return blocks(backbone.stage_sizes)[number]
