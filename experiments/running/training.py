"""A cell becomes a record."""

import datetime
import time

import numpy as np

from bccl_jax import config as default
from bccl_jax.config.sizing import sized
from bccl_jax.reporting.records import course
from bccl_jax.training.loop import train_and_evaluate

from ..designing.design import Cell
from ..records import results
from ..records.results import Paths
from . import provenance
from .measuring import MEASURED_PER_CLASS, EmbeddingMeasures
from .provenance import Code


def run(cell: Cell, paths: Paths, code: Code) -> results.Record:
    """Trains a cell, from its last checkpoint if it has one, and returns its record.

    Args:
      cell: what to run.
      paths: of the output directory.
      code: what the command was started with.

    Returns:
      The record, as `docs/experiments.md` lists its fields.

    Raises:
      BcclError: as `train_and_evaluate`.
      Interrupted: a signal asked it to stop, after a checkpoint.
    """
    started = time.perf_counter()
    workdir = paths.run(cell, code.hash)
    result = train_and_evaluate(cell.config, workdir, observe=EmbeddingMeasures())
    return {
        "config_hash": cell.config_hash,
        "code_hash": code.hash,
        "commit": code.commit,
        "seed": cell.seed,
        "dataset": cell.dataset,
        "imbalance": cell.imbalance,
        "row": cell.row,
        "device": provenance.device(),
        "versions": provenance.versions(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        # Of the epochs alone, over all starts of the run; then of its last start with all else.
        "seconds": round(sum(record["seconds"] for record in result.records), 1),
        "seconds_in_all": round(time.perf_counter() - started, 1),
        "evaluated_on": "validation" if cell.config.data.validation_fraction else "test",
        # What the config may leave to the size of the data.
        "batch_size": sized(cell.config, int(result.class_counts.sum())).batch_size,
        "class_counts": result.class_counts.tolist(),
        "last": {"epoch": result.records[-1]["epoch"], **result.last},
        "best": {"epoch": result.best_epoch, "chosen_on": result.chosen_on, **result.best},
        **({"ema": result.ema} if result.ema else {}),
        "images": len(result.correct),
        "correct": results.pack(result.correct),
        "left_out": np.flatnonzero(~result.decoded).tolist(),
        "curve": [_curve_point(record) for record in result.records if "eval" in record],
        "course": _courses(result.records),
        "measured_per_class": MEASURED_PER_CLASS,
        "feature_space": [
            {"epoch": record["epoch"], **record["feature_space"]}
            for record in result.records
            if "feature_space" in record
        ],
        "config": default.flatten(cell.config),
    }


# Figures of an evaluation that stand in a record of its last and best epoch alone.
_LONG = ("per_class", "reliability", "test_priors")


def _curve_point(record: dict) -> dict:
    figures = {
        name: {k: v for k, v in record[name].items() if k not in _LONG}
        for name in ("eval", "eval_ema")
        if name in record
    }
    averaged = {"ema": figures["eval_ema"]} if "eval_ema" in figures else {}
    return {"epoch": record["epoch"], "train": record["train"], **figures["eval"], **averaged}


def _courses(records: list[dict]) -> dict[str, list[float]]:
    """What the epochs keep by quarters, over the whole run, to four significant digits."""
    names = records[0].get("quarters", {})
    return {name: [float(f"{v:.4g}") for v in course(records, name)[1]] for name in names}
