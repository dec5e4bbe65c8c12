"""All pictures of an experiment."""

from matplotlib.figure import Figure

from ..records.gathering import Section
from ..records.measures import SPACES
from .accuracies import accuracies
from .classes import classes
from .curves import curves
from .feature_space import feature_space
from .few_against_many import few_against_many
from .label_shift import label_shift
from .reliability import reliability


def draw(section: Section) -> dict[str, Figure]:
    """All pictures of a section.

    Args:
      section: with a record at least.

    Returns:
      {suffix of the file name: figure}, "" the accuracies; "curves", "classes" and, where records
      have them, "few_against_many", "reliability", "label_shift", "backbone" and "projector".
    """
    found = {
        "": accuracies(section),
        "curves": curves(section),
        "classes": classes(section),
        "few_against_many": few_against_many(section),
        "reliability": reliability(section),
        "label_shift": label_shift(section),
        **{space: feature_space(section, space) for space in SPACES},
    }
    return {suffix: figure for suffix, figure in found.items() if figure is not None}
