"""All pictures of an experiment."""

from matplotlib.figure import Figure

from ..records.gathering import Section
from ..records.measures import SPACES
from .accuracies import accuracies
from .classes import classes
from .curves import curves
from .feature_space import feature_space


def draw(section: Section) -> dict[str, Figure]:
    """All pictures of a section.

    Args:
      section: with a record at least.

    Returns:
      {suffix of the file name: figure}, "" the accuracies; "curves", "classes" and, where it was
      measured, "backbone" and "projector".
    """
    found = {
        "": accuracies(section),
        "curves": curves(section),
        "classes": classes(section),
        **{space: feature_space(section, space) for space in SPACES},
    }
    return {suffix: figure for suffix, figure in found.items() if figure is not None}
