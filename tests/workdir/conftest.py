"""The fixtures of training, for what a run keeps in its directory."""

from tests.training.conftest import _no_picture, shared_assemblies  # noqa: F401
