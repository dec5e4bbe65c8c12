"""The fixtures of training and of runs never trained, for what a run keeps in its directory."""

from tests.made_up_runs import run, written  # noqa: F401
from tests.training.conftest import _no_picture, shared_assemblies  # noqa: F401
