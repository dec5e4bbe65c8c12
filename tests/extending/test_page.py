"""The code and the commands of docs/extending.md, taken from the page and run."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bccl_jax.classifier.reading import read
from bccl_jax.data.formats import digits
from faults import forks
from tests.tiny import ROOT

# Whole runs in processes of their own.
pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "extending.md").read_text()
SHORT = ["--config.epochs=2", "--config.optimizer.warmup_epochs=1", "--config.eval.every_epochs=1"]


def blocks():
    """{file name: code} of the page."""
    found = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == PAGE.count("```python")
    return dict(found)


def commands():
    found = re.findall(r"^python -m bccl_jax\.main (.*)$", PAGE, re.MULTILINE)
    return [shlex.split(line) for line in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the page, and data for them."""
    folder = tmp_path_factory.mktemp("page")
    for name, code in blocks().items():
        (folder / name).write_text(code)
    (folder / "arrays").mkdir()
    for part, split in zip(("train", "test"), digits.load(), strict=True):
        # Of the size that the recipe of CIFAR is for.
        images = split.images.repeat(4, axis=1).repeat(4, axis=2)
        np.savez(folder / "arrays" / part, images=images, labels=split.labels)
    (folder / "arrays" / "classes.txt").write_text(" ".join(f"digit{k}" for k in range(10)))
    return folder


def run(folder, *arguments):
    return forks.run(*arguments, cwd=folder)


def epoch_of_run(workdir, folder):
    os.chdir(folder)
    return read(workdir).epoch


def told(done):
    assert done.returncode == 0, done.stderr[-3000:]
    return re.findall(r"^(?:last|best|saved) \(.*$", done.stdout, re.MULTILINE)


def test_the_page_has_a_whole_example_of_each():
    assert list(blocks()) == [
        *("my_method.py", "my_backbone.py", "my_data.py", "my_view.py", "my_config.py"),
        "my_script.py",
    ]
    assert len(commands()) == 4


def test_a_method_trains_with_a_shipped_config(folder):
    arguments = commands()[0]
    assert told(run(folder, *arguments, *SHORT))
    done = run(folder, *arguments, "--print_config")
    assert (
        "    # how much less; 0 is plain cross-entropy.\n    config.method.gamma = 2.0"
        in done.stdout
    )
    done = run(folder, "--config.imports=my_method.py", "--help")
    assert "tsc, focal All keys:" in " ".join(done.stdout.split())
    done = run(folder, *arguments, "--config.method.gamma=-1")
    assert "config.method.gamma is -1.0; it must be a number from 0 to 10" in done.stderr
    done = run(folder, *arguments, "--config.method.gama=1")
    assert "did you mean config.method.gamma?" in done.stderr


def test_a_config_with_all_of_them_trains_evaluates_and_goes_on(folder):
    train, evaluate, _ = commands()[1:]
    ended = told(run(folder, *train, *SHORT))
    assert ended
    # From elsewhere, with the directory alone.
    workdir = folder / "runs" / "mine"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (at,) = (position for position, word in enumerate(evaluate) if "runs/mine" in word)
    evaluate[at] = f"--workdir={workdir}"
    found = run(elsewhere, *evaluate, f"--config.data.dir={folder / 'arrays'}")
    assert told(found) == ended
    assert forks.on_devices(1, epoch_of_run, workdir, elsewhere) == 2

    moved = folder / "moved"
    moved.mkdir()
    for name in blocks():
        shutil.move(folder / name, moved / name)
    try:
        done = run(folder, *evaluate)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert f"config.imports names {folder / 'my_'}" in done.stderr
        files = tuple(str(moved / f"my_{name}.py") for name in ("view", "backbone", "data"))
        done = run(folder, *evaluate, f"--config.imports={files}")
        assert told(done) == ended
    finally:
        for name in blocks():
            shutil.move(moved / name, folder / name)


def test_the_contract_is_kept(folder):
    # Steps of a ResNet.
    variables = {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    done = subprocess.run(
        [sys.executable, "my_script.py"],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
