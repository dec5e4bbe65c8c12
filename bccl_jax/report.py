"""Writes what there is to see of runs into one file of HTML.

python -m bccl_jax.report runs/digits_lt
python -m bccl_jax.report runs/digits_lt runs/digits_lt_cross_entropy --output=both.html
"""

from bccl_jax.commands.running import Parser, run

_ABOUT = """Writes what there is to see of runs into one file of HTML, which opens from disk.

  python -m bccl_jax.report runs/digits_lt
  python -m bccl_jax.report runs/digits_lt runs/digits_lt_cross_entropy --output=both.html

It evaluates each run's last checkpoint, for mistakes, embeddings and differences image by image; a
run that is under way, or whose pictures are not at hand, is told by its records. Several runs are
compared with the first. Needs pip install "bccl_jax[report]"."""


def parser() -> Parser:
    """The flags."""
    made = Parser(prog="python -m bccl_jax.report", description=_ABOUT)
    made.add_argument(
        "workdirs", nargs="+", metavar="WORKDIR", help="directory of a run, or a shared file"
    )
    made.add_argument(
        "--output",
        metavar="FILE.html",
        help="the file to write, in place of an older report or of nothing (default of one run: "
        "WORKDIR/report.html)",
    )
    made.add_argument(
        "--records_only",
        action="store_true",
        help="tell what the runs recorded and compute nothing: no pictures, no embeddings",
    )
    made.add_argument("--data_dir", metavar="DIR", help="where the data of the runs lies now")
    made.add_flags_of_run()
    return made


def main() -> int:
    """Reports what the flags say; returns the exit code."""
    flags = parser().parse_args()
    # Here, for JAX takes seconds to start, and mistakes of the flags are told at once.
    from bccl_jax.page.library import plotly_script
    from bccl_jax.page.written import page_file, write_page
    from bccl_jax.system.names import printable
    from bccl_jax.system.progress import under_way

    output, plotly = page_file(flags.workdirs, flags.output), plotly_script()

    from bccl_jax.page.document import document
    from bccl_jax.page.gathering import Asked, gather

    asked = Asked(
        flags.checkpoint, flags.average, flags.imports, flags.data_dir, flags.records_only
    )
    runs = gather(flags.workdirs, asked)
    with under_way("writing the report"):
        size = write_page(output, document(runs, plotly))
    print(f"report  {printable(output)} ({size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    run(main)
