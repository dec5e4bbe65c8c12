"""The flags that say which experiments, at what scale: the same for running and reporting."""

import argparse
import pathlib

from bccl_jax.models import BACKBONES
from experiments.catalogue import EXPERIMENTS
from experiments.design import CONFIGS, Scale


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags to a parser."""
    parser.add_argument(
        "experiments", nargs="+", metavar="EXPERIMENT", choices=EXPERIMENTS,
        help=f"one or more of {', '.join(EXPERIMENTS)}",
    )  # fmt: skip
    parser.add_argument("--seeds", type=_positive, default=3, help="seeds 0 to N-1 (%(default)s)")
    parser.add_argument(
        "--dataset", type=_names, default=(), metavar="NAME[,NAME]",
        help=f"in place of the paper's: {', '.join(CONFIGS)}",
    )  # fmt: skip
    parser.add_argument(
        "--imbalance", type=_factors, default=(), metavar="IF[,IF]",
        help="imbalance factors in place of the paper's",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=_positive, help="of each run; warm-ups shrink in proportion"
    )
    parser.add_argument("--backbone", choices=BACKBONES, help="of each run")
    parser.add_argument("--data-dir", metavar="DIR", help="where the data lies (the config's own)")
    parser.add_argument(
        "--split", choices=("test", "validation"),
        help="what to evaluate on; studies that choose settings take the validation part of the "
        "training split, the paper's tables and figures the test split",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("runs/experiments"), metavar="DIR",
        help="results.jsonl and the runs (%(default)s)",
    )  # fmt: skip


def scale(arguments: argparse.Namespace) -> Scale:
    """The scale that parsed flags describe."""
    return Scale(
        seeds=arguments.seeds,
        datasets=arguments.dataset,
        imbalances=arguments.imbalance,
        epochs=arguments.epochs,
        backbone=arguments.backbone,
        data_dir=arguments.data_dir,
        on_validation=None if arguments.split is None else arguments.split == "validation",
    )


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, text.split(","))))
    unknown = [name for name in names if name not in CONFIGS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"{text!r} names no data set that is known; there are {', '.join(CONFIGS)}"
        )
    return names


def _factors(text: str) -> tuple[float, ...]:
    try:
        factors = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        factors = ()
    if not factors or not all(1 <= factor < float("inf") for factor in factors):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of factors of 1 or more, as 100,50")
    return factors
