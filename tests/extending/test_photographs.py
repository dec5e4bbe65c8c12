"""Photographs of a class of one's own, in a config file that imports JAX, and their readers."""

import json
import pickle
import subprocess
import sys

import cloudpickle
import pytest

from bccl_jax.config import files as config_files
from bccl_jax.config.dataset import load_data
from faults import forks
from tests.tiny import ROOT
from tests.training.test_photographs import write_pictures

# Whole runs in processes of their own.
pytestmark = pytest.mark.slow

CONFIG = '''
import dataclasses
import os
import pathlib
import sys

import jax
import numpy as np

from bccl_jax.augment import views
from bccl_jax.config import recipes
from bccl_jax.data import sources
from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.split import Split
from bccl_jax.methods import register
from bccl_jax.methods.cross_entropy import CrossEntropy

ROOT = pathlib.Path({root!r})
# The process that trains is the first to come by.
os.environ["MAIN_PID"] = os.environ["MAIN_PID"] or str(os.getpid())
MAIN_PID = int(os.environ["MAIN_PID"])


class Pictures(EncodedImages):
    def __init__(self, paths):
        self.paths = list(paths)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        if os.getpid() != MAIN_PID and __name__ in sys.modules:
            raise RuntimeError("a reader process imported this file")
        return (ROOT / self.paths[index]).read_bytes()

    def name(self, index):
        return self.paths[index]

    def take(self, indices):
        return Pictures([self.paths[i] for i in indices])


@sources.register("pictures")
def load(request):
    parts = []
    for part in ("train", "test"):
        found = sorted((ROOT / part).glob("*/*.jpg"))
        names = sorted({{path.parent.name for path in found}})
        labels = np.array([names.index(path.parent.name) for path in found])
        parts.append(Split(Pictures(str(p.relative_to(ROOT)) for p in found), labels, names))
    return parts


@views.register("halved")
def halved(images, key):
    return images // 2


@register("on_halves")
@dataclasses.dataclass(frozen=True)
class OnHalves(CrossEntropy):
    """Two views, of which the loss takes the first."""

    views = ("halved", "strong")


def get_config(method="on_halves"):
    config = recipes.photographs(method)
    config.data.name = "pictures"
    config.data.workers = 2
    config.dtype = "float32"
    config.model.backbone = "resnet8"
    config.augment.size = 8
    config.augment.eval_resize = 10
    config.augment.strong.policy = "none"
    config.batch_size = 8
    config.epochs = 2
    config.eval.batch_size = 16
    return config
'''


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "train", (20, 12, 8), seed=0)
    write_pictures(folder / "test", (4, 4, 4), seed=1)
    path = folder / "pictures.py"
    path.write_text(CONFIG.format(root=str(folder)))
    return path


def test_a_reader_gets_the_class_without_its_module(config_file, monkeypatch):
    monkeypatch.setenv("MAIN_PID", "")
    images = load_data(config_files.load(str(config_file))).train.images
    text = cloudpickle.dumps(images)
    code = (
        "import pickle, sys; images = pickle.load(sys.stdin.buffer); "
        "assert images[3][:2] == b'\\xff\\xd8' and len(images.take([1, 2])) == 2; "
        "assert 'jax' not in sys.modules and not [m for m in sys.modules if 'pictures' in m]"
    )
    subprocess.run([sys.executable, "-c", code], input=text, cwd=ROOT, check=True)
    assert isinstance(pickle.loads(text), type(images))


def test_it_trains_and_is_evaluated_from_its_directory(config_file, tmp_path):
    workdir = tmp_path / "run"
    told = []
    for arguments in ([f"--config={config_file}"], ["--mode=eval"]):
        done = forks.run(*arguments, f"--workdir={workdir}", MAIN_PID="")
        assert done.returncode == 0, done.stderr[-3000:]
        told.append(
            [row for row in done.stdout.splitlines() if row.startswith(("last (", "best ("))]
        )
    assert told[0] == told[1]
    assert len(told[0]) == 2
    assert not (workdir / "broken.txt").exists()
    assert json.loads((workdir / "config.json").read_text())["imports"] == [str(config_file)]
