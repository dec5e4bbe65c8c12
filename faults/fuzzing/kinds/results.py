"""results.jsonl of experiments, by what its tables read of each record."""

import json
import pathlib

import numpy as np

from experiments.records import reading, results
from faults.fuzzing.surface import Files, Input, Kind, Surface, Whole, consistent


def _record(seed: int) -> dict:
    figures = {
        "all": 50.0,
        "many": 60.0,
        "medium": 50.0,
        "few": 40.0,
        "per_class": [60.0, 50.0, None],
    }
    return {
        "config_hash": "8d1b3b31837a",
        "code_hash": "53553f76f3ca",
        "commit": "98bea0b5ad",
        "seed": seed,
        "dataset": "cifar100_small",
        "imbalance": 100.0,
        "row": "bccl",
        "device": "CPU",
        "versions": {"jax": "0.12"},
        "finished": "2026-01-01T00:00:00+00:00",
        "seconds": 10.0,
        "seconds_in_all": 12.5,
        "evaluated_on": "test",
        "class_counts": [500, 50, 5],
        "last": {"epoch": 40, **figures},
        "best": {"epoch": 30, "chosen_on": "test", **figures},
        "images": 30,
        "correct": results.pack(np.arange(30) % 2 == 0),
        "curve": [{"epoch": 40, "train": {"loss": 2.0}, **figures}],
        "config": {"eval.many_above": 100, "eval.few_below": 20, "batch_size": 8, "epochs": 40},
    }


def _results(root: pathlib.Path) -> Surface:
    lines = "".join(f"{json.dumps(_record(seed))}\n" for seed in range(2))
    files = Files(root, {"results.jsonl": Whole(lines.encode(), "json lines")})

    def read(entry: Input) -> None:
        for record in results.load(files.put(entry)):
            results.key(record)
            for epoch in ("last", "best"):
                for name in ("top1", "all", "few"):
                    found = reading.figure(record, epoch, name)
                    sound = found is None or isinstance(found, int | float)
                    consistent(sound, "a figure", found)
            consistent(reading.class_accuracies(record).ndim == 1, "accuracies of classes")
            consistent(reading.correct(record).shape == (record["images"],), "correct")
            reading.batch_size(record)
            reading.images(record)

    return Surface(files.make, read, ("results.jsonl",), files.unchanged())


KINDS = [Kind("results", 10, _results)]
