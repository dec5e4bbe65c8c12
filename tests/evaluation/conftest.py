"""The fixtures of training, for what it leaves."""

from tests.training.conftest import _no_picture, _two_layers, shared_assemblies  # noqa: F401
