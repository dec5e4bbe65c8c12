"""The fixtures of training, for what it leaves."""

from tests.training.conftest import _no_picture, shared_assemblies  # noqa: F401
