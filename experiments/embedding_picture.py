"""Figure 1 with real embeddings: how much room head and tail classes have.

One column a run: the embeddings of its evaluation split by its last checkpoint. On the circle where
they have two dimensions (--config.method.projector_dim=2), by t-SNE otherwise.

    python -m experiments.embedding_picture runs/digits_lt runs/digits_lt_cross_entropy \
        --head=backbone --titles='BCCL;cross-entropy' --output=runs/embeddings.png

t-SNE keeps neighbours and nothing else: how large groups are and how far apart says nothing. The
angle from a class to the nearest other one, below each column, is that of the embeddings themselves
(`bccl_jax.evaluation.feature_space`), the mean over the classes of a shot group.
"""

import argparse
import pathlib
from collections.abc import Sequence

from absl import logging

from bccl_jax.config.dataset import told_by_flag
from bccl_jax.errors import BcclError, ConfigError
from bccl_jax.system.output import of_a_command

from .embeddings.columns import default_titles, embedded
from .embeddings.picture import draw
from .figures.files import save
from .running.restoring import restore


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the flags, draws and writes."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("runs", nargs="+", type=pathlib.Path, help="Directories of runs.")
    made.add_argument(
        "--output",
        type=pathlib.Path,
        required=True,
        help="The file to write, FILE.png or FILE.svg; both are written.",
    )
    made.add_argument("--titles", help="A title for each run, separated by ;.")
    made.add_argument(
        "--head",
        choices=("projector", "backbone"),
        default="projector",
        help="Which features are drawn (default: %(default)s).",
    )
    made.add_argument(
        "--samples", type=int, default=2000, help="Points of each run (default: %(default)s)."
    )
    made.add_argument("--data-dir", help="Where the data of the runs lies now.")
    options = made.parse_args(argv)
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what is meant
    try:
        restored = [restore(path, options.data_dir) for path in options.runs]
        titles = default_titles([run.config for run, _ in restored])
        if options.titles is not None:
            titles = options.titles.split(";")
        if len(titles) != len(restored):
            raise ConfigError(f"--titles has {len(titles)} titles for {len(restored)} runs")
        head = None if options.head == "backbone" else options.head
        columns = [
            embedded(run, state, title, head)
            for (run, state), title in zip(restored, titles, strict=True)
        ]
    except BcclError as error:
        raise SystemExit(f"error: {told_by_flag(error, '--data-dir')}") from None
    for path, (run, state), column in zip(options.runs, restored, columns, strict=True):
        step = int(state.step)
        print(
            f"{path}: step {step} (epoch {step // run.steps_per_epoch}), {len(column.labels)} "
            f"images in {column.features.shape[1]} dimensions"
        )
    output = options.output
    stem = output.with_suffix("") if output.suffix in (".png", ".svg") else output
    for path in save(draw(columns, options.samples), stem, dpi=200):
        print(f"written to {path}")


if __name__ == "__main__":
    with of_a_command():
        main()
