"""Tables of what a mean over classes hides: the worst class, lost classes, other means."""

from bccl_jax.evaluation import statistics

from ..records.gathering import Section
from ..records.reading import class_accuracies
from .markdown import NONE, accuracy, markdown, plus_minus
from .names import row_name

# Figures of an evaluation that a few lost classes pull down.
LOW = {
    "worst_class": "worst class",
    "harmonic_mean": "harmonic mean",
    "geometric_mean": "geometric mean",
    "macro_f1": "macro F1",
    "calibration_error": "ECE",
}


def low_classes(section: Section) -> str:
    """Figures that a few lost classes pull down, mean ± standard deviation over seeds.

    Args:
      section: with a record at least.

    Returns:
      A Markdown table and how to read it.
    """
    rows = []
    for runs in section.finished:
        for averaged in (False, True) if runs.averaged else (False,):
            shown = [accuracy(runs.accuracy(name, averaged=averaged)) for name in LOW]
            lost = [
                float((class_accuracies(record, averaged) == 0).sum())
                for record in runs.records.values()
            ]
            lost = plus_minus(statistics.spread(lost), "{:.1f}")
            rows.append([row_name(runs, section, averaged), *shown, lost])
    table = markdown(["row", *LOW.values(), "classes at 0 %"], rows)
    return (
        f"{table}\n\nIn percent, last epoch, over the same classes as all. Harmonic and geometric "
        f"mean are of the classes' accuracies, 0 where one of them is 0. {NONE}: records of older "
        "runs lack the figure."
    )
