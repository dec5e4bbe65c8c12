"""The runs that faults are done to: small, of different parts, and each a second or two long.

As a config file, `faults/subjects.py:digits` is one of them.
"""

import dataclasses
import pathlib

import ml_collections
import numpy as np
from PIL import Image

from bccl_jax.config import shipped

# Pictures of each class of the training and the test split.
_COUNTS = {"train": (12, 8, 4), "test": (3, 3, 3)}
_EDGE = 24


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run.

    Attributes:
      name: of it, which the config file takes.
      about: what of the package it goes through, for the table.
      epochs: it has.
      processes: that make it together.
      pictures: whether it reads photographs, by processes of their own.
    """

    name: str
    about: str
    epochs: int = 5
    processes: int = 1
    pictures: bool = False

    def arguments(self, pictures: pathlib.Path) -> list[str]:
        """The command line without --workdir; `pictures` is the folder of `write_pictures`."""
        found = [f"--config=faults/subjects.py:{self.name}"]
        return [*found, f"--config.data.dir={pictures}"] if self.pictures else found


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("digits", "BCCL: queues and centroids in the state, checkpoints within the epoch"),
        Subject("stages", "cRT: a classifier trained anew after the network"),
        Subject("photographs", "JPEG files through two reader processes", pictures=True),
        Subject("processes", "two processes make one run", processes=2),
    )
}


def write_pictures(folder: pathlib.Path) -> None:
    """Writes the JPEG files of the photographs, the same ones each time."""
    rng = np.random.default_rng(0)
    for part, counts in _COUNTS.items():
        for label, count in enumerate(counts):
            place = folder / part / f"class{label}"
            place.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = rng.integers(0, 120, (_EDGE, _EDGE, 3)) + 60 * label
                picture = Image.fromarray(pixels.astype(np.uint8))
                picture.save(place / f"{index:02}.jpg", quality=95)


def get_config(name: str) -> ml_collections.ConfigDict:
    """The config of a subject."""
    # Known to the configs alone, so that the harness itself imports no JAX.
    import faults.two_layers  # noqa: F401 - registers

    config = _photographs() if SUBJECTS[name].pictures else _digits(name)
    config.epochs = SUBJECTS[name].epochs
    config.model.backbone = "two_layers"
    config.optimizer.warmup_epochs = 1
    config.eval.every_epochs = 2
    config.checkpoint.every_epochs = 1
    small = {"projector_dim": 8, "projector_hidden": 16, "queue_size": 8, "num_centroids": 2}
    small |= {"warmup_epochs": 1, "refresh_epochs": 2, "refit_epochs": 2}
    config.method.update({key: value for key, value in small.items() if key in config.method})
    return config


def _digits(name):
    config = shipped.get_config("digits_lt", "crt" if name == "stages" else "bccl")
    # A third of what a step with two contrastive views compiles; crops still tell views apart.
    config.augment.sim.jitter = (0.0,) * 4
    if name == "digits":
        config.checkpoint.every_steps = 3
    return config


def _photographs():
    config = shipped.get_config("folder", "cross_entropy")
    config.data.workers = 2
    config.dtype = "float32"
    config.augment.size = 8
    config.augment.eval_resize = 10
    config.augment.strong.policy = "none"
    config.batch_size = 8
    config.optimizer.learning_rate = 0.05
    config.eval.batch_size = 16
    return config
