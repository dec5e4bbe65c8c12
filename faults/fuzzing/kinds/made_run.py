"""The directory of a run that nobody trained: real records, a network of a few numbers."""

import json
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import struct

from bccl_jax.config.dataset import load_data
from bccl_jax.config.files import load
from bccl_jax.config.sizing import sized
from bccl_jax.data.fingerprint import fingerprint
from bccl_jax.data.split import Dataset
from bccl_jax.reporting.records import as_json
from bccl_jax.system import digests
from bccl_jax.workdir import computed
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.first_records import first_records

_CONFIG = pathlib.Path(__file__).resolve().parents[3] / "configs" / "digits_lt.py"
EPOCHS, STEPS = 3, 5
_FIGURES = {"all": 90.5, "many": 95.0, "medium": 91.0, "few": None, "per_class": [90.5, None] * 5}


@struct.dataclass
class State:
    """As much of a run's state as its checkpoints look at.

    Attributes:
      step: int32 [].
      params: of the network, by name.
    """

    step: jax.Array
    params: dict


def state_at(step: int) -> State:
    """The state of a step."""
    return State(jnp.int32(step), {"kernel": jnp.arange(12.0) + step, "bias": jnp.zeros(3)})


def abstract_state() -> State:
    """Shapes, dtypes and shardings of a state."""
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), state_at(0)
    )


def config() -> ml_collections.ConfigDict:
    """The config of the run."""
    found = load(f"{_CONFIG}:cross_entropy")
    found.epochs = EPOCHS
    found.optimizer.warmup_epochs = 1
    # By which it may go on for more epochs.
    found.optimizer.schedule = "constant"
    return found


def dataset() -> Dataset:
    """The images of the run: scikit-learn's digits."""
    return load_data(config())


def documents(images: Dataset) -> dict[str, dict | list]:
    """The records of the run by name, with what it ended with."""
    given = config()
    found = first_records(given, sized(given, len(images.train)), images)
    results = {"last": {"epoch": EPOCHS, **_FIGURES}, "best": {"epoch": 2, **_FIGURES}}
    return json.loads(json.dumps({**found, "results": results}))


def epoch_records() -> list[dict]:
    """A record of each epoch, as `metrics.jsonl` has them."""
    return [
        {
            "epoch": epoch,
            "step": epoch * STEPS,
            "seconds": 1.5,
            "train": {"loss": 2.0 / epoch, "accuracy": None},
            "quarters": {"contrastive_loss": [1.0, 2.0, None, 0.5]},
            "eval": {**_FIGURES, "all": 50.0 + epoch},
        }
        for epoch in range(1, EPOCHS + 1)
    ]


def write(root: pathlib.Path, images: Dataset) -> Workdir:
    """Writes the directory of the run, with a checkpoint."""
    given, workdir = config(), Workdir(root)
    fit = sized(given, len(images.train))
    with workdir.claimed(given, fit, images, fingerprint(images)):
        computed.note(root, 0)
    workdir.results.write_text(json.dumps(documents(images)["results"], indent=1))
    workdir.records.write_text("".join(f"{as_json(each)}\n" for each in epoch_records()))
    (root / "trackers.json").write_text('{"tensorboard": {"id": "a"}}')
    write_checkpoints(workdir.checkpoints)
    # Whoever writes its files can write their digests; without those all of them are read.
    (root / digests.LIST).unlink()
    return workdir


def write_checkpoints(directory: pathlib.Path) -> None:
    """Writes two checkpoints, of which the first is the best."""
    with Checkpoints(directory) as checkpoints:
        for epoch, accuracy in ((2, 0.9), (EPOCHS, 0.8)):
            score = {"accuracy": accuracy, "epoch": epoch, "lost_classes": 0}
            checkpoints.save(state_at(epoch * STEPS), {"loss": [2.0]}, score)


def variables() -> dict[str, np.ndarray]:
    """What a shared file has of the network."""
    return {"step": np.int32(EPOCHS * STEPS), "kernel": np.arange(12, dtype=np.float32)}
