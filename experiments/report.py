"""Reports experiments: tables, tests and pictures of the runs that are recorded.

    python -m experiments.report table4 --seeds=3
    python -m experiments.report table4 figure3 --dataset=cifar100_small
    python -m experiments.report --methods=bccl,cross_entropy --dataset=FILE.py --data-dir=DIR

Takes the flags of `experiments.run`. Nothing is trained and no data set is read. Figures of
different versions of the code never stand in one report.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from bccl_jax.errors import BcclError
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.output import of_a_command

from .designing import selection
from .reporting.writing import report


def main(argv: Sequence[str] | None = None) -> int:
    """Reports what the flags say; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.report",
        description="Tables and pictures of recorded runs; takes the flags of experiments.run.",
        # --seed=1 would be taken for --seeds=1, which runs seed 0.
        allow_abbrev=False,
    )
    selection.add_arguments(parser)
    parser.add_argument(
        "--report", type=pathlib.Path, metavar="DIR",
        help="The folder to write the report into (default: report/ in --output).",
    )  # fmt: skip
    parser.add_argument(
        "--code", metavar="HASH",
        help="Take the records of the code of this hash (default: the code that is checked out if "
        "it has records, else the newest).",
    )  # fmt: skip
    arguments = selection.parse(parser, argv)
    target = arguments.report or arguments.output / "report"
    failed = []
    for name in arguments.chosen:
        try:
            print(report(name, arguments, directory_to_write(target, "--report")))
        except BcclError as error:
            print(f"error: {error}", file=sys.stderr)
            failed.append(name)
        except BrokenPipeError:
            raise
        except OSError as error:
            print(f"error: --report={target}: {error}; name another folder", file=sys.stderr)
            return 1
    if len(failed) < len(arguments.chosen):
        print(f"written to {target}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    with of_a_command():
        sys.exit(main())
