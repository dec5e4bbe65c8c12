"""What is done again and again, each in a process of its own: python -m faults.soak.phases.

The network is as small as they come, so that what surrounds it is most of the work: digits of
4 x 4 pixels in three classes, a step of 64 images, an epoch compiled as one program.
"""

import argparse
import dataclasses
import os
import pathlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

import bccl_jax
from bccl_jax.config import files
from bccl_jax.evaluation.saved import evaluate_checkpoints
from faults import forks
from faults.soak import sampling
from faults.soak.sampling import Sampler

METHOD = {
    "warmup_epochs": 2,
    "refresh_epochs": 5,
    "projector_hidden": 16,
    "projector_dim": 8,
    "queue_size": 8,
    "num_centroids": 2,
}
COMMON = {
    "optimizer.warmup_epochs": 1,
    "trackers": "",
    "eval.every_epochs": 1,
    "checkpoint.every_epochs": 1,
    **{f"method.{key}": value for key, value in METHOD.items()},
}
DIGITS = {"data.pixels": 4, "data.classes": 3, "engine": "scan", "eval.batch_size": 600} | COMMON
PHOTOGRAPHS = COMMON | {
    "model.backbone": "resnet8",
    "augment.size": 16,
    "dtype": "float32",
    "batch_size": 8,
    "eval.batch_size": 4,
    "data.workers": 2,
    # Readers of an evaluation take a second to start.
    "eval.every_epochs": 10,
    "method.classifier": "linear",
}
# Samples of a phase.
SAMPLES = 250
# Seconds that a start may take until an epoch is recorded.
_PATIENCE = 300.0


class Watch(bccl_jax.Callback):
    """Samples a run after its epochs."""

    def __init__(self, sampler: Sampler):
        self._sampler = sampler

    def epoch(self, record: dict[str, Any]) -> None:
        """See `bccl_jax.Callback`."""
        self._sampler.at(record["epoch"])


