from tests.training.conftest import (  # noqa: F401
    _no_picture,
    _two_layers,
    shared_assemblies,
)
