"""The numbers of a record, by the names that every tracker shows them under."""

from typing import Any

GROUPS = ("train", "refresh", "eval", "eval_ema", "machine")


def scalars(record: dict[str, Any], groups: tuple[str, ...] = GROUPS) -> dict[str, float]:
    """The numbers of some groups of a record as "GROUP/NAME"; lists and what is None are left out.

    Args:
      record: of an epoch.
      groups: of it, those that it has.
    """
    return {
        f"{group}/{name}": value
        for group in groups
        for name, value in (record.get(group) or {}).items()
        if isinstance(value, int | float)
    }


def closing(result: Any) -> dict[str, float]:
    """How a run ended: "last/NAME", "best/NAME" and the best epoch.

    Args:
      result: `bccl_jax.training.results.Result`.
    """
    figures = {"last": result.last, "best": result.best}
    return scalars(figures, ("last", "best")) | {"best/epoch": result.best_epoch}
