"""What makes many small runs of one config cheap."""

import pytest

from bccl_jax.training import evaluating, loop
from bccl_jax.training.assemble import assemble


@pytest.fixture(scope="module")
def shared_assemblies():
    """Runs of equal configs share one assembly, which is stateless, and so what is traced of it."""
    made = {}

    def shared(config):
        key = config.to_json_best_effort(sort_keys=True)
        if key not in made:
            made[key] = assemble(config)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (loop, evaluating):
            patch.setattr(module, "assemble", shared)
        yield


@pytest.fixture
def _no_picture(monkeypatch):
    """Runs end without their picture; those of a module's fixtures have theirs."""
    monkeypatch.setattr(loop, "save_report", lambda *args: None)
