"""What a record says, also an older one."""

import numpy as np

from bccl_jax.evaluation.metrics import low_classes

from .results import Record, unpack


def figure(record: Record, epoch: str, name: str, averaged: bool = False) -> float | None:
    """A figure of an evaluation; of older runs what their records allow, else None.

    Args:
      record: of a run.
      epoch: "last" or "best".
      name: a key of `Evaluation.record`.
      averaged: of the averaged weights, which a run with `optimizer.ema` has; "best" is then the
        best epoch of the raw ones.
    """
    if averaged:
        return record.get("ema", {}).get(epoch, {}).get(name)
    found = record[epoch]
    if name in found:
        return found[name]
    if name == "top1" and epoch == "last":
        return 100 * float(correct(record).mean())
    return low_classes(np.array(found.get("per_class", []), np.float64)).get(name)


def class_accuracies(record: Record, averaged: bool = False) -> np.ndarray:
    """Accuracy of each class at the last epoch, float64 [K]; null becomes NaN.

    Args:
      record: of a run.
      averaged: of the averaged weights, which the record must have.
    """
    last = record["ema"]["last"] if averaged else record["last"]
    found = last.get("per_class", [None] * len(record["class_counts"]))
    return np.array(found, np.float64)


def batch_size(record: Record) -> int:
    """Images of a batch, as sized to the data; of older records as the config says."""
    return record.get("batch_size", record["config"]["batch_size"])


def images(record: Record) -> tuple[int, ...] | None:
    """What says which images a record is of; None where it does not tell."""
    left_out = record.get("left_out")
    if left_out is None:  # a record of an older run, which tells how many were left out alone
        left_out = None if record["last"].get("undecoded") else ()
    return None if left_out is None else (record["images"], *left_out)


def correct(record: Record) -> np.ndarray:
    """Whether each image evaluated on was predicted right, bool [N]."""
    return unpack(record["correct"], record["images"])
