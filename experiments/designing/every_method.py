"""Every method of the harness in one table, by the harness's recipe: docs/methods.md shows it."""

from bccl_jax import methods

from . import paper
from .design import Experiment, Row

# Beside the method's own name; another reading of it is a row of its own.
_READINGS = ("bccl:released",)

# What is an option of every method is a row of the plain baseline's.
_OPTIONS = {"MixUp": {"augment.mixup_alpha": 1.0}, "CutMix": {"augment.cutmix_alpha": 1.0}}

# Whose printed figures of a method are shown, the first that has some.
_TABLES = (paper.TABLE1, paper.TABLE2, paper.TABLE3)


def _printed(variant: str):
    """What Kim & Ko 2025 print of a method, as `Row.paper` has it."""
    found = {}
    for table in _TABLES:
        for row in table.rows:
            if row.method == variant and "model.backbone" not in row.changes:
                for setting, figures in row.paper.items():
                    # Table 2 has shot groups beside what Table 1 has.
                    found[setting] = found.get(setting, {}) | dict(figures)
    return found


def _row(word: str) -> Row:
    variant = word.replace(":", ",")
    return Row(word, variant, paper=_printed(variant))


ALL_METHODS = Experiment(
    "Every method by the harness's recipe",
    rows=(
        *map(_row, (*methods.shipped(), *_READINGS)),
        *(
            Row(f"cross_entropy with {name}", "cross_entropy", changes)
            for name, changes in _OPTIONS.items()
        ),
    ),
    reference="cross_entropy",
)
