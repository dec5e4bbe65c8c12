"""CIFAR as tensorflow-datasets prepares it: ArrayRecord, read without TensorFlow."""

import numpy as np

from bccl_jax.data.split import Split
from bccl_jax.errors import DataError


def load(name: str, data_dir: str) -> tuple[Split, Split]:
    """Reads the training and the test split of a prepared data set.

    tensorflow-datasets shuffles as it prepares; sorting by its `id` restores the original order,
    so that the long-tailed draw takes the very same images.

    Args:
      name: "cifar10" or "cifar100".
      data_dir: the folder that it was prepared in.

    Returns:
      The two splits.

    Raises:
      DataError: tensorflow-datasets is not installed, or the data set is not prepared there.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            "config.data.source is 'tfds' but tensorflow-datasets cannot be imported "
            f"({error}); pip install tensorflow-datasets importlib_resources"
        ) from error
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
        parts = [builder.as_data_source(split) for split in ("train", "test")]
    except Exception as error:  # tfds reports a missing data set by half a dozen types
        raise DataError(
            f"{name} is not prepared as ArrayRecord under config.data.dir={data_dir}; prepare it "
            'once with TensorFlow: pip install tensorflow, then python -c "import '
            f"tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{data_dir}', "
            "file_format='array_record').download_and_prepare()\""
        ) from error
    names = tuple(builder.info.features["label"].names)
    return tuple(_read(part, names) for part in parts)


def _read(records, names: tuple[str, ...]) -> Split:
    rows = sorted((records[i] for i in range(len(records))), key=lambda row: row["id"])
    images = np.stack([row["image"] for row in rows])
    return Split(images, np.array([row["label"] for row in rows], np.int32), names)
