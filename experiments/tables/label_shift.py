"""Accuracy where the test images are long-tailed too, or the other way round."""

from ..records.gathering import Section
from ..records.label_shift import label_shift as spreads
from ..records.label_shift import shown
from .markdown import markdown, number
from .names import row_name

# Of the eleven, which are all in the CSV file.
_SHOWN = ("forward_50", "forward_10", "uniform", "backward_10", "backward_50")


def label_shift(section: Section) -> str:
    """Each row's accuracy under other class distributions, as it is and corrected for them.

    Args:
      section: with a record at least.

    Returns:
      A Markdown table and how to read it; "" where no row has the figures.
    """
    rows = []
    for runs in section.finished:
        found = spreads(runs)
        if found:
            cells = [
                f"{number(kinds['as_is'].mean, '{:.2f}')} → "
                f"{number(kinds['corrected'].mean, '{:.2f}')}"
                for kinds in (found[name] for name in _SHOWN)
            ]
            rows.append([row_name(runs, section), *cells])
    if not rows:
        return ""
    return (
        markdown(["row", *map(shown, _SHOWN)], rows)
        + "\n\nAccuracy in percent, last epoch, means over seeds, were the classes' shares of the "
        "test images long-tailed as those of the training images (forward), equal, or long-tailed "
        "the other way round (backward), largest over smallest as the number says: of the logits "
        "as they are → with the prior that they carry taken off and that of the test images added "
        "(Hong et al. 2021)."
    )
