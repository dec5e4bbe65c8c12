"""Methods whose first stage may be another run: one representation, several classifiers."""

import dataclasses
from typing import Annotated

from bccl_jax.methods import base
from bccl_jax.settings.bounds import Text


@dataclasses.dataclass(frozen=True)
class Staged(base.Method):
    """A network, then a classifier over it.

    Attributes:
      start_from: the directory or shared file of a run of any method that takes the place of the
        first stage, on the same images and with the same backbone; the run is then its last stage
        alone. "" trains the first stage too.
    """

    start_from: Annotated[str, Text(path=True)] = ""
