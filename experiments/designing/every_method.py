"""Every method of the harness in one table, by the harness's recipe: docs/methods.md shows it."""

from collections.abc import Iterator, Mapping
from typing import Any

from bccl_jax import methods

from . import paper
from .design import Experiment, Row

# Beside the method's own name; another reading of it is a row of its own.
_READINGS = ("bccl:released",)

# What is an option of every method is a row of the plain baseline's.
_OPTIONS = {"MixUp": {"augment.mixup_alpha": 1.0}, "CutMix": {"augment.cutmix_alpha": 1.0}}

# Whose printed figures of a method are shown, the first that has some.
_TABLES = (paper.TABLE1, paper.TABLE2, paper.TABLE3)


_BACKBONE = "model.backbone"
_WIDE = {_BACKBONE: "resnet32x4"}


def _printed(variant: str, backbone: str | None = None):
    """What Kim & Ko 2025 print of a method, as `Row.paper` has it; None is ResNet-32 or -50."""
    found = {}
    for table in _TABLES:
        for row in table.rows:
            if row.method == variant and row.changes.get(_BACKBONE) == backbone:
                for setting, figures in row.paper.items():
                    # Table 2 has shot groups beside what Table 1 has.
                    found[setting] = found.get(setting, {}) | dict(figures)
    return found


def _rows(changes: Mapping[str, Any]) -> Iterator[Row]:
    for word in (*methods.shipped(), *_READINGS):
        variant = word.replace(":", ",")
        yield Row(word, variant, changes, paper=_printed(variant, changes.get(_BACKBONE)))
    for name, option in _OPTIONS.items():
        yield Row(f"cross_entropy with {name}", "cross_entropy", {**changes, **option})


ALL_METHODS = Experiment(
    "Every method by the harness's recipe", rows=tuple(_rows({})), reference="cross_entropy"
)
ALL_METHODS_WIDE = Experiment(
    "Every method with a ResNet-32 four times as wide",
    rows=tuple(_rows(_WIDE)),
    imbalances=(100.0, 50.0, 10.0),
    reference="cross_entropy",
)
