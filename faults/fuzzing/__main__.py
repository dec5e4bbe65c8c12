"""Gives readers of what comes from outside broken input: python -m faults.fuzzing.

Each input has to be read, or refused in one sentence that names the thing; whatever else happens is
a FAIL, told with the command that makes it again and the file that it is kept in. The exit code is
1 if there is any.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from faults.fuzzing.kinds import KINDS  # noqa: E402  after the platform is named
from faults.fuzzing.running import Counts, Runner  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
_INPUTS = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the arguments ask for; returns the exit code."""
    options = _parser().parse_args(arguments)
    names = options.kind.split(",") if options.kind else list(KINDS)
    if unknown := [name for name in names if name not in KINDS]:
        print(
            f"error: no kind is called {unknown[0]}; there are {', '.join(KINDS)}", file=sys.stderr
        )
        return 2
    runner, kinds = Runner(options.seed, options.output), [KINDS[name] for name in names]
    total, found = sum(kind.share for kind in kinds), []
    # What became of the inputs of each kind and of all, in Markdown, as far as it is known.
    print(
        "| kind | inputs | read | refused | FAIL | inputs/s | peak MB |",
        "|---|" + "---:|" * 6,
        sep="\n",
    )
    for kind in kinds:
        share = kind.share / total
        numbers, seconds = range(sys.maxsize), None
        if options.minutes is not None:
            seconds = 60 * options.minutes * share
        if options.inputs is not None or options.minutes is None:
            numbers = range(max(1, round((options.inputs or _INPUTS) * share)))
        if options.only is not None:
            numbers = range(options.only, options.only + 1)
        found.append(runner.run(kind, numbers, seconds))
        print(_row(found[-1], kind.name), flush=True)
    print(_sum(found))
    return int(any(counts.failed for counts in found))


def _sum(found: Sequence[Counts]) -> str:
    whole = Counts("all")
    for each in found:
        whole.read += each.read
        whole.refused += each.refused
        whole.seconds += each.seconds
        whole.megabytes = max(whole.megabytes, each.megabytes)
        whole.fails[each.kind] = each.failed
    return _row(whole, f"all, in {whole.seconds / 60:.1f} minutes")


def _row(counts: Counts, name: str) -> str:
    speed = counts.inputs / max(counts.seconds, 1e-9)
    figures = (counts.inputs, counts.read, counts.refused, counts.failed, round(speed))
    return f"| {name} | {' | '.join(f'{f:,}' for f in figures)} | {counts.megabytes:,} |"


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m faults.fuzzing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--inputs", type=int, help=f"in all ({_INPUTS:,} unless --minutes is given)")
    made.add_argument("--minutes", type=float, help="in all; no more inputs are begun then")
    made.add_argument("--kind", help=f"some of {', '.join(KINDS)}, joined by commas")
    made.add_argument("--seed", type=int, default=0, help="of the inputs (default: 0)")
    made.add_argument("--only", type=int, help="the input of this number alone, of each kind")
    made.add_argument(
        "--output",
        type=pathlib.Path,
        default=ROOT / "runs" / "fuzzing",
        help="folder for the inputs that fail (default: %(default)s)",
    )
    return made


if __name__ == "__main__":
    raise SystemExit(main())
