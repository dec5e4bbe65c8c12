"""What a kind of fault is."""

import dataclasses
from collections.abc import Callable

from faults.trial import Trial


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
      name: on the command line and in the table.
      about: what is done, in words.
      do: does it to a run; raises FailedTrial where a promise is broken.
      subjects: names of the runs that it is done to.
      share: how often it is drawn, beside the others.
      needs_root: whether it mounts file systems.
    """

    name: str
    about: str
    do: Callable[[Trial], None]
    subjects: tuple[str, ...] = ("digits", "stages", "photographs")
    share: float = 1.0
    needs_root: bool = False
