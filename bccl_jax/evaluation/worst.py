"""What of an evaluation's details is said on the console: the worst classes and pairs."""

from bccl_jax.evaluation.class_table import shares, worst_first
from bccl_jax.evaluation.detailed import Details
from bccl_jax.system.names import shortened

# Classes and pairs that are named; the files have all.
_NAMED = 5
_LONGEST_NAME = 20


def worst(details: Details, whose: str) -> list[str]:
    """Says which classes have the lowest recall and which pairs are confused most.

    Args:
      details: of an evaluation.
      whose: which checkpoint's.

    Returns:
      Lines of 100 characters at most.
    """
    totals, confused = details.totals, details.confused
    tested = [k for k in worst_first(totals)[:_NAMED].tolist() if totals.tested[k]]
    lines = [f"{whose}: the classes of the lowest recall"]
    for k in tested:
        right = _share(totals.correct[k], totals.tested[k])
        lines.append(
            f"  {_name(details, k)}: {right} right; {details.class_counts[k]:,} training images"
        )
    if not len(confused.one):
        return [*lines, f"{whose}: no class is taken for another"]
    lines.append(f"{whose}: the most confused pairs")
    for one, other, there, back, *_ in list(zip(*confused, strict=True))[:_NAMED]:
        names = f"  {_name(details, one)} as {_name(details, other)}"
        returned = f", back {_share(back, totals.tested[other])}" if totals.tested[other] else ""
        lines.append(f"{names}: {_share(there, totals.tested[one])}{returned}")
    return lines


def _name(details: Details, k: int) -> str:
    return shortened(details.names[k], _LONGEST_NAME)


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * float(shares(part, whole)):.1f} %)"
