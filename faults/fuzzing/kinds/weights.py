"""Files of pretrained weights: safetensors, with arrays of any kind."""

import json
import pathlib
import random

import numpy as np
import safetensors.numpy

from bccl_jax.errors import DataError
from bccl_jax.models import pretrained
from faults.fuzzing import odd
from faults.fuzzing.mutation import json_mutated, mutated
from faults.fuzzing.surface import Files, Input, Kind, Surface, Whole, consistent

_DTYPES = ("<f4", "<f8", "<f2", "<i8", "|u1", "|b1")


def _tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "fc.weight": rng.normal(size=(3, 5)).astype(np.float32),
        "fc.bias": np.zeros(3, np.float32),
    }


def _weights(root: pathlib.Path) -> Surface:
    tensors = _tensors()
    written = safetensors.numpy.save(tensors)
    files = Files(root, {"weights.safetensors": Whole(written)})

    def make(rng: random.Random) -> Input:
        kind = rng.randrange(3)
        if kind == 0:
            return Input("weights.safetensors", mutated(rng, written))
        if kind == 1:
            length = int.from_bytes(written[:8], "little")
            header = odd.as_json(json_mutated(rng, json.loads(written[8 : 8 + length])))
            if rng.random() < 0.3:
                header = mutated(rng, header)
            content = len(header).to_bytes(8, "little") + header + written[8 + length :]
            return Input("weights.safetensors", content)
        found = dict(tensors)
        shape = tuple(rng.choice((0, 1, 3, 5)) for _ in range(rng.randrange(4)))
        name = rng.choice((*tensors, "module.fc.weight", odd.text(rng)))
        found[name] = np.full(shape, rng.choice((0, 1, 255)), rng.choice(_DTYPES))
        if rng.random() < 0.3:
            found["fc.bias"] = np.array([0, np.nan, np.inf], np.float32)
        try:
            return Input("weights.safetensors", safetensors.numpy.save(found))
        except Exception:  # a name that no such file can have
            return Input("weights.safetensors", mutated(rng, written))

    def read(entry: Input) -> None:
        path = files.put(entry)
        pretrained.check_file(path, "resnet50")
        try:
            found = pretrained.linear_from_torchvision(pretrained.read_state_dict(path))
        except DataError as error:  # as `load` tells it
            raise DataError(f"config.model.pretrained names {path}: {error}") from error
        kernel, bias = found["kernel"], found["bias"]
        consistent(kernel.ndim == 2 and bias.shape == kernel.shape[1:], "shapes", kernel, bias)
        consistent(bool(np.isfinite(kernel).all() and np.isfinite(bias).all()), "numbers")

    return Surface(make, read, ("weights.safetensors",), files.unchanged())


KINDS = [Kind("weights", 10, _weights)]
