"""Published weights, of torchvision or timm, as variables of our backbones.

torchvision and we have the same layers under other names, with axes in another order; nothing else
differs, so that a converted network gives the same features. timm's "resnet50" and
"resnext50_32x4d" have torchvision's names; its variants with another stem or other shortcuts have
others and are refused.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from bccl_jax.errors import ConfigError, DataError
from bccl_jax.models import BACKBONES, create_backbone, module_class
from bccl_jax.models.imagenet_resnet import ImageNetResNet
from bccl_jax.models.torch_names import FROM_TORCH, TO_TORCH, torch_name
from bccl_jax.settings.bounds import shown

# Of ImageNet, by which the images of nearly all published weights are normalised.
COLORS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# Where training scripts put the state dict among what else they save.
_WITHIN = ("state_dict", "model")
_BROKEN = "it is no safetensors file or a part of one is missing; copy or download it again"


def check_file(path: str | pathlib.Path, backbone: str) -> None:
    """Checks what can be known of a file of weights without reading them.

    Args:
      path: as `load` takes it.
      backbone: the same.

    Raises:
      ConfigError: no such weights are there for that backbone.
      DataError: there is no such file, or its end is missing.
    """
    path = pathlib.Path(path)
    named = f"config.model.pretrained names {path}, which"
    if not path.is_file():
        raise DataError(f"{named} is not there; name a run's --workdir or a file of weights")
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="numpy"):
                pass
        except (safetensors.SafetensorError, OSError) as error:
            raise DataError(f"{named} cannot be read: {_BROKEN}") from error
    if module_class(backbone) is not ImageNetResNet:
        able = [name for name in BACKBONES if module_class(name) is ImageNetResNet]
        raise ConfigError(
            f"{named} is no run and no shared file, but torchvision has no weights for "
            f"config.model.backbone {backbone!r}; choose one of {', '.join(able)}, or name a run "
            "of that backbone"
        )


def load(path: str | pathlib.Path, backbone: str) -> dict[str, Any]:
    """Reads weights in torchvision's format for one of our backbones.

    Args:
      path: of a state dict, `.safetensors`, or what PyTorch saves in any other file.
      backbone: "resnet50" or "resnext50", the one that the weights are for.

    Returns:
      {"params": ..., "batch_stats": ...} of the backbone, float32 NumPy arrays.

    Raises:
      ConfigError: torchvision has no such backbone.
      DataError: the file cannot be read, or holds weights of another network.
    """
    check_file(path, backbone)
    path = pathlib.Path(path)
    named = f"config.model.pretrained names {path}, which"
    try:
        state_dict = read_state_dict(path)
    except DataError as error:
        raise DataError(f"{named} cannot be read: {error}") from error
    try:
        return from_torchvision(state_dict, create_backbone(backbone))
    except DataError as error:
        raise DataError(
            f"{named} does not fit config.model.backbone {backbone!r}: {error}; choose that "
            "network's weights or another backbone"
        ) from error


def read_state_dict(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a file, by name.

    Args:
      path: of a file, `.safetensors` or one that PyTorch saved.

    Returns:
      The tensors as arrays; those that PyTorch reads as float32 where they are bfloat16.

    Raises:
      DataError: the file is broken, holds no state dict, or needs PyTorch, which is missing.
    """
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def from_torchvision(
    state_dict: Mapping[str, np.ndarray], backbone: ImageNetResNet
) -> dict[str, Any]:
    """Renames and transposes a state dict of torchvision's ResNet or ResNeXt.

    Args:
      state_dict: arrays by torchvision's names, each with or without "module." before it. Counters
        of batches and the last layer, "fc", are ignored.
      backbone: the module that the variables are for.

    Returns:
      {"params": ..., "batch_stats": ...} as `backbone.init` gives them, float32 NumPy arrays.

    Raises:
      DataError: a tensor is missing, superfluous, of another shape or not of finite numbers.
    """
    left = dict(_without_prefix(state_dict))
    expected = jax.eval_shape(
        lambda key: backbone.init(key, jnp.zeros((1, 32, 32, 3)), True), jax.random.key(0)
    )
    flat = flax.traverse_util.flatten_dict(expected)
    names = {path: torch_name(path[1:], backbone) for path in flat}
    surplus = sorted(
        name
        for name in left.keys() - names.values()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    )
    variables = {}
    for path in sorted(flat, key=names.get):
        if names[path] not in left and surplus:
            raise DataError(
                f"the tensor {names[path]!r} is missing, while {shown(surplus[0])} has no "
                "place in this backbone"
            )
        variables[path] = _converted(left, names[path], flat[path].shape)
    if surplus:
        raise DataError(f"the tensor {shown(surplus[0])} has no place in this backbone")
    return flax.traverse_util.unflatten_dict(variables)


def linear_from_torchvision(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the last layer, "fc", of torchvision's networks.

    Args:
      state_dict: arrays by torchvision's names, each with or without "module." before it.

    Returns:
      {"kernel": [d, K], "bias": [K]} as Flax's Dense has them, float32.

    Raises:
      DataError: a tensor is missing, of another shape or not of floating numbers.
    """
    tensors = dict(_without_prefix(state_dict))
    shape = np.shape(tensors.get("fc.weight"))[::-1]
    if "fc.weight" in tensors and len(shape) != 2:
        raise DataError(f"the tensor 'fc.weight' has shape {shape[::-1]}, not one of a matrix")
    kernel = _converted(tensors, "fc.weight", shape)
    return {"kernel": kernel, "bias": _converted(tensors, "fc.bias", shape[-1:])}


def _without_prefix(state_dict: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for name, tensor in state_dict.items():
        yield name.removeprefix("module."), tensor


def _converted(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor called `name` with its axes in our order, checked to have that shape."""
    if name not in tensors:
        raise DataError(f"the tensor {name!r} is missing")
    tensor = np.asarray(tensors[name])
    theirs = tuple(shape[axis] for axis in TO_TORCH[len(shape)])
    if tensor.shape != theirs:
        raise DataError(f"the tensor {name!r} has shape {tensor.shape}, not {theirs}")
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        raise DataError(f"the tensor {name!r} is of {tensor.dtype}, not of floating numbers")
    converted = np.ascontiguousarray(tensor.transpose(FROM_TORCH[len(shape)]), np.float32)
    if not np.isfinite(converted).all():
        raise DataError(f"the tensor {name!r} has numbers that are not finite")
    return converted


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(_BROKEN) from error


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise DataError(
            "PyTorch, which saved it, is needed to read it; pip install torch, or convert the file "
            "to .safetensors where PyTorch is"
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    # PyTorch documents no set of errors for broken files; a zip archive alone has several.
    except Exception as error:
        raise DataError(
            "it is broken or holds more than tensors; save the model's state_dict() alone"
        ) from error
    if isinstance(loaded, Mapping):
        loaded = next((loaded[name] for name in _WITHIN if name in loaded), loaded)
    if not isinstance(loaded, Mapping) or not loaded:
        raise DataError("it holds no state dict; save the model's state_dict()")
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise DataError(f"it holds no state dict: {name!r} is no tensor with a name")
    # NumPy has no bfloat16.
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
        for name, tensor in loaded.items()
    }
