"""Shared files: their bytes, and documents of a malicious maker with a checksum that fits."""

import json
import pathlib
import random

import jax
import numpy as np

from bccl_jax.config.shared import to_share
from bccl_jax.config.validation import validate
from bccl_jax.errors import DataError
from bccl_jax.system import tensor_files
from bccl_jax.workdir import inputs, shared_run
from bccl_jax.workdir.opened import checkpoints_of, config_of, opened
from faults.fuzzing.kinds import made_run
from faults.fuzzing.mutation import json_mutated, mutated
from faults.fuzzing.surface import Files, Input, Kind, Surface, Whole, consistent


def _document(images) -> dict:
    records = made_run.documents(images)
    config, files = to_share(records["config"])
    names = ("classes", "splits", "image_shape", "inputs", "results")
    return {
        "config": config,
        "imports": files,
        **{name: records[name] for name in names},
        "checkpoint": {"step": 15, "names": ["last"], "averaged": False},
        "made_by": {"jax": jax.__version__},
        "format": shared_run.FORMAT,
    }


def _arrays() -> dict[str, np.ndarray]:
    found = {f"state/{name}": np.asarray(each) for name, each in made_run.variables().items()}
    return found | {"images/test": np.arange(5, dtype=np.uint64)}


def _shared(root: pathlib.Path) -> Surface:
    images = made_run.dataset()
    document, arrays, asked = _document(images), _arrays(), made_run.config()
    tensor_files.write(root / "made", arrays, document)
    written = (root / "made").read_bytes()
    files = Files(root, {"run.safetensors": Whole(written)})
    abstract = {
        name: jax.ShapeDtypeStruct(
            each.shape, each.dtype, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
        )
        for name, each in made_run.variables().items()
    }

    def make(rng: random.Random) -> Input:
        if rng.random() < 0.4:
            return Input("run.safetensors", mutated(rng, written))
        try:
            odd_arrays, changed = dict(arrays), json_mutated(rng, document)
            if rng.random() < 0.2:
                odd_arrays.pop(rng.choice(list(odd_arrays)))
                odd_arrays["state/kernel"] = np.zeros((rng.randrange(4),) * rng.randrange(4))
            # What JSON can say and Python's values cannot is among what the bytes may become.
            tensor_files.write(root / "changed", odd_arrays, json.loads(json.dumps(changed)))
        except (DataError, UnicodeEncodeError):
            return Input("run.safetensors", mutated(rng, written))
        return Input("run.safetensors", (root / "changed").read_bytes())

    def read(entry: Input) -> None:
        run = opened(files.put(entry))
        consistent(isinstance(run.file.document, dict), "the document")
        config = config_of(run)
        validate(config)
        names, counts = inputs.read_classes(run)
        consistent(len(names) == len(counts) and counts.sum() > 0, "classes", names, counts)
        shape = inputs.read_image_shape(run, config)
        consistent(len(shape) == 3 and all(side > 0 for side in shape), "a shape", shape)
        inputs.read_photographs(run, config)
        consistent(isinstance(inputs.read_results(run), dict), "results")
        run.check(asked)
        run.check_classes(images)
        run.check_test_split(images.test)
        run.recorded(["test"])
        consistent(all(isinstance(part, str) for part in run.parts()), "parts", run.parts())
        with checkpoints_of(run) as checkpoints:
            step = checkpoints.resolve(checkpoints.named()[0])
            found = checkpoints.restore_part(step, abstract)
            consistent(found["kernel"].shape == (12,), "an array", found["kernel"].shape)

    return Surface(make, read, ("run.safetensors", "config."), files.unchanged())


KINDS = [Kind("shared", 2, _shared)]
