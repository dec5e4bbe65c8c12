"""Which commands of the pages are run, and how what they say is made short."""

import re

import numpy as np
from PIL import Image

from bccl_jax.config import shipped
from tests.pages import commands
from tests.tiny import ROOT
from tests.training.test_photographs import write_pictures

# What cannot be run here, as it stands after "page: ", and why not.
EXCUSED = (
    (r"imagenet|inaturalist2018|places_lt", "photographs that each reader gets for himself"),
    (r"cifar", "files that would be downloaded"),
    (r"=(DIR|PHOTOS|SEED)\b|\b(METHOD|EXPERIMENT|RUN)\b", "a place of the reader's own"),
    (r"experiments\.\w+ (table|full_size|figure3)", "runs of CIFAR, which would be downloaded"),
    (r"^(?!README).*experiments\.(run|report) ", "whole studies; the one of README.md is run"),
    (r"wandb|mlflow", "packages that the tests do without"),
    (r"\bsrun\b|JAX_COORDINATOR", "several hosts"),
    (r": (pip|make|source|git|python3? -m (venv|pip|pytest|http))\b", "CI installs and tests"),
    (r"python -m benchmarks\.", "minutes of a machine; tests/benchmarks/ runs them small"),
    (r"python -m faults\b", "minutes of a machine; tests/faults/ runs them small"),
    (r"read_onnx\.py", "tests/use/exporting/test_page.py runs it"),
    (r"^extending\.md:", "tests/extending/test_page.py runs the page"),
    (r"python -m (tests\.architecture|experiments\.(\w+_page|concept_figures))", "writes pages"),
    (r"^reliability\.md:.*--checkpoint=1200", "a step of the reader's own run"),
    (r"^records/README\.md:", "tests/experiments/reporting/test_methods_page.py reads them"),
)
# The pages that others build on: what they train is there on every page.
FIRST = ("quickstart.md", "own_pictures.md")
# What makes a run short, by its config and by the methods that have the key.
_SHORT = {
    "epochs": "2",
    "eval.every_epochs": "1",
    "optimizer.warmup_epochs": "0",
    "method.warmup_epochs": "1",
    "method.refresh_epochs": "1",
    "method.num_centroids": "2",
    "method.refit_epochs": "1",
    "augment.sim.jitter": "(0.0, 0.0, 0.0, 0.0)",
}
_SHORT_OF_DIGITS = {
    # A network that compiles at once.
    "imports": str(ROOT / "faults" / "two_layers.py"),
    "model.backbone": "two_layers",
    "checkpoint.every_epochs": "2",
}
_SHORT_OF_FOLDER = {
    "batch_size": "8",
    "model.backbone": "resnet8",
    "augment.size": "16",
    "dtype": "float32",
    "data.workers": "0",
    "augment.strong.policy": "none",
}


def excused(command):
    """Why a command is not run; "" where it is."""
    if not command.words:
        return "a script for data that is not at hand"
    told = f"{command.page}: {command.text}"
    return next((reason for pattern, reason in EXCUSED if re.search(pattern, told)), "")


def to_run():
    """{page: its commands that are run}, the pages that others build on first.

    What those have run already, the others do not run again.
    """
    found, known = {page: [] for page in FIRST}, set()
    for command in commands():
        if command.page in FIRST and not excused(command):
            found[command.page].append(command)
            known.add((*command.words, command.output))
    for command in commands():
        if command.page in FIRST or excused(command):
            continue
        if (*command.words, command.output) not in known:
            found.setdefault(command.page, []).append(command)
    return {page: commands for page, commands in found.items() if commands}


def shortened(module, arguments):
    """The arguments, with what makes a run of minutes one of seconds."""
    if module.startswith("experiments."):
        kept = [word for word in arguments if not word.startswith(("--methods=", "--seeds="))]
        return [*kept, "--methods=logit_adjustment,cross_entropy", "--seeds=1", "--epochs=2"]
    named = [word.partition("=")[2] for word in arguments if word.startswith("--config=")]
    other = re.search(r"--(mode=(?!views|estimate)|print_config|help)", " ".join(arguments))
    if module != "bccl_jax.main" or other:
        return arguments
    if not named:
        # A run that goes on, maybe for more epochs.
        return [re.sub(r"(config\.epochs)=.*", r"\1=3", word) for word in arguments]
    # A config file on a page is one of the digits.
    config = shipped.get_config(*("digits_lt" if ".py" in named[0] else named[0]).split(":", 1))
    keys = _SHORT | (_SHORT_OF_FOLDER if config.data.name == "folder" else _SHORT_OF_DIGITS)
    keys = {k: v for k, v in keys.items() if not k.startswith("method.") or k[7:] in config.method}
    kept = [w for w in arguments if w.removeprefix("--config.").partition("=")[0] not in keys]
    return [*kept, *(f"--config.{key}={value}" for key, value in keys.items())]


def write_data(folder):
    """The pictures that pages speak of, small ones."""
    write_pictures(folder / "photos", (12, 8, 6))
    for seed, name in enumerate(("other", "new_photos"), 1):
        write_pictures(folder / name, (8, 6, 5), seed)
    (folder / "new").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        levels = rng.integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(levels).save(folder / "new" / f"{name}.jpg")
    (folder / "list.txt").write_text("new/a.jpg\nnew/b.jpg\n")