def training(folder: pathlib.Path, number: int) -> None:
    """One run of so many epochs; each is evaluated and saved."""
    run = folder / "run"
    sampler = Sampler(folder / "samples.jsonl", run, -(-number // SAMPLES))
    bccl_jax.train("digits_lt:bccl", run, DIGITS | {"epochs": number}, callbacks=[Watch(sampler)])


def evaluations(folder: pathlib.Path, number: int) -> None:
    """A model that is loaded once and asked so many times, by turns for classes and logits."""
    run = folder / "run"
    bccl_jax.train("digits_lt:bccl", run, DIGITS | {"epochs": 3})
    model = bccl_jax.load(run)
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 3), dtype=np.uint8)
    sampler = Sampler(folder / "samples.jsonl", run, -(-number // SAMPLES))
    for step in range(1, number + 1):
        (model.predict if step % 2 else model.logits)(images)
        sampler.at(step)


def resumes(folder: pathlib.Path, number: int) -> None:
    """A run that is started so many times and stopped by SIGTERM once an epoch is recorded."""
    run = folder / "run"
    settings = (DIGITS | {"epochs": 50 * number + 50}).items()
    command = ["--config=digits_lt:bccl", f"--workdir={run}"]
    command += [f"--config.{key}={value}" for key, value in settings]
    os.environ.setdefault("XLA_FLAGS", "")
    # Compiled once for all starts.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    for step in range(1, number + 1):
        found = folder / "at_exit.json"
        arguments = {"path": str(found), "workdir": str(run)}
        before = [("faults.soak.sampling", "take_at_exit", arguments)]
        done = _records(run)
        process = forks.start(*command, before=before, JAX_PLATFORMS="cpu")
        end = time.monotonic() + _PATIENCE
        while _records(run) == done and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
        if process.returncode != 128 + signal.SIGTERM:
            raise RuntimeError(f"start {step} ended with {process.returncode}:\n{said}")
        left = len(sampling.processes_below(os.getpid())) - 1
        (sample,) = sampling.read(found)
        sample |= {"step": step, "processes": left, **sampling.of_folder(run)}
        sampling.append(folder / "samples.jsonl", sample)
        found.unlink()


def _records(run: pathlib.Path) -> int:
    path = run / sampling.RECORDS
    return path.read_bytes().count(b"\n") if path.exists() else 0


def calls(folder: pathlib.Path, number: int) -> None:
    """What a notebook does all day: a run goes on for an epoch, is evaluated, is loaded."""
    run = folder / "run"
    sampler = Sampler(folder / "samples.jsonl", run)
    changes = DIGITS | {"optimizer.schedule": "constant"}
    for step in range(1, number + 1):
        bccl_jax.train("digits_lt:bccl", run, changes | {"epochs": step + 2})
        model = bccl_jax.load(run)
        model.predict(np.zeros((1, 4, 4, 3), np.uint8))
        evaluate_checkpoints(files.load(str(run / "config.json"), option="config"), run)
        del model
        sampler.at(step)


def photographs(folder: pathlib.Path, number: int) -> None:
    """A run of so many epochs over a few pictures, which two reader processes decode."""
    pictures = folder / "pictures"
    draw_pictures(pictures)
    run = folder / "run"
    sampler = Sampler(folder / "samples.jsonl", run, -(-number // SAMPLES))
    changes = PHOTOGRAPHS | {"epochs": number, "data.dir": str(pictures)}
    bccl_jax.train("folder:bccl", run, changes, callbacks=[Watch(sampler)])


def draw_pictures(folder: pathlib.Path) -> None:
    """Pictures of noise in three classes, for training and test, JPEG and PNG by turns."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 4)):
        for name in "abc":
            there = folder / part / name
            there.mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
                image.save(there / f"{i}.{('jpg', 'png')[i % 2]}")


@dataclasses.dataclass(frozen=True)
class Phase:
    """Something that is done again and again.

    Attributes:
      repeat: (folder, how often) does it and leaves `samples.jsonl` in the folder.
      unit: what one time of it is called.
      number: how often by default.
      slopes: units that figures may grow by each time, beside `flatness.COUNTS` and `SIZES`.
    """

    repeat: Callable[[pathlib.Path, int], None]
    unit: str
    number: int
    slopes: Mapping[str, float]


# Of an epoch its record stays in memory, for the report: 10 KiB here. TensorStore, by which Orbax
# writes, keeps the keys of each JSON that it gives to Python: 37 KiB a save of 80 arrays (0.1.86).
_OF_AN_EPOCH = 64 * 1024
# JAX remembers some of what it traced; each call makes its network, and compiles it, anew.
_OF_A_CALL = {"rss": 2**20, "uss": 2**20, "compilations": 8}

PHASES: Mapping[str, Phase] = {
    "epochs": Phase(training, "epoch", 5000, {"rss": _OF_AN_EPOCH, "uss": _OF_AN_EPOCH}),
    "evaluations": Phase(evaluations, "evaluation", 10_000, {"rss": 1024, "uss": 1024}),
    # Each is a process of its own: what of its memory it shares follows which others there are.
    "resumes": Phase(resumes, "start", 200, {"rss": 64 * 1024, "uss": 256 * 1024}),
    "calls": Phase(calls, "call", 60, _OF_A_CALL),
    "photographs": Phase(
        photographs,
        "epoch",
        300,
        # In the first 300 epochs the heap still finds its size, of digits too (107 KiB an epoch).
        {"rss": 2 * _OF_AN_EPOCH, "uss": 2 * _OF_AN_EPOCH, "below uss": 8 * 1024},
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one of them."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("phase", choices=PHASES)
    flags.add_argument("folder", type=pathlib.Path, help="where all of it lies; it must be there")
    flags.add_argument("number", type=int, help="how often")
    options = flags.parse_args(argv)
    PHASES[options.phase].repeat(options.folder, options.number)


if __name__ == "__main__":
    main()
