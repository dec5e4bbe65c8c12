"""Predicts the classes of pictures by what a run trained.

python -m bccl_jax.predict runs/folder_photos new/*.jpg
python -m bccl_jax.predict runs/folder_photos new/ @list.txt --top=3 --output=found.csv
"""

import sys

from bccl_jax.commands.running import Parser, run
from bccl_jax.errors import BcclError, DataError

# Some pictures could not be decoded; the others were predicted.
SOME_BROKEN = 3

_ABOUT = """Predicts the classes of pictures by what a run trained; its data need not be there.

  python -m bccl_jax.predict runs/folder_photos new/*.jpg
  python -m bccl_jax.predict runs/folder_photos new/ @list.txt --top=3 --output=found.csv"""
_CODES = """Ends with 0; with 1 where nothing was predicted, which one sentence explains; with 3
where some pictures could not be decoded, which are named, and the others were predicted."""


def parser() -> Parser:
    """The flags."""
    made = Parser(prog="python -m bccl_jax.predict", description=_ABOUT, epilog=_CODES)
    made.add_argument("workdir", metavar="WORKDIR", help="directory of a run, or a shared file")
    made.add_argument(
        "pictures",
        metavar="PICTURES",
        nargs="*",
        help="files, folders, patterns such as 'new/*.jpg', and @FILE, which names a file in each "
        "line",
    )
    made.add_argument(
        "--list", action="append", default=[], metavar="FILE", help="the same as @FILE"
    )
    made.add_argument(
        "--top", type=int, default=5, metavar="K", help="classes of each picture (default 5)"
    )
    made.add_argument(
        "--output", metavar="FILE", help="a file to write, .csv or .json, instead of lines here"
    )
    made.add_argument(
        "--overwrite", action="store_true", help="let --output take the place of a file"
    )
    made.add_argument(
        "--adjust",
        type=float,
        metavar="T",
        help="post-hoc logit adjustment: the log prior of the classes, times this factor, usually "
        "0 to 1, is taken from the logits; refused where the loss has the prior (default: as the "
        "run was evaluated)",
    )
    made.add_argument(
        "--batch_size", type=int, default=64, metavar="N", help="pictures at a time (default 64)"
    )
    made.add_argument(
        "--max_pixels",
        type=int,
        metavar="N",
        help="a picture of more is left out (default: config.data.max_pixels of the run)",
    )
    made.add_flags_of_run()
    return made


def main() -> int:
    """Predicts what the flags say; returns the exit code."""
    flags = parser().parse_intermixed_args()
    if flags.top < 1:
        raise BcclError(f"--top is {flags.top}; it must be at least 1")
    # Here, for JAX takes seconds to start, and mistakes of the flags are told at once.
    from bccl_jax.system.names import printable
    from bccl_jax.system.progress import under_way
    from bccl_jax.use import given, listing
    from bccl_jax.use.output import file_to_write

    kinds, overwrite = listing.KINDS, flags.overwrite
    output = flags.output and file_to_write(flags.output, kinds, overwrite)
    items = []
    for text in [*flags.pictures, *(f"@{path}" for path in flags.list)]:
        items += given.listed_in(text[1:]) if text.startswith("@") else given.paths_of(text)
    if not items:
        raise BcclError("no picture is named; write files, folders, patterns or @FILE, a list")

    from bccl_jax.use.model import load

    with under_way("reading the run"):
        model = load(
            flags.workdir,
            flags.checkpoint,
            average=flags.average,
            imports=flags.imports,
            batch_size=flags.batch_size,
            max_pixels=flags.max_pixels,
        )
    print(model, file=sys.stderr, flush=True)
    with under_way("predicting", len(items), unit="picture") as task:
        top = model.top(items, flags.top, flags.adjust, task.advance)
    found = listing.Listing(model, items, top)
    for name, reason in found.broken:
        print(f"left out: {name} cannot be decoded ({reason})", file=sys.stderr)
    if not len(found):
        raise DataError(f"none of the {len(items)} pictures can be decoded; give others")
    if output:
        listing.write(output, found.csv() if output.suffix == ".csv" else found.json())
        print(f"predictions of {len(found)} pictures are written to {printable(output)}")
    else:
        for line in found.lines():
            print(line)
    return SOME_BROKEN if found.broken else 0


if __name__ == "__main__":
    run(main)
