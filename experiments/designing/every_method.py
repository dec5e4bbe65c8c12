"""Every method of the harness in one table, by the harness's recipe: docs/methods.md shows it."""

from bccl_jax import methods
from experiments.designing import paper
from experiments.designing.design import Experiment, Row

# Beside the method's own name; another reading of it is a row of its own.
_READINGS = ("bccl:released",)

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
    rows=tuple(map(_row, (*methods.shipped(), *_READINGS))),
    reference="cross_entropy",
)
