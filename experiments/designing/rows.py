"""Rows that several experiments share, and studies of one setting."""

from collections.abc import Sequence

from .design import Experiment, Row


def at_factors(
    dataset: str, figures: Sequence[float], factors: Sequence[float] = (100.0, 50.0, 10.0)
) -> dict[tuple[str, float], dict[str, float]]:
    """A row's printed top-1 figures by imbalance factor, as `Row.paper` takes them."""
    return {(dataset, f): {"all": figure} for f, figure in zip(factors, figures, strict=True)}


# As the code has it that the authors released (docs/paper_and_code.md); the paper has no such row.
RELEASED = Row("BCCL, released code", "bccl,released")
COSINE = {"method.classifier": "cosine"}


def sweep(title, key, values, default, axis, paper=None, **options):
    """An experiment that varies one setting; the row of its default, BCCL, comes first."""
    others = [value for value in values if value != default]
    rows = [Row("BCCL", value=default, paper=_cifar_at_100((paper or {}).get(default)))]
    for value in others:
        printed = _cifar_at_100((paper or {}).get(value))
        rows.append(Row(f"{axis} {value}", changes={key: value}, value=value, paper=printed))
    return Experiment(title, tuple(rows), axis=axis, **options)


def _cifar_at_100(figure):
    return {} if figure is None else at_factors("cifar100", (figure,), (100.0,))
