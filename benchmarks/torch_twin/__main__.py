"""The BCCL step of this project against its PyTorch twin, in turn on one machine.

    pip install -r benchmarks/requirements-torch.txt  # here, or where --torch-python points to
    python -m benchmarks.torch_twin --steps=100

"ready": augmented, normalised views lie on the device. "end to end": from uint8 images; the project
augments on the device by its own engine, the twin in the workers of a DataLoader. Both sides are in
the phase with centroids. The project's step also gives accuracy and the gradient's norm.

The twin is channels-last. On a GPU float32 lets both sides use TF32 (only the project's contrastive
losses ask for full float32), and neither is held to deterministic kernels. XLA_FLAGS is passed on.
"""

import argparse
import contextlib
import os
import pathlib
import statistics
import sys
import tempfile

import numpy as np

from bccl_jax.data.long_tail import class_counts
from bccl_jax.data.sources import load_dataset
from benchmarks import common
from benchmarks.torch_twin.turns import Side

FEEDINGS = ("ready", "end-to-end")
SIDES = {"project": ("",), "twin": ("-eager", "-compiled")}
PARTS = [
    f"{side}-{feeding}{kind}" for feeding in FEEDINGS for side in SIDES for kind in SIDES[side]
]
CIFAR = {10: "cifar10", 100: "cifar100"}
IMBALANCE = 100.0
# Those that the twin has, whose modules need PyTorch.
BACKBONES = ("resnet8", "resnet32", "resnet32x4")


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = common.parser(__doc__, "torch_twin")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet32")
    parser.add_argument("--batch", type=int, default=128, help="images a step, of three views each")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, default=20, help="steps a timing; 100 suit a GPU")
    parser.add_argument(
        "--workers", type=int, default=cores, help="of the DataLoader (%(default)s)"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help=f"what to time: {', '.join(PARTS)} (all)",
    )
    parser.add_argument("--data-dir", help="where CIFAR's python files lie (random images)")
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        metavar="PATH",
        help="interpreter that has benchmarks/requirements-torch.txt (this one)",
    )
    modes = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
    parser.add_argument(
        "--compile-mode", choices=modes, help="(reduce-overhead on a GPU, or default)"
    )
    return parser.parse_args()


def training_split(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 32, 32, 3] and labels int32 [N] of CIFAR-LT, or random ones as many."""
    if args.data_dir:
        if args.classes not in CIFAR:
            raise SystemExit("error: CIFAR has 10 or 100 --classes")
        split = load_dataset(CIFAR[args.classes], data_dir=args.data_dir, imbalance=IMBALANCE).train
        return np.asarray(split.images[:]), split.labels
    counts = class_counts(args.classes, 50_000 // args.classes, IMBALANCE)
    labels = np.repeat(np.arange(args.classes, dtype=np.int32), counts)
    return np.random.default_rng(0).integers(0, 256, (len(labels), 32, 32, 3), np.uint8), labels


def measure(args: argparse.Namespace) -> tuple[dict, dict, dict]:
    """Times the parts in turn.

    Returns:
      Median seconds of a step by part, reasons by part that was not available, and what the sides
      say of themselves.
    """
    modules = {"project": (sys.executable, "jax_side"), "twin": (args.torch_python, "torch_side")}
    settings = {k: v for k, v in vars(args).items() if k not in ("json", "data_dir")}
    found, reasons = {part: [] for part in args.parts}, {}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        settings |= {"data": str(pathlib.Path(directory, "data.npz")), "learning_rate": 0.01}
        images, labels = training_split(args)
        np.savez(settings["data"], images=images, labels=labels)
        sides = {}
        for name in dict.fromkeys(part.partition("-")[0] for part in args.parts):
            python, module = modules[name]
            side = Side(python, f"benchmarks.torch_twin.{module}", settings)
            sides[name] = stack.enter_context(side)
        platforms = {name: side.description.pop("platform") for name, side in sides.items()}
        if len(set(platforms.values())) > 1:
            raise SystemExit(f"error: the sides run on different devices: {platforms}")
        for timed in range(args.repeats + 1):
            for part in args.parts:
                if part in reasons:
                    continue
                answer = sides[part.partition("-")[0]].ask(part)
                if "unavailable" in answer:
                    reasons[part] = answer["unavailable"]
                elif timed:
                    found[part].append(answer["seconds"])
    medians = {part: statistics.median(times) for part, times in found.items() if times}
    said = {key: value for side in sides.values() for key, value in side.description.items()}
    return medians, reasons, said


def rows(args: argparse.Namespace, seconds: dict[str, float]) -> list[dict]:
    """The table, with the ratio of speeds in the rows of the twin."""
    made = []
    for part in args.parts:
        side, _, rest = part.partition("-")
        feeding = next(feeding for feeding in FEEDINGS if rest.startswith(feeding))
        own, project = seconds.get(part), seconds.get(f"project-{feeding}")
        made.append(
            {
                "feeding": feeding,
                "side": side + rest.removeprefix(feeding).replace("-", " "),
                "ms a step": own and 1e3 * own,
                "views/s": own and 3 * args.batch / own,
                "project / twin": own / project if side == "twin" and own and project else None,
            }
        )
    return made


def main() -> None:
    """Prints the table and writes it."""
    args = arguments()
    seconds, reasons, said = measure(args)
    shown = ("backbone", "batch", "classes", "dtype", "steps", "repeats", "workers")
    settings = {key: getattr(args, key) for key in shown}
    settings["images"] = CIFAR[args.classes] if args.data_dir else "random"
    # Only here does this process touch the device, which the sides have left.
    common.report(rows(args, seconds), {**settings, **said, "unavailable": reasons}, args.json)


if __name__ == "__main__":
    main()
