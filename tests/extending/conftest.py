"""What is registered in a test is forgotten after it."""

import pytest

from bccl_jax import methods, models
from bccl_jax.augment import outside as views
from bccl_jax.data import sources
from tests.training.conftest import _no_picture  # noqa: F401

REGISTRIES = (methods.OWN, models.OWN, sources.OWN, views.OWN)


@pytest.fixture(autouse=True)
def _forgotten():
    kept = [(dict(registry.table), dict(registry.origins)) for registry in REGISTRIES]
    yield
    for registry, (table, origins) in zip(REGISTRIES, kept, strict=True):
        for now, before in ((registry.table, table), (registry.origins, origins)):
            now.clear()
            now.update(before)
