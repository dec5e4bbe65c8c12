"""CIFAR-10 and CIFAR-100 from the original python files (Krizhevsky 2009)."""

import pathlib
from typing import Any

import numpy as np

from bccl_jax.data.downloading.archives import CIFAR10, CIFAR100, Archive
from bccl_jax.data.formats import integer_pickle
from bccl_jax.data.split import Split
from bccl_jax.errors import DataError
from bccl_jax.system.environment import expanded

ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar.html"
BYTES = 3 * 32 * 32


def load_cifar10(data_dir: str) -> tuple[Split, Split]:
    """Reads the training and the test split of CIFAR-10.

    Args:
      data_dir: the folder of `cifar-10-batches-py`, or that folder itself.

    Returns:
      Splits of 50,000 and 10,000 images in file order, if the files are the original ones.

    Raises:
      DataError: a file is missing or is not what it should be.
    """
    folder = _folder(data_dir, CIFAR10, "data_batch_1")
    names = _class_names(folder / "batches.meta", b"label_names", 10)
    batches = [_read_images(folder / f"data_batch_{i}", b"labels", names) for i in range(1, 6)]
    train = Split(
        np.concatenate([batch.images for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
        names,
    )
    return train, _read_images(folder / "test_batch", b"labels", names)


def load_cifar10_test(data_dir: str) -> Split:
    """Reads the test split of CIFAR-10 alone; see `load_cifar10`."""
    folder = _folder(data_dir, CIFAR10, "test_batch")
    names = _class_names(folder / "batches.meta", b"label_names", 10)
    return _read_images(folder / "test_batch", b"labels", names)


def load_cifar100(data_dir: str) -> tuple[Split, Split]:
    """Reads the training and the test split of CIFAR-100 with its fine labels.

    Args:
      data_dir: the folder of `cifar-100-python`, or that folder itself.

    Returns:
      Splits of 50,000 and 10,000 images in file order, if the files are the original ones.

    Raises:
      DataError: a file is missing or is not what it should be.
    """
    folder = _folder(data_dir, CIFAR100, "train")
    names = _class_names(folder / "meta", b"fine_label_names", 100)
    return tuple(_read_images(folder / f, b"fine_labels", names) for f in ("train", "test"))


def load_cifar100_test(data_dir: str) -> Split:
    """Reads the test split of CIFAR-100 alone; see `load_cifar100`."""
    folder = _folder(data_dir, CIFAR100, "test")
    names = _class_names(folder / "meta", b"fine_label_names", 100)
    return _read_images(folder / "test", b"fine_labels", names)


def _folder(data_dir: str, archive: Archive, first_file: str) -> pathlib.Path:
    root, name = expanded(data_dir), archive.folder
    if root.name == archive.file:
        root = root.parent
    if (root / name).is_dir():
        return root / name
    if (root / first_file).is_file() or root.resolve().name == name:
        return root
    packed = root / archive.file
    if packed.is_file():
        raise DataError(f"{packed} is still packed; {archive.command(root)} checks and unpacks it")
    raise DataError(
        f"there is no folder {root / name}; {archive.command(root)} downloads it "
        f"({archive.megabytes}), or name the folder that holds it by --config.data.dir=DIR"
    )


def _unpickle(path: pathlib.Path) -> dict[bytes, Any]:
    try:
        content = integer_pickle.load(path)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; get the data set from {ORIGIN}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); mend its rights") from error
    except Exception as error:  # a broken pickle raises nearly anything
        raise DataError(
            f"{path} is truncated or not an original CIFAR file ({error}); "
            f"get it again from {ORIGIN}"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not an original CIFAR file; get it again from {ORIGIN}")
    return content


def _entry(content: dict[bytes, Any], key: bytes, path: pathlib.Path) -> Any:
    if key not in content:
        raise DataError(f"{path} has no entry {key.decode()}; get it again from {ORIGIN}")
    return content[key]


def _class_names(path: pathlib.Path, key: bytes, num_classes: int) -> tuple[str, ...]:
    names = _entry(_unpickle(path), key, path)
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DataError(
            f"{path} has no list of names as {key.decode()}; get it again from {ORIGIN}"
        )
    if len(names) != num_classes:
        raise DataError(f"{path} names {len(names)} classes instead of {num_classes}")
    return tuple(name.decode(errors="replace") for name in names)


def _integers(content: dict[bytes, Any], key: bytes, path: pathlib.Path) -> np.ndarray:
    entry = _entry(content, key, path)
    # A list of lists may have more in it than any memory holds: a file need not be large for that.
    flat = isinstance(entry, list) and all(type(value) is int for value in entry)
    values = np.array(None)
    if flat or isinstance(entry, np.ndarray):
        # Integers too large for NumPy make a list of objects.
        values = np.asarray(entry)
    if values.dtype.kind not in "iu":
        raise DataError(
            f"{path} has {key.decode()} that are not integers; get it again from {ORIGIN}"
        )
    return values


def _read_images(path: pathlib.Path, label_key: bytes, names: tuple[str, ...]) -> Split:
    content = _unpickle(path)
    data, labels = _integers(content, b"data", path), _integers(content, label_key, path)
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != BYTES:
        raise DataError(
            f"{path} holds data of {data.dtype} {list(data.shape)} instead of uint8 [N, {BYTES}]; "
            f"get it again from {ORIGIN}"
        )
    if labels.shape != data.shape[:1]:
        raise DataError(
            f"{path} has {len(data)} images and {labels.size} labels; get it again from {ORIGIN}"
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < len(names)):
        raise DataError(
            f"{path} has labels from {labels.min()} to {labels.max()}, "
            f"outside 0 to {len(names) - 1}; get it again from {ORIGIN}"
        )
    # A row is the red, the green and the blue plane, each row by row.
    images = np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Split(images, labels.astype(np.int32), names)
