"""CIFAR's pickles: their bytes changed, and whole pickles of something else."""

import pathlib
import pickle
import random

import numpy as np

from bccl_jax.data.formats import cifar
from faults.fuzzing import odd
from faults.fuzzing.mutation import mutated
from faults.fuzzing.surface import Files, Input, Kind, Surface, Whole, consistent

_NAMES = [f"class {number}".encode() for number in range(10)]


def _batch() -> dict:
    images = np.random.default_rng(0).integers(0, 256, (3, cifar.BYTES), dtype=np.uint8)
    return {b"data": images, b"labels": [0, 9, 3], b"batch_label": b"testing batch 1 of 1"}


def _value(rng: random.Random):
    kinds = "?bBhiqQfdcOSUM"
    match rng.randrange(8):
        case 0:
            shape = tuple(rng.choice((0, 1, 2, 3, cifar.BYTES)) for _ in range(rng.randrange(4)))
            shape = shape if np.prod(shape, dtype=np.int64) < 10**6 else shape[:1]
            return np.zeros(shape, rng.choice(kinds).replace("M", "M8[s]"))
        case 1:
            return np.arange(3, dtype=rng.choice((">i4", "<i8", "u1", "<u8")))
        case 2:
            return [rng.choice((0, 1, True, 2**70, 0.5, None, b"a", [0], 10)) for _ in range(3)]
        case 3:
            return rng.choice((set(), frozenset({1}), 1j, b"", bytearray(b"a"), range(3), ...))
        case 4:
            return odd.text(rng)
        case 5:
            return rng.choice(odd.NUMBERS)
        case 6:
            inner: list = []
            for _ in range(rng.choice((10, 100))):
                inner = [inner]
            return inner
    return {b"a": {b"b": [np.zeros(2)]}}


def _cifar(root: pathlib.Path) -> Surface:
    batch, meta = _batch(), {b"label_names": _NAMES}
    written = {
        f"{name}{protocol}": pickle.dumps(content, protocol)
        for name, content in (("test_batch", batch), ("batches.meta", meta))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    }
    whole = {name: Whole(written[f"{name}2"]) for name in ("test_batch", "batches.meta")}
    files = Files(root / "cifar-10-batches-py", whole)

    def make(rng: random.Random) -> Input:
        name = rng.choice(("test_batch", "test_batch", "test_batch", "batches.meta"))
        protocol = rng.randrange(pickle.HIGHEST_PROTOCOL + 1)
        if rng.random() < 0.7:
            return Input(name, mutated(rng, written[f"{name}{protocol}"], tuple(written.values())))
        changed = dict(batch if name == "test_batch" else meta)
        key = rng.choice((*changed, b"another", "labels"))
        changed[key] = _value(rng)
        return Input(name, pickle.dumps(rng.choice((changed, _value(rng), changed)), protocol))

    def read(entry: Input) -> None:
        files.put(entry)
        split = cifar.load_cifar10_test(str(root))
        shape = (len(split.labels), 32, 32, 3)
        consistent(split.images.dtype == np.uint8 and split.images.shape == shape, "images")
        labels = split.labels
        consistent(labels.dtype == np.int32, "labels", labels.dtype)
        consistent(bool(np.all((labels >= 0) & (labels < 10))), "labels", labels)
        names = split.class_names
        consistent(len(names) == 10 and all(isinstance(name, str) for name in names), "names")

    return Surface(make, read, tuple(files.whole), files.unchanged())


KINDS = [Kind("cifar", 10, _cifar)]
