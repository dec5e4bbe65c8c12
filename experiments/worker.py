"""A process that trains cells one after the other and appends their records."""

import contextlib
import dataclasses
import datetime
import gc
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

import jax
import numpy as np

from bccl_jax import config as default
from bccl_jax.data.long_tail import shot_groups
from bccl_jax.errors import BcclError, WorkdirError
from bccl_jax.evaluation.embed import make_embed
from bccl_jax.evaluation.feature_space import measure
from bccl_jax.reporting.records import course
from bccl_jax.system.interruption import Interrupted
from bccl_jax.system.output import lasting
from bccl_jax.training.loop import train_and_evaluate
from experiments import provenance, results
from experiments.design import Cell
from experiments.provenance import Code
from experiments.results import Paths

# Images of a class whose embeddings are measured, and about how often in a run.
MEASURED_PER_CLASS = 50
MEASURED_TIMES = 4


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a cell ended: "done", "stopped" (it goes on later) or "failed", and a word on it."""

    status: str
    message: str


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
        "class_counts": result.class_counts.tolist(),
        "last": {"epoch": result.records[-1]["epoch"], **result.last},
        "best": {"epoch": result.best_epoch, "chosen_on": result.chosen_on, **result.best},
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


def _curve_point(record: dict) -> dict:
    evaluation = {k: v for k, v in record["eval"].items() if k != "per_class"}
    return {"epoch": record["epoch"], "train": record["train"], **evaluation}


def _courses(records: list[dict]) -> dict[str, list[float]]:
    """What the epochs keep by quarters, over the whole run, to four significant digits."""
    names = records[0].get("quarters", {})
    return {name: [float(f"{v:.4g}") for v in course(records, name)[1]] for name in names}


class EmbeddingMeasures:
    """Measures the feature space of the evaluation split a few times in a run, images in memory."""

    def __init__(self):
        self._embeds = None

    def __call__(self, run, state, epoch: int) -> dict:
        """What to add to the epoch's record; nothing where none is due."""
        config, split = run.config, run.dataset.monitored
        every = config.eval.every_epochs
        interval = max(1, round(config.epochs / MEASURED_TIMES / every)) * every
        if split.encoded or (epoch != config.epochs and epoch % interval):
            return {}
        if self._embeds is None:
            spaces = {"backbone": None} | {h: h for h in run.network.heads if h == "projector"}
            self._embeds = {name: make_embed(run.classifier, head) for name, head in spaces.items()}
        split = split.take(_first_of_each_class(split.labels, MEASURED_PER_CLASS))
        groups = shot_groups(run.class_counts, config.eval.many_above, config.eval.few_below)
        found = {}
        for name, embed in self._embeds.items():
            measured = measure(*embed(state, split), len(run.class_counts))
            found[name] = measured.record(groups)
        return {"feature_space": found}


def _first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the first `count` images of each class, in file order."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    return np.sort(order[np.arange(len(labels)) - starts < count])


def serve(
    connection: Connection, paths: Paths, code: Code, train: Callable[..., results.Record] = run
) -> None:
    """Trains the cells that come over a connection; a process's main function.

    It ends when the other side closes, after a signal, or when its parent is gone; in each case the
    run under way saves a checkpoint first.

    Args:
      connection: cells come in, an `Outcome` goes out for each.
      paths: of the output directory.
      code: what the command was started with.
      train: what makes a cell's record, as `run`.
    """
    # The terminal's Ctrl-C is the parent's to answer.
    os.setsid()
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    # The parent may be gone, with what it was sent unread.
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            cell = connection.recv()
            outcome = _attempt(cell, paths, code, train)
            _forget()
            connection.send(outcome)
            if outcome.status == "stopped":
                return


def _stop_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _attempt(cell: Cell, paths: Paths, code: Code, train: Callable) -> Outcome:
    log = paths.run(cell, code.hash).with_suffix(".log")
    try:
        if provenance.code_hash() != code.hash:
            raise WorkdirError("the code was changed while the command ran; give it again")
        log.parent.mkdir(parents=True, exist_ok=True)
        with _output_to(log):
            record = train(cell, paths, code)
        results.append(paths.results, record)
    except Interrupted as stop:
        return Outcome("stopped", str(stop))
    except BcclError as error:
        return Outcome("failed", str(error))
    except Exception as error:  # whatever it is, the other cells can be run
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        return Outcome("failed", f"{type(error).__name__}: {error}; {log} has the rest")
    return Outcome("done", f"all {record['last']['all']:.2f} % in {record['seconds']:.0f} s")


@contextlib.contextmanager
def _output_to(path: pathlib.Path):
    """What a run prints, bars and warnings of libraries included, goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        with lasting():
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, number)
            os.close(saved)


def _forget() -> None:
    """Gives the memory of a run back: JAX keeps every program, with what its functions hold."""
    jax.clear_caches()
    gc.collect()
