"""Two small runs for all that uses what a run trained: of photographs, and of arrays."""

import shutil
from types import SimpleNamespace

import pytest

import bccl_jax
from bccl_jax.training import results
from tests.tiny import tiny_config
from tests.training.conftest import TwoLayers, _two_layers, shared_assemblies  # noqa: F401
from tests.training.test_photographs import tiny_folder_config, write_pictures

CLASSES = ("blue", "green", "red")


def _trained(config, workdir, **changes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "save_report", lambda *args: None)
        return bccl_jax.train(config, workdir, changes)


@pytest.fixture(scope="session")
def folder_run(tmp_path_factory):
    """A run on photographs in two folders: `result`, `test` with its pictures, and `best_step`."""
    root = tmp_path_factory.mktemp("folder")
    for seed, part in enumerate(("train", "test")):
        write_pictures(root / "photos" / part, (12, 8, 4), seed)
    config = tiny_folder_config(root / "photos", "cross_entropy")
    result = _trained(config, root / "run", epochs=2, **{"eval.every_epochs": 1})
    return SimpleNamespace(result=result, workdir=root / "run", test=root / "photos" / "test")


@pytest.fixture(scope="module")
def digits_run(_two_layers, tmp_path_factory):  # noqa: F811
    """A run on digits of 8 x 8 pixels whose loss has the class prior; its weights are averaged."""
    config = tiny_config("logit_adjustment")
    workdir = tmp_path_factory.mktemp("digits") / "run"
    changes = {"model.backbone": "two_layers", "epochs": 2, "optimizer.ema": 0.5}
    return SimpleNamespace(result=_trained(config, workdir, **changes), workdir=workdir)


@pytest.fixture
def copied(folder_run, tmp_path):
    """A copy of the run on photographs, in another place."""
    return shutil.copytree(folder_run.workdir, tmp_path / "elsewhere")
