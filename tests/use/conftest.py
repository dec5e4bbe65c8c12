"""Two small runs for all that uses what a run trained: of photographs, and of arrays."""

import shutil
from types import SimpleNamespace

import pytest

import bccl_jax
from bccl_jax.training import results
from tests.tiny import tiny_config
from tests.training.conftest import _two_layers  # noqa: F401
from tests.training.test_photographs import tiny_folder_config, write_pictures

CLASSES = ("blue", "green", "red")


def trained(config, workdir, **changes):
    """A run without its picture: its result, and where it lies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "save_report", lambda *args: None)
        result = bccl_jax.train(config, workdir, changes)
    return SimpleNamespace(result=result, workdir=workdir)


def trained_on_folder(root, **changes):
    """A run on photographs in two folders, and `test`, that of its test pictures."""
    for seed, part in enumerate(("train", "test")):
        write_pictures(root / "photos" / part, (12, 8, 4), seed)
    config = tiny_folder_config(root / "photos", "cross_entropy")
    found = trained(config, root / "run", epochs=2, **{"eval.every_epochs": 1}, **changes)
    found.test = root / "photos" / "test"
    return found


@pytest.fixture(scope="module")
def folder_run(_two_layers, tmp_path_factory):  # noqa: F811
    """A run on photographs, of a network that compiles at once."""
    return trained_on_folder(tmp_path_factory.mktemp("folder"), **{"model.backbone": "two_layers"})


@pytest.fixture(scope="module")
def digits_run(_two_layers, tmp_path_factory):  # noqa: F811
    """A run on digits of 8 x 8 pixels whose loss has the class prior; its weights are averaged."""
    changes = {"model.backbone": "two_layers", "epochs": 2, "optimizer.ema": 0.5}
    workdir = tmp_path_factory.mktemp("digits") / "run"
    return trained(tiny_config("logit_adjustment"), workdir, **changes)


@pytest.fixture
def copied(folder_run, tmp_path):
    """A copy of the run on photographs, in another place."""
    return shutil.copytree(folder_run.workdir, tmp_path / "elsewhere")
