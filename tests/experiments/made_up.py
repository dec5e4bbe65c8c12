"""Records of runs that nobody made."""

import numpy as np

from experiments.designing.catalogue import EXPERIMENTS
from experiments.designing.design import Scale, cells
from experiments.records import results

# Training images of three classes, ten evaluation images of each.
COUNTS = [500, 50, 5]
SMALL = Scale(seeds=2, datasets=("cifar100_small",))


# The least that a record has.
LEAST = {
    "images": 1,
    "correct": results.pack([True]),
    "class_counts": [1],
    "config": {"batch_size": 1},
    "last": {},
    "best": {},
}


def a_record(cell, right, code="here", **changes):
    """Of a run that got the first `right[k]` of the ten images of class k right."""
    per_class = [10.0 * number for number in right]
    correct = np.arange(10) < np.array(right)[:, None]
    shots = dict(zip(("many", "medium", "few"), per_class, strict=True))
    figures = {"all": float(np.mean(per_class)), **shots, "per_class": per_class}
    measure = {"all": 2.0, "many": 1.0, "medium": 2.0, "few": 3.0, "few_minus_many": 2.0}
    names = ("spread", "nearest_class", "alignment", "uniformity", "effective_rank", "simplex_gap")
    space = dict.fromkeys(names, measure) | {"global_uniformity": -2.0, "rank_of_means": 1.5}
    point = {"train": {"loss": 2.0}, **{k: v for k, v in figures.items() if k != "per_class"}}
    on = "validation" if cell.config.data.validation_fraction else "test"
    return {
        "config_hash": cell.config_hash,
        "code_hash": code,
        "commit": "abc",
        "seed": cell.seed,
        "device": "CPU",
        "versions": {"jax": "1.0"},
        "finished": "2025-01-01T00:00:00",
        "seconds": 10.0,
        "seconds_in_all": 12.0,
        "evaluated_on": on,
        "class_counts": COUNTS,
        "last": {"epoch": 40, **figures},
        "best": {"epoch": 30, "chosen_on": on, **figures, "all": figures["all"] + 1},
        "images": 30,
        "correct": results.pack(correct.ravel()),
        "curve": [{"epoch": epoch, **point} for epoch in (20, 40)],
        "feature_space": [{"epoch": epoch, "backbone": space} for epoch in (20, 40)],
        "config": {
            "eval.many_above": 100,
            "eval.few_below": 20,
            "batch_size": 8,
            "epochs": 40,
            "model.backbone": "resnet8",
        },
    } | changes


def by_row(experiment="table4", scale=SMALL):
    found = {}
    for cell in cells(EXPERIMENTS[experiment], scale):
        found.setdefault(cell.row, []).append(cell)
    return found
