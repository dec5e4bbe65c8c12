"""Runs experiments: every cell that has no record yet, the most informative first.

    python -m experiments.run table4 --seeds=3
    python -m experiments.run table4 figure3 --dataset=cifar100_small --budget=60

A run that is interrupted, by Ctrl-C, SIGTERM, SIGKILL or the end of the budget, goes on from its
last checkpoint with the next command. Results of other code or of another config are never taken
for those that were asked for.
"""

import argparse
import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator

from bccl_jax import config as default
from bccl_jax.errors import BcclError
from bccl_jax.training.assemble import load_data
from bccl_jax.validation import validate
from experiments import provenance, results, selection, worker
from experiments.catalogue import EXPERIMENTS
from experiments.design import Cell, Scale, cells

# What a run under way needs to save itself before the budget ends, seconds.
GRACE = 20.0


def main() -> int:
    """Runs what the flags say; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.run",
        description="Runs every cell that has no record yet; the same command goes on.",
    )
    selection.add_arguments(parser)
    parser.add_argument(
        "--budget", type=float, metavar="MINUTES", help="stop before that; the next command goes on"
    )
    parser.add_argument(
        "--parallel", type=int, metavar="N",
        help="runs at a time, each a process; on a CPU one for each core, on a GPU 1",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="list what would be run, and stop")
    arguments = parser.parse_args()
    if arguments.budget is not None and not arguments.budget * 60 > GRACE:
        parser.error(f"--budget={arguments.budget} is less than the {GRACE:.0f} s to stop in")
    if arguments.parallel is not None and arguments.parallel < 1:
        parser.error(f"--parallel={arguments.parallel} is less than 1")
    deadline = None
    if arguments.budget is not None:
        deadline = time.monotonic() + 60 * arguments.budget - GRACE
    try:
        paths = worker.Paths(arguments.output.expanduser().absolute())
        planned = plan(arguments.experiments, selection.scale(arguments))
        check(planned)
        waiting = outstanding(planned, results.load(paths.results))
        print(f"{len(planned) - len(waiting)} of {len(planned)} runs have a record", flush=True)
        if arguments.plan:
            for cell in waiting:
                print(_label(cell))
            return 0
        if not waiting:
            print(f"nothing left to do; {paths.results} has all of them")
            return 0
        parallel = min(arguments.parallel or _default_parallel(), len(waiting))
        return Runner(paths, parallel, deadline).run(waiting)
    except BcclError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def plan(names: list[str], scale: Scale) -> list[Cell]:
    """The cells of several experiments in the order to run them, each run once.

    Raises:
      ConfigError: a row does not fit a data set.
    """
    found = {}
    for name in names:
        for cell in cells(EXPERIMENTS[name], scale):
            found.setdefault((cell.config_hash, cell.seed), cell)
    return list(found.values())


def check(planned: list[Cell]) -> None:
    """Checks every config, and that the data of each is there.

    Raises:
      BcclError: what `validate` and `load_data` raise.
    """
    for cell in planned:
        validate(cell.config)
    data = {json.dumps(default.flatten(cell.config.data)): cell.config for cell in planned}
    for config in data.values():
        load_data(config)


def outstanding(planned: list[Cell], records: list[results.Record]) -> list[Cell]:
    """The cells that have no record by the code that is checked out."""
    done = {results.key(record) for record in records}
    code = provenance.code_hash()
    return [cell for cell in planned if (code, cell.config_hash, cell.seed) not in done]


def _default_parallel() -> int:
    on_cpu = os.environ.get("JAX_PLATFORMS") == "cpu" or shutil.which("nvidia-smi") is None
    return len(os.sched_getaffinity(0)) if on_cpu else 1


def _label(cell: Cell) -> str:
    where = f"{cell.dataset} {cell.imbalance:g}"
    return f"{cell.row}, {where}, seed {cell.seed} [{cell.config_hash}]"


@dataclasses.dataclass
class _Worker:
    process: multiprocessing.Process
    connection: multiprocessing.connection.Connection
    cores: list[int]
    cell: Cell | None = None
    started: float = 0.0


class _Stop(Exception):
    """A signal asks to stop."""


class Runner:
    """Hands cells to worker processes until none is left or time is over.

    Args:
      paths: of the output directory.
      parallel: worker processes.
      deadline: of `time.monotonic`, when runs under way are told to save and stop; None for none.
      serve: the main function of a worker process, as `worker.serve`.
    """

    def __init__(
        self,
        paths: worker.Paths,
        parallel: int,
        deadline: float | None = None,
        serve: Callable = worker.serve,
    ):
        self._paths, self._parallel, self._deadline = paths, parallel, deadline
        self._serve = serve
        # Longest time that a cell of a kind took so far.
        self._seconds: dict[tuple, float] = {}
        self._failed = 0

    def run(self, waiting: list[Cell]) -> int:
        """Runs the cells in their order; returns the exit code, 0 if every one has a record."""
        total, queue, left = len(waiting), list(waiting), len(waiting)
        workers = [self._start(cores) for cores in _cores(self._parallel)]
        _on_sigterm()
        try:
            for outcome, done_by in self._work(workers, queue):
                left -= outcome.status == "done"
                self._failed += outcome.status == "failed"
                counted = f"{total - left} of {total}"
                print(
                    f"{counted}: {_label(done_by)}: {outcome.status}, {outcome.message}", flush=True
                )
        except (KeyboardInterrupt, _Stop) as stop:
            print("stopping: runs under way save themselves first", file=sys.stderr, flush=True)
            asked = signal.SIGTERM if isinstance(stop, _Stop) else signal.SIGINT
            return 128 + asked
        finally:
            _stop(workers)
        if left:
            why = f"{self._failed} failed, " if self._failed else ""
            print(f"{why}{left} of {total} runs are left; the same command goes on", flush=True)
        return int(left > 0)

    def _work(
        self, workers: list[_Worker], queue: list[Cell]
    ) -> Iterator[tuple[worker.Outcome, Cell]]:
        told = False
        while True:
            for each in workers:
                if each.cell is None and queue and not told and self._fits(queue[0]):
                    each.cell, each.started = queue.pop(0), time.monotonic()
                    each.connection.send(each.cell)
            busy = {each.connection: each for each in workers if each.cell is not None}
            if not busy:
                return
            timeout = None
            if self._deadline is not None and not told:
                timeout = max(0.0, self._deadline - time.monotonic())
            ready = multiprocessing.connection.wait(list(busy), timeout)
            if not ready and not told:
                told = True
                for each in busy.values():
                    os.kill(each.process.pid, signal.SIGTERM)
            for connection in ready:
                each = busy[connection]
                cell, each.cell = each.cell, None
                try:
                    outcome = connection.recv()
                except EOFError:
                    each.process.join()
                    workers.remove(each)
                    code = each.process.exitcode
                    # Before it had begun, nothing catches the signal and nothing is lost.
                    status = "stopped" if told and code == -signal.SIGTERM else "failed"
                    outcome = worker.Outcome(status, f"its process ended with {code}")
                    if not told:
                        workers.append(self._start(each.cores))
                if outcome.status == "done":
                    kind = _kind(cell)
                    seconds = time.monotonic() - each.started
                    self._seconds[kind] = max(seconds, self._seconds.get(kind, 0.0))
                yield outcome, cell

    def _start(self, cores: list[int]) -> _Worker:
        # Nothing of JAX may be inherited; each worker has its own.
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=self._serve, args=(there, self._paths, cores))
        process.start()
        there.close()
        return _Worker(process, here, cores)

    def _fits(self, cell: Cell) -> bool:
        """Whether a cell can be expected to end before the deadline."""
        if self._deadline is None:
            return True
        return time.monotonic() + self._seconds.get(_kind(cell), 0.0) < self._deadline


def _kind(cell: Cell) -> tuple:
    """Cells that take about the same time."""
    config = cell.config
    return cell.dataset, cell.imbalance, config.model.backbone, config.epochs, config.method.name


def _cores(parallel: int) -> list[list[int]]:
    """The cores of each worker: an equal part, or all of them where there are too few."""
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // parallel
    if parallel == 1 or not share:
        return [[] for _ in range(parallel)]
    return [cores[i * share : (i + 1) * share] for i in range(parallel)]


def _on_sigterm() -> None:
    def stop(*_):
        raise _Stop

    signal.signal(signal.SIGTERM, stop)


def _stop(workers: list[_Worker]) -> None:
    for each in workers:
        if each.process.is_alive() and each.cell is not None:
            os.kill(each.process.pid, signal.SIGTERM)
        each.connection.close()
    for each in workers:
        each.process.join()


if __name__ == "__main__":
    sys.exit(main())
