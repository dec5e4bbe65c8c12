import pytest

from experiments.reporting import writing
from experiments.running import provenance


@pytest.fixture(autouse=True)
def _code(monkeypatch):
    monkeypatch.setattr(provenance, "code_hash", lambda: "here")


@pytest.fixture
def no_pictures(monkeypatch):
    nothing = dict.fromkeys(("", "curves", "classes"))
    monkeypatch.setattr(writing, "draw", lambda section: dict(nothing))
    monkeypatch.setattr(writing, "save", lambda figure, stem: None)
