"""Does to small runs what goes wrong with large ones: python -m faults.

Each trial must end in the same bits as a run that nothing disturbed, if need be after one sentence
and the mend that it names, with nothing lost on the way; all else is a FAIL, whose folder is kept.

    python -m faults --minutes=2
    python -m faults --trials=1000 --at_once=2 --output=runs/faults
    python -m faults --kind=flip,cut --trials=50
    python -m faults --seed=0 --first=17 --trials=1     trial 17 of seed 0 once more

What depends on the moment, such as a kill, comes at about the same one when it is repeated.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence

from faults.campaign import Campaign, Verdict, drawn_until, table, usable
from faults.kinds import KINDS


def main(argv: Sequence[str] | None = None) -> int:
    """Does trials and prints their table; returns 1 if one failed."""
    given = _parser().parse_args(argv)
    unknown = set(given.kind) - set(KINDS)
    if unknown:
        print(f"error: there is no kind {min(unknown)!r}; name some of {', '.join(KINDS)}")
        return 2
    kinds = usable(given.kind)
    if not kinds:
        print("error: these kinds mount file systems, which takes root; name others")
        return 2
    folder = given.output or pathlib.Path(tempfile.mkdtemp(prefix="bccl_jax_faults_"))
    folder.mkdir(parents=True, exist_ok=True)
    # Read by the forks' common parent, which is started with the first of them.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder.absolute() / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
    verdicts: list[Verdict] = []
    started = time.monotonic()

    def done(verdict: Verdict) -> None:
        verdicts.append(verdict)
        drawn = verdict.drawn
        what = "FAIL" if verdict.failure else "told" if verdict.told else "same"
        print(f"{what}  {drawn.number} of seed {drawn.seed}: {drawn.kind.name}, {drawn.subject}")
        if verdict.failure:
            print(f"      {'; '.join(verdict.log)}\n      {verdict.failure}")
            print(
                f"      once more: python -m faults --seed={drawn.seed} --first={drawn.number} "
                f"--trials=1{_of(given.kind)}"
            )
        sys.stdout.flush()
        with (folder / "verdicts.jsonl").open("a") as file:
            file.write(json.dumps(_as_json(verdict)) + "\n")

    trials = given.trials if given.trials or given.minutes else 100
    campaign = Campaign(folder.absolute())
    drawn = drawn_until(
        given.seed, kinds, given.first, trials, given.minutes, lambda: campaign.preparing
    )
    campaign.runs(drawn, given.at_once, done)
    failed = sum(verdict.failure is not None for verdict in verdicts)
    print(f"\n{table(verdicts)}\n")
    if left := [name for name in given.kind or KINDS if KINDS[name] not in kinds]:
        print(f"left out, for they take root: {', '.join(left)}")
    print(
        f"{len(verdicts)} trials of seed {given.seed} in {(time.monotonic() - started) / 60:.1f} "
        f"minutes, {failed} failed; {folder}"
    )
    return int(failed > 0)


def _as_json(verdict):
    drawn = verdict.drawn
    found = {"seed": drawn.seed, "number": drawn.number, "kind": drawn.kind.name}
    found |= {"subject": drawn.subject, "told": verdict.told, "log": verdict.log}
    return found | {"failure": verdict.failure}


def _of(kinds):
    return f" --kind={','.join(kinds)}" if kinds else ""


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=int, help="how many (default: 100)")
    parser.add_argument(
        "--minutes", type=float, help="for so long, once prepared, in place of a number"
    )
    parser.add_argument(
        "--kind",
        type=lambda text: [name for name in text.split(",") if name],
        default=[],
        help=f"of these alone, by commas: {', '.join(KINDS)}",
    )
    parser.add_argument("--seed", type=int, default=0, help="which trials are drawn")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--at_once", type=int, default=1, help="trials side by side")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="folder of verdicts and failed trials (default: a new one)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
