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
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np

from bccl_jax import config as default
from bccl_jax.errors import BcclError
from experiments import provenance, results
from experiments.design import Cell

# Images of a class whose embeddings are measured, and how often in a run.
MEASURED_PER_CLASS = 50
MEASURED_TIMES = 4


@dataclasses.dataclass(frozen=True)
class Paths:
    """Where an output directory keeps what.

    Attributes:
      root: the directory.
    """

    root: pathlib.Path

    @property
    def results(self) -> pathlib.Path:
        """The records of finished runs."""
        return self.root / "results.jsonl"

    def run(self, cell: Cell) -> pathlib.Path:
        """The directory of a run; other code or another config never shares it."""
        name = f"{cell.dataset}-{cell.config_hash}-seed{cell.seed}"
        return self.root / "runs" / provenance.code_hash() / name


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a cell ended: "done", "stopped" (it goes on later) or "failed", and a word on it."""

    status: str
    message: str


def serve(connection: Connection, paths: Paths, cores: Sequence[int]) -> None:
    """Trains the cells that come over a connection; a process's main function.

    It ends when the other side closes, after SIGTERM, or when its parent is gone; in each case the
    run under way saves a checkpoint first.

    Args:
      connection: cells come in, an `Outcome` goes out for each.
      paths: of the output directory.
      cores: CPU cores to stay on; empty for all.
    """
    # The terminal's Ctrl-C is the parent's to answer.
    os.setsid()
    if cores:
        os.sched_setaffinity(0, cores)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    configured = False
    while True:
        try:
            cell = connection.recv()
        except EOFError:
            return
        if not configured:
            from bccl_jax.devices import configure

            configure(cell.config.deterministic)
            configured = True
        outcome = _attempt(cell, paths)
        _forget()
        with contextlib.suppress(BrokenPipeError):
            connection.send(outcome)
        if outcome.status == "stopped":
            return


def _forget() -> None:
    """Gives the memory of a run back: JAX keeps every program, with what its functions hold."""
    import jax

    jax.clear_caches()
    gc.collect()


def _stop_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _attempt(cell: Cell, paths: Paths) -> Outcome:
    from bccl_jax.training.interruption import Interrupted

    log = paths.run(cell).with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _output_to(log):
            record = run(cell, paths)
    except Interrupted as stop:
        return Outcome("stopped", str(stop))
    except BcclError as error:
        return Outcome("failed", str(error))
    except Exception as error:  # whatever it is, the other cells can be run
        with log.open("a") as file:
            traceback.print_exc(file=file)
        return Outcome("failed", f"{type(error).__name__}: {error}; {log} has the rest")
    results.append(paths.results, record)
    return Outcome("done", f"{record['last']['all']:.2f} % in {record['seconds']:.0f} s")


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
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, number)
            os.close(saved)


def run(cell: Cell, paths: Paths) -> results.Record:
    """Trains a cell, from its last checkpoint if it has one, and returns its record.

    Args:
      cell: what to run.
      paths: of the output directory.

    Returns:
      The record, as `docs/experiments.md` lists its fields.

    Raises:
      BcclError: as `train_and_evaluate`.
      Interrupted: SIGTERM, after a checkpoint.
    """
    from bccl_jax.training.loop import train_and_evaluate

    started = time.perf_counter()
    workdir = paths.run(cell)
    result = train_and_evaluate(cell.config, workdir, observe=EmbeddingMeasures())
    return {
        "config_hash": cell.config_hash,
        "code_hash": provenance.code_hash(),
        "commit": provenance.commit(),
        "seed": cell.seed,
        "dataset": cell.dataset,
        "imbalance": cell.imbalance,
        "row": cell.row,
        "device": provenance.device(),
        "versions": provenance.versions(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        # Of the epochs alone, over all starts of the run; then of this start with all else.
        "seconds": round(sum(record["seconds"] for record in result.records), 1),
        "seconds_in_all": round(time.perf_counter() - started, 1),
        "evaluated_on": "validation" if cell.config.data.validation_fraction else "test",
        "class_counts": result.class_counts.tolist(),
        "last": {"epoch": result.records[-1]["epoch"], **result.last},
        "best": {"epoch": result.best_epoch, "chosen_on": result.chosen_on, **result.best},
        "images": len(result.correct),
        "correct": results.pack(result.correct),
        "curve": [_curve_point(record) for record in result.records if "eval" in record],
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


class EmbeddingMeasures:
    """Measures the feature space of the evaluation split a few times in a run, images in memory."""

    def __init__(self):
        self._embeds = None

    def __call__(self, run, state, epoch: int) -> dict:
        """What to add to the epoch's record; nothing where none is due."""
        from bccl_jax.data.long_tail import shot_groups
        from bccl_jax.evaluation.embed import make_embed
        from bccl_jax.evaluation.feature_space import measure

        config, split = run.config, run.dataset.monitored
        every = config.eval.every_epochs
        interval = max(1, round(config.epochs / MEASURED_TIMES / every)) * every
        if split.encoded or (epoch != config.epochs and epoch % interval):
            return {}
        if self._embeds is None:
            spaces = {"backbone": None} | {h: h for h in run.network.heads if h == "projector"}
            self._embeds = {name: make_embed(run, head) for name, head in spaces.items()}
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
