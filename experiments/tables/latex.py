"""The table of accuracies for a paper, in LaTeX with booktabs."""

from bccl_jax.evaluation.statistics import Spread
from bccl_jax.reporting.console import SHOTS

from ..records.gathering import Section
from ..records.printed import less_paper
from ..records.runs import Runs

# What TeX reads as something else, and what prints it.
_SPECIAL = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "–": "--",
        "−": "$-$",
        "±": "$\\pm$",
        "γ": "$\\gamma$",
        "τ": "$\\tau$",
    }
)
_NONE = "--"


def latex(section: Section) -> str:
    """Every row: seeds, what is printed, what was measured, and the difference where sizes agree.

    Args:
      section: with a record at least.

    Returns:
      A `tabular`, to be put into a `table` of one's own. The best mean of each column is bold.
    """
    best = {
        shot: max(
            (s.mean for s in (runs.accuracy(shot) for runs in section.finished) if s), default=None
        )
        for shot in SHOTS
    }
    headings = ["", "seeds", *SHOTS]
    printed = any(section.paper(runs.row) for runs in section.rows)
    if printed:
        headings.append("printed")
        if section.full_size:
            headings.append("difference")
    lines = [
        f"% {_escaped(section.experiment.title)}: {_escaped(section.dataset)}, imbalance "
        f"{section.imbalance:g}; accuracy in percent on {section.on} images, last epoch,",
        "% mean and standard deviation over seeds. Needs \\usepackage{booktabs}.",
        f"\\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        "\\toprule",
        _line(headings),
        "\\midrule",
    ]
    for runs in section.rows:
        cells = [_escaped(runs.row.name), str(len(runs.records)) if runs.records else _NONE]
        cells += [_cell(_spread(runs, shot), best[shot]) for shot in SHOTS]
        if printed:
            figure = section.paper(runs.row).get("all")
            cells.append(_NONE if figure is None else f"{figure:g}")
            if section.full_size:
                difference = less_paper(section, runs)
                cells.append(_NONE if difference is None else f"${difference:+.2f}$")
        lines.append(_line(cells))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _spread(runs: Runs, shot: str) -> Spread | None:
    return runs.accuracy(shot) if runs.records else None


def _cell(value: Spread | None, best: float | None) -> str:
    if value is None:
        return _NONE
    mean = f"{value.mean:.2f}"
    if best is not None and mean == f"{best:.2f}":
        mean = f"\\textbf{{{mean}}}"
    return mean if value.deviation is None else f"{mean} $\\pm$ {value.deviation:.2f}"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)
