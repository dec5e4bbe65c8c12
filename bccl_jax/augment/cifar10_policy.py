"""AutoAugment's policy for CIFAR-10: its table, and what it does to images once all is drawn."""

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment import geometry
from bccl_jax.augment.operations import ENHANCEMENTS, INDEX, MOTIONS, apply_operation, is_any

Array = jax.Array

# (operation, probability, level) twice: the CIFAR-10 policy of AutoAugment (Cubuk et al. 2019,
# Table 7), in the reading of the CIFAR recipes.
CIFAR10_POLICY = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)


def policy_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The policy's 25 x 2 slots as arrays.

    Returns:
        The operation, int32; its probability and its unsigned argument, float32: each [25, 2].
    """
    bits = np.round(np.linspace(8, 4, 10))
    arguments = {
        **dict.fromkeys(("shear_x", "shear_y"), np.linspace(0, 0.3, 10)),
        **dict.fromkeys(("translate_x", "translate_y"), np.linspace(0, 150 / 331, 10)),
        **dict.fromkeys(ENHANCEMENTS, np.linspace(0, 0.9, 10)),
        **dict.fromkeys(("autocontrast", "equalize", "invert"), np.zeros(10)),
        "rotate": np.linspace(0, 30, 10),
        "posterize": bits,
        "solarize": np.linspace(256, 0, 10),
    }
    ops = [[INDEX[name] for name, _, _ in pair] for pair in CIFAR10_POLICY]
    probabilities = [[probability for _, probability, _ in pair] for pair in CIFAR10_POLICY]
    values = [[arguments[name][level] for name, _, level in pair] for pair in CIFAR10_POLICY]
    return np.int32(ops), np.float32(probabilities), np.float32(values)


def apply_sub_policies(images: Array, chosen: Array, applied: Array, sign: Array) -> Array:
    """AutoAugment's CIFAR-10 policy with given draws.

    Args:
        images: uint8 [B, H, W, 3].
        chosen: int32 [B], indices into ``CIFAR10_POLICY``.
        applied: bool [B, 2], whether each of the two operations is applied.
        sign: float32 [B, 2], 1 or -1, the direction of the signed operations.

    Returns:
        uint8 [B, H, W, 3].
    """
    ops, _, values = (jnp.asarray(array)[chosen] for array in policy_arrays())
    for slot in range(2):
        op = jnp.where(applied[:, slot], ops[:, slot], INDEX["identity"])
        value, direction = values[:, slot], sign[:, slot]
        value = jnp.where(is_any(op, MOTIONS), value * direction, value)
        value = jnp.where(is_any(op, ENHANCEMENTS), 1 + value * direction, value)
        kernel = jnp.where(is_any(op, ("shear_x", "shear_y")), geometry.BICUBIC, geometry.NEAREST)
        images = apply_operation(images, op, value, kernel, (128, 128, 128), one_axis=True)
    return images
