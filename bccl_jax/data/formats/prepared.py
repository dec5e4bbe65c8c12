"""Data sets as tensorflow-datasets prepares them: ArrayRecord, read without TensorFlow.

No module that a reader process imports may import JAX: it would start a runtime in each of them.
"""

import contextlib
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bccl_jax.data.formats.records import RecordImages, Shard
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import DataError
from bccl_jax.system.environment import cache_folder
from bccl_jax.system.names import shown
from bccl_jax.system.progress import under_way

# Of the photographs: our splits -> theirs, and the feature that names an image. The test images of
# iNaturalist 2018 have no public labels: the field tests on its validation split.
_PHOTOGRAPHS = {
    "imagenet_lt": (
        {"train": "train", "test": "test", "validation": "validation"},
        "file_name",
    ),
    "i_naturalist2018": ({"train": "train", "test": "validation"}, "id"),
}
_BEFOREHAND = {
    "imagenet_lt": (
        " and with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar in downloads/manual there"
    )
}
# Enough to hide a slow disk while labels are read, and the records that each reads at a time.
THREADS, CHUNK = 16, 64


def load(name: str, data_dir: str) -> tuple[Split, Split]:
    """Reads the training and the test split of prepared CIFAR.

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
    builder = _builder(name, data_dir)
    names = tuple(builder.info.features["label"].names)
    sources = [builder.as_data_source(split) for split in ("train", "test")]
    return tuple(_decoded(source, names) for source in sources)


def load_test(name: str, data_dir: str) -> Split:
    """Reads the test split of prepared CIFAR alone; see `load`."""
    builder = _builder(name, data_dir, "test")
    names = tuple(builder.info.features["label"].names)
    return _decoded(builder.as_data_source("test"), names)


def load_encoded(name: str, data_dir: str) -> Splits:
    """Opens the splits of prepared photographs; their images stay the bytes of their files.

    Images lie in the order that tensorflow-datasets shuffled them into, the same whenever the data
    set is prepared. To find their labels and names the whole data set is read once; they are kept
    in `$XDG_CACHE_HOME/bccl_jax/labels` (`~/.cache` if not set) until a file of it changes.

    Args:
      name: "imagenet_lt" or "i_naturalist2018", as tensorflow-datasets has it.
      data_dir: the folder that it was prepared in.

    Returns:
      The splits; the test split of "i_naturalist2018" is its validation split.

    Raises:
      DataError: tensorflow-datasets is not installed, the data set is not prepared there, or a
        file of it cannot be read.
    """
    return Splits(**_encoded_parts(name, data_dir, _PHOTOGRAPHS[name][0]))


def load_encoded_test(name: str, data_dir: str) -> Split:
    """Opens the test split of prepared photographs alone; see `load_encoded`."""
    return _encoded_parts(name, data_dir, ["test"])["test"]


def _encoded_parts(name: str, data_dir: str, parts: Iterable[str]) -> dict[str, Split]:
    theirs, name_feature = _PHOTOGRAPHS[name]
    builder = _builder(name, data_dir, theirs["test"] if list(parts) == ["test"] else "train")
    class_names = tuple(builder.info.features["label"].names)
    splits = {}
    for part in parts:
        split = theirs[part]
        try:
            records = _records(builder.info.splits[split])
            labels, names = _labels_and_names(
                records, builder.info.features, name_feature, f"{name} {split}"
            )
        except OSError as error:
            raise DataError(
                f"the {split} split of {name} under config.data.dir={shown(data_dir)} cannot be "
                f"read ({error.strerror or error}); delete {shown(builder.data_dir)} and prepare "
                "it anew"
            ) from error
        images = PreparedImages(records.shards, names, builder.info.features)
        splits[part] = Split(images, labels, class_names)
    return splits


class PreparedImages(RecordImages):
    """Images that are records of tensorflow-datasets.

    Its own data source keeps every shard open, which is more files than a process may have.

    Args:
      shards: see `RecordImages`.
      names: see `RecordImages`.
      features: of the data set, as its builder knows them.
    """

    def __init__(self, shards: Sequence[Shard], names: Sequence[str], features: Any):
        super().__init__(shards, names)
        self.features = features

    def __getitem__(self, index: int) -> bytes:
        return _encoded_row(self.features, super().__getitem__(index))["image"]


def _encoded_row(features: Any, record: bytes) -> dict[str, Any]:
    """The features of a record, of which "image" is the bytes of a file."""
    from tensorflow_datasets import decode

    return features.deserialize_example_np(record, decoders={"image": decode.SkipDecoding()})


def _builder(name: str, data_dir: str, split: str = "train") -> Any:
    """The builder of a data set of which a split is prepared."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            "config.data.source is 'tfds' but tensorflow-datasets cannot be imported "
            f"({error}); pip install tensorflow-datasets importlib_resources, which is the extra "
            "[tfds]"
        ) from error
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
        builder.as_data_source(split)
    except Exception as error:  # tfds reports a missing data set by half a dozen types
        raise DataError(
            f"{name} is not prepared as ArrayRecord under config.data.dir={data_dir}; name the "
            "folder where it is by --config.data.dir=DIR, or prepare it once with TensorFlow"
            f"{_BEFOREHAND.get(name, '')}: pip install tensorflow, then "
            f"python -c \"import tensorflow_datasets as tfds; tfds.builder('{name}', "
            f"data_dir='{data_dir}', file_format='array_record').download_and_prepare()\""
        ) from error
    return builder


