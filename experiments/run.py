"""Runs experiments: every cell that has no record yet, the most informative first.

    python -m experiments.run table4 --seeds=3
    python -m experiments.run table4 figure3 --dataset=cifar100_small --budget=60
    python -m experiments.run --methods=bccl,cross_entropy --dataset=FILE.py --data-dir=DIR

A run that is interrupted, by a signal, a closed terminal or the end of the budget, goes on from its
last checkpoint with the next command. Results of other code or of another config are never taken
for those that were asked for.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from bccl_jax.errors import BcclError
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.output import of_a_command

from .designing import selection
from .records import results
from .records.results import Paths
from .running.cores import default_parallel
from .running.planning import check, label, only, outstanding, plan
from .running.runner import GRACE, Runner


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what the flags say; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.run",
        description="Runs every cell that has no record yet; the same command goes on.",
        # --seed=1 would be taken for --seeds=1, which runs seed 0.
        allow_abbrev=False,
    )
    selection.add_arguments(parser)
    parser.add_argument(
        "--budget",
        type=float,
        metavar="MINUTES",
        help="Stop before so many minutes are over. The same command goes on later.",
    )
    parser.add_argument(
        "--parallel", type=int, metavar="N",
        help="How many runs are trained at a time, each in a process of its own (default: one for "
        "each core on a CPU, 1 on a GPU).",
    )  # fmt: skip
    parser.add_argument(
        "--rows", metavar="ROW[;ROW]",
        help="Make these rows of the experiments alone, in their order.",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="List what would be run, and stop.")
    arguments = selection.parse(parser, argv)
    if arguments.budget is not None and not GRACE < arguments.budget * 60 < float("inf"):
        parser.error(f"--budget={arguments.budget}: choose more than the {GRACE:.0f} s to stop in")
    if arguments.parallel is not None and arguments.parallel < 1:
        parser.error(f"--parallel={arguments.parallel} is less than 1")
    deadline = None
    if arguments.budget is not None:
        deadline = time.monotonic() + 60 * arguments.budget - GRACE
    try:
        paths = Paths(directory_to_write(arguments.output, "--output").absolute())
        planned = plan(arguments.chosen.values(), selection.scale(arguments))
        if arguments.rows is not None:
            planned = only(planned, arguments.rows.split(";"))
        waiting = outstanding(planned, results.load(paths.results))
        print(f"{len(planned) - len(waiting)} of {len(planned)} runs have a record", flush=True)
        if arguments.plan:
            for cell in waiting:
                print(label(cell))
            return 0
        if not waiting:
            print(f"nothing left to do; {paths.results} has all of them")
            return 0
        check(waiting, paths)
        parallel = min(arguments.parallel or default_parallel(), len(waiting))
        return Runner(paths, parallel, deadline).run(waiting)
    except BcclError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    with of_a_command():
        sys.exit(main())
