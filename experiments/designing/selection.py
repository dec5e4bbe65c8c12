"""The flags that say which experiments, at what scale: the same for running and reporting."""

import argparse
import pathlib
import re
from collections.abc import Sequence

from bccl_jax.errors import ConfigError
from bccl_jax.models import BACKBONES
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.system.documentation import page
from bccl_jax.system.numbers import whole_number

from .catalogue import EXPERIMENTS
from .comparison import compared, name_of
from .design import Experiment, Scale
from .recipes import CONFIGS, find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags to a parser."""
    parser.add_argument(
        "experiments", nargs="*", metavar="EXPERIMENT", type=_experiment,
        help=f"The experiments to make: {', '.join(EXPERIMENTS)}.",
    )  # fmt: skip
    parser.add_argument(
        "--methods", metavar="METHOD[,METHOD]",
        help="Methods to compare with the first one, in place of an experiment; each is a row of "
        "the table. A preset stands behind a colon, as in bccl:released.",
    )  # fmt: skip
    parser.add_argument(
        "--seeds",
        type=_positive,
        default=3,
        help="Run seeds 0 to N-1 (default: %(default)s).",
        metavar="N",
    )
    parser.add_argument(
        "--dataset", type=_parts, default=(), metavar="NAME[,NAME]",
        help=f"The data sets, in place of the paper's: {', '.join(CONFIGS)}, or a config file as "
        "FILE.py[:ARGUMENT]. A shipped config file goes by its bare name too, such as folder.",
    )  # fmt: skip
    parser.add_argument(
        "--imbalance", type=_factors, default=(), metavar="IF[,IF]",
        help="The imbalance factors, in place of the paper's.",
    )  # fmt: skip
    parser.add_argument(
        "--epochs",
        type=_positive,
        metavar="N",
        help="The epochs of each run. Warm-ups shrink in proportion.",
    )
    parser.add_argument(
        "--backbone", metavar="NAME",
        help=f"The backbone of each run: {', '.join(BACKBONES)}, or one that the config file of "
        "--dataset registers.",
    )  # fmt: skip
    parser.add_argument(
        "--data-dir", metavar="DIR", help="Where the data lies (default: where the config says)."
    )
    parser.add_argument(
        "--split", choices=("test", "validation"),
        help="The split to evaluate on. The default of the paper's tables and figures is the test "
        "split; that of studies which choose settings is a validation part of the training split.",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("runs/experiments"), metavar="DIR",
        help="The folder of results.jsonl and of the runs (default: %(default)s).",
    )  # fmt: skip


# Of seeds or epochs.
_MOST = 1_000_000

# What `bccl_jax.main` and other tools call flags of experiments.
_MEANT = {
    "seed": "seeds (N runs seeds 0 to N-1)",
    "data": "dataset",
    "config": "dataset",
    "data_dir": "data-dir",
    "method": "methods",
    "algorithm": "methods",
    "dir": "data-dir",
    "imb_factor": "imbalance",
    "imbalance_factor": "imbalance",
    "workdir": "output",
    "output_dir": "output",
    "arch": "backbone",
    "model": "backbone",
    "workers": "parallel",
    "jobs": "parallel",
    "gpus": "parallel",
    "time": "budget",
    "dry_run": "plan",
}


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses a command line; what cannot be meant ends in a sentence with what may be.

    Args:
      parser: with the flags of `add_arguments`.
      argv: None for the process's own.

    Returns:
      The flags, and as `chosen` {name of the files: experiment}.
    """
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        name = unknown[0].partition("=")[0].lstrip("-").replace("-", "_")
        known = re.findall(r"--([\w-]+)", parser.format_usage())
        name = name.removeprefix("config.").rpartition(".")[2]
        meant = _MEANT.get(name) or nearest(name, known)
        parser.error(f"{unknown[0]!r} is no flag{did_you_mean(meant, '--')}")
    try:
        # First: a config file may register what --methods and --backbone name.
        _check_datasets(arguments)
        _check_backbone(arguments.backbone)
        arguments.chosen = _chosen(arguments)
    except ConfigError as error:
        parser.error(str(error))
    return arguments


def _chosen(arguments: argparse.Namespace) -> dict[str, Experiment]:
    """The experiments that parsed flags mean, by the names of their files."""
    if arguments.methods is None:
        if not arguments.experiments:
            raise ConfigError(
                f"name an experiment, of {', '.join(EXPERIMENTS)}, or methods on a data set, as in "
                "--methods=bccl,cross_entropy --dataset=digits"
            )
        return {name: EXPERIMENTS[name] for name in arguments.experiments}
    if arguments.experiments:
        raise ConfigError(
            "--methods makes an experiment of its own; leave it out or leave out "
            f"{' '.join(arguments.experiments)}"
        )
    experiment = compared(arguments.methods)
    if not arguments.dataset:
        raise ConfigError("--methods needs a data set; add --dataset=NAME or --dataset=FILE.py")
    return {name_of(experiment): experiment}


def _check_datasets(arguments: argparse.Namespace) -> None:
    """Checks that every --dataset is a name or a file that gives configs."""
    for i, named in enumerate(arguments.dataset):
        try:
            find(named, arguments.data_dir)
        except ConfigError as error:
            before = arguments.dataset[i - 1] if i else ""
            if ":" in before and not named.endswith(".py"):
                raise ConfigError(
                    f"--dataset={before},{named}: a comma separates data sets, and {named!r} is "
                    f"none; a config file takes one argument here, and methods go to --methods"
                ) from error
            raise


def _check_backbone(name: str | None) -> None:
    """Checks that --backbone is one of the package's, or of those that config files registered."""
    if name is None or name in BACKBONES:
        return
    hint = did_you_mean(nearest(name, BACKBONES), "--backbone=") or (
        "; one of your own is known where the --dataset's config file imports its file "
        f"({page('extending.md')})"
    )
    raise ConfigError(
        f"--backbone: no backbone is called {name!r}; there are {', '.join(BACKBONES)}{hint}"
    )


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
    number = whole_number(text)
    if number is None or not 1 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST:,}")
    return number


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not parts:
        raise argparse.ArgumentTypeError(f"it names no data set; there are {', '.join(CONFIGS)}")
    return parts


def _experiment(text: str) -> str:
    if text not in EXPERIMENTS:
        raise argparse.ArgumentTypeError(
            f"no experiment is called {text!r}; there are {', '.join(EXPERIMENTS)}"
            f"{did_you_mean(nearest(text, EXPERIMENTS))}"
        )
    return text


def _factors(text: str) -> tuple[float, ...]:
    try:
        factors = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        factors = ()
    if not factors or not all(1 <= factor < float("inf") for factor in factors):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of factors of 1 or more, as 100,50")
    return factors