def _records(split_info: Any) -> RecordImages:
    """All records of a split; their names are not known yet."""
    paths, counts = split_info.filepaths, split_info.shard_lengths
    shards = [Shard(pathlib.Path(p), n) for p, n in zip(paths, counts, strict=True)]
    return RecordImages(shards, [""] * sum(counts))


def _decoded(records: Sequence, names: tuple[str, ...]) -> Split:
    rows = sorted((records[i] for i in range(len(records))), key=lambda row: row["id"])
    images = np.stack([row["image"] for row in rows])
    return Split(images, np.array([row["label"] for row in rows], np.int32), names)


def _labels_and_names(
    records: RecordImages, features: Any, name_feature: str, description: str
) -> tuple[np.ndarray, list[str]]:
    """Labels int32 [N] and N names of all records, from the cache or read one by one."""
    cache = _cache_file([shard.path for shard in records.shards])
    cached = _read_cache(cache, len(records)) if cache else None
    if cached is not None:
        return cached

    def read(start: int) -> list[tuple[int, bytes]]:
        positions = range(start, min(start + CHUNK, len(records)))
        found = [_encoded_row(features, records[position]) for position in positions]
        return [(row["label"], row[name_feature]) for row in found]

    rows = []
    with (
        under_way(f"labels of {description}", len(records)) as task,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        for found in pool.map(read, range(0, len(records), CHUNK)):
            rows += found
            task.advance(len(found))
    labels = np.array([label for label, _ in rows], np.int32)
    names = np.array([name for _, name in rows], np.bytes_)
    if cache:
        _write_cache(cache, labels, names)
    return labels, _as_text(names)


def _cache_file(files: list[pathlib.Path]) -> pathlib.Path | None:
    """Where labels and names are kept: another file as soon as one of the data set's changes.

    None where nothing can be kept, so that they are read again next time.
    """
    state = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]
    folder = cache_folder("labels")
    return None if folder is None else folder / f"{key}.npz"


def _read_cache(path: pathlib.Path, number: int) -> tuple[np.ndarray, list[str]] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            labels, names = arrays["labels"], arrays["names"]
        if labels.dtype == np.int32 and labels.shape == names.shape == (number,):
            return labels, _as_text(names)
    except Exception:  # missing or broken in whatever way: it is made anew
        pass
    return None


def _write_cache(path: pathlib.Path, labels: np.ndarray, names: np.ndarray) -> None:
    # A full disk keeps nothing.
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = pathlib.Path(folder) / path.name
        np.savez(unfinished, labels=labels, names=names)
        unfinished.replace(path)


def _as_text(names: np.ndarray) -> list[str]:
    return [name.decode(errors="replace") for name in names.tolist()]
