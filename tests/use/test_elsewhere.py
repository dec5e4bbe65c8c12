"""A run used in processes of their own where its data, and all else of it, is gone."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import bccl_jax
from bccl_jax.use.sharing import share
from bccl_jax.workdir import json_files
from faults import forks
from tests.tiny import ROOT
from tests.use.conftest import trained_on_folder

# No `if __name__ == "__main__"`, and the file is read through a pipe.
SCRIPT = """
import sys
import bccl_jax
from bccl_jax.workdir import json_files
assert dir(bccl_jax) == ["Callback", "__version__", "load", "train", "views"], dir(bccl_jax)
assert not {"jax", "numpy", "flax"} & sys.modules.keys()
model = bccl_jax.load(sys.argv[1])
assert not {"sklearn", "matplotlib", "tensorboardX", "torch"} & sys.modules.keys()
print(model)
print(*model.predict(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of a backbone that other processes know; its `file`, and where its test pictures went."""
    root = tmp_path_factory.mktemp("elsewhere")
    run = trained_on_folder(root, **{"model.backbone": "resnet8"})
    run.file = root / "run.safetensors"
    share(run.workdir, run.file)
    run.moved = (root / "photos").rename(root / "moved")
    shutil.rmtree(run.moved / "train")
    return run


@pytest.fixture(scope="module")
def model(run):
    return bccl_jax.load(run.workdir)


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 8, 3), np.uint8)
    for path, levels in zip(paths, images, strict=True):
        Image.fromarray(levels).save(path)
    return paths


def alone(folder, *arguments, **options):
    """A process without a home, in a folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(folder / "no_home")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        **options,
    )


def test_a_moved_directory_serves_a_script(run, model, pictures, tmp_path):
    copied = shutil.copytree(run.workdir, tmp_path / "copied")
    config = json.loads((copied / "config.json").read_text()) | {"data.dir": "/nowhere"}
    json_files.write(copied / "config.json", config)
    (copied / "places.json").unlink()
    done = alone(tmp_path, "-", "copied", *pictures, input=SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [repr(model), " ".join(model.predict(pictures))]


def test_a_shared_file_serves_the_command(run, model, pictures, tmp_path):
    shutil.copy(run.file, tmp_path / "mine.safetensors")
    arguments = "mine.safetensors", pictures[0].name, "--top=1"
    done = alone(tmp_path, "-m", "bccl_jax.predict", *arguments)
    assert done.returncode == 0, done.stderr
    (name,), probability = model.predict(pictures[0]), model.predict_proba(pictures[0]).max()
    assert done.stdout == f"0.png  {name} {100 * probability:.2f} %\n"


def test_a_shared_file_is_evaluated_where_the_test_pictures_are(run):
    done = forks.run(f"--workdir={run.file}", "--mode=eval", f"--config.data.dir={run.moved}")
    assert done.returncode == 0, done.stderr
    assert f"evaluating last: step 6 of 6 (2 of 2 epochs done), {run.file}" in done.stdout
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("last (epoch 2)"))
    assert float(row.split()[3]) == pytest.approx(run.result.last["top1"], abs=0.005)
    done = forks.run(f"--workdir={run.file}", "--mode=eval", "--config.data.dir=/nowhere")
    assert "error: config.data.dir is /nowhere, which is not there" in done.stderr
    assert "by --config.data.dir=DIR" in done.stderr


def test_no_run_is_trained_in_a_shared_file(run):
    done = forks.run(f"--workdir={run.file}")
    assert "is a file; name a directory (from a shared file a run starts by" in done.stderr
