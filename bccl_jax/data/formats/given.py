"""Splits that a function of a user's own gives, checked and brought into the package's types."""

import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import DataError
from bccl_jax.settings.bounds import shown

_PARTS = ("training", "test", "validation")


def load(function: Callable[[Any], Any], request: Any) -> Splits:
    """The splits that a function gives for a request.

    Args:
      function: request -> `Splits`, or (training split, test split).
      request: `data.sources.Request`.

    Returns:
      The splits, labels as int32 and names as texts.

    Raises:
      DataError: it gives something else, or a file is missing.
    """
    named = f"config.data.name={request.name}"
    try:
        found = function(request)
    except OSError as error:
        raise DataError(
            f"{named} cannot be read: {error}; config.data.dir is {shown(request.data_dir)}, and "
            "--config.data.dir=DIR names another folder"
        ) from error
    several = isinstance(found, tuple | list) and 2 <= len(found) <= len(Splits._fields)
    if not several or not all(isinstance(split, Split) for split in found[:2]):
        raise DataError(
            f"{named} gives {shown(found)}; its function must return bccl_jax.data.split.Splits, "
            "or a training and a test Split"
        )
    splits = Splits(*found)
    parts = zip(_PARTS, splits[:3], strict=True)
    checked = [
        None if split is None else _checked(split, f"the {part} split of {named}")
        for part, split in parts
    ]
    train = checked[0]
    for part, split in zip(_PARTS[1:], checked[1:], strict=True):
        if split is None:
            continue
        if split.class_names != train.class_names:
            raise DataError(f"the {part} split of {named} has other classes than the training one")
        if _kind(split) != _kind(train):
            raise DataError(
                f"the {part} split of {named} has {_kind(split)}, and the training one has "
                f"{_kind(train)}; make them alike"
            )
    return Splits(*checked, tuple(map(str, splits.notes)))


def _checked(split: Split, named: str) -> Split:
    images, labels = split.images, np.asarray(split.labels)
    names = tuple(map(str, split.class_names))
    if isinstance(images, EncodedImages):
        _travels(type(images))
    elif not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4):
        raise DataError(
            f"{named} has images that are {_told(images)}; they must be uint8 [N, H, W, 3], or "
            "bccl_jax.data.encoded.EncodedImages"
        )
    elif images.shape[3] != 3:
        raise DataError(
            f"{named} has images of shape {images.shape}; they must be [N, H, W, 3], as "
            "np.repeat(images, 3, axis=3) makes of grey ones"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise DataError(
            f"{named} has {len(images)} images and labels that are {_told(labels)}; there must be "
            "a whole number for each image"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise DataError(
            f"{named} has labels from {labels.min()} to {labels.max()} and {len(names)} "
            "class names; label k is that of the k-th name, from 0"
        )
    return Split(images, labels.astype(np.int32), names)


def _travels(kind: type) -> None:
    """Lets reader processes have a class as it is.

    To import its module they would have to find it, and with it they might import JAX.
    """
    module = sys.modules.get(kind.__module__)
    if module is not None and not kind.__module__.startswith("bccl_jax."):
        cloudpickle.register_pickle_by_value(module)


def _kind(split: Split) -> str:
    if split.encoded:
        return "encoded images"
    return "images of {}x{} pixels".format(*split.images.shape[1:3])


def _told(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"a {type(value).__name__}"
