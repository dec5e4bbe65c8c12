"""Fixtures for tests of a run's small files: a directory of a run that was never trained."""

import shutil

import pytest

from faults.fuzzing.kinds import made_run


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The directory, which stays as it is."""
    root = tmp_path_factory.mktemp("written") / "run"
    made_run.write(root, made_run.dataset())
    return root


@pytest.fixture
def run(written, tmp_path):
    """A copy of it for one test."""
    return shutil.copytree(written, tmp_path / "run")
