"""The scripts of docs/exporting.md, run in processes of their own, where this package is not."""

import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import bccl_jax
from bccl_jax.use.exporting import torch_file
from bccl_jax.use.exporting.export import export
from bccl_jax.use.exporting.predictor import predictor
from bccl_jax.use.seeing import Sight
from bccl_jax.use.sharing import share
from tests.tiny import ROOT
from tests.use.exporting.small import NAMES, saved_run

PAGE = (ROOT / "docs" / "exporting.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
# The script, and then what it must not have had.
ALONE = """
import runpy
import sys
script, forbidden = sys.argv[1:3]
sys.argv = sys.argv[1:2] + sys.argv[3:]
runpy.run_path(script, run_name="__main__")
assert not {"bccl_jax", "flax", forbidden} & sys.modules.keys()
"""


def read(folder, script, file, pictures, forbidden=""):
    """The names that a script printed, and the logits that it found."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, script, forbidden, file, *map(str, pictures)],
        cwd=folder,
        env=environment | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = zip(done.stdout.splitlines(), pictures, strict=True)
    names = [line.removeprefix(f"{picture} ") for line, picture in lines]
    return names, np.load(folder / "logits.npy")


@pytest.fixture
def folder(tmp_path):
    """The page's files, in a folder without this package."""
    assert len(BLOCKS) == PAGE.count("```python")
    for name, code in BLOCKS.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    return tmp_path


def test_stablehlo_of_a_run_on_photographs(folder, folder_run):
    pytest.importorskip("flatbuffers")
    export(folder_run.workdir, folder / "a.zip", "stablehlo")
    pictures = sorted(folder_run.test.rglob("*.jpg"))[::5]
    names, logits = read(folder, "read_stablehlo.py", "a.zip", pictures)
    model = bccl_jax.load(folder_run.workdir)
    np.testing.assert_allclose(logits, model.logits(pictures), rtol=1e-4, atol=1e-4)
    assert names == model.predict(pictures).tolist()


def test_onnx_of_a_shared_file(folder, digits_run):
    pytest.importorskip("jax2onnx")
    share(digits_run.workdir, folder / "mine.safetensors")
    export(folder / "mine.safetensors", folder / "a.onnx", "onnx")
    pictures = []
    for number in range(3):
        levels = np.random.default_rng(number).integers(0, 256, (8 + number, 8, 3), np.uint8)
        pictures.append(folder / f"{number}.png")
        Image.fromarray(levels).save(pictures[-1])
    names, logits = read(folder, "read_onnx.py", "a.onnx", pictures, "jax")
    model = bccl_jax.load(digits_run.workdir)
    np.testing.assert_allclose(logits, model.logits(pictures), rtol=1e-4, atol=1e-4)
    assert names == model.predict(pictures).tolist()


@pytest.mark.parametrize(
    ("backbone", "side", "photographs", "classifier"),
    [
        ("resnet8", 12, False, "linear"),
        ("resnet32", 32, False, "cosine"),
        ("resnet50", 32, True, "linear"),
        ("resnext50", 32, True, "cosine"),
    ],
)
def test_pytorch_where_it_is_installed(folder, backbone, side, photographs, classifier):
    pytest.importorskip("torchvision")
    changes = {"method.classifier": classifier, "augment.eval_resize": side + 4}
    saved = saved_run("cross_entropy", backbone, side, photographs, **changes)
    exported = predictor(saved)
    (folder / "a.safetensors").write_bytes(torch_file.exported(exported)[0])
    images = exported.example(3)
    pictures = [folder / f"{number}.png" for number in range(3)]
    for image, picture in zip(images, pictures, strict=True):
        Image.fromarray(image).resize((side + 7, side + 4)).save(picture)
    sight = Sight.of(saved)
    seen = np.stack([sight.see(str(picture)) for picture in pictures])
    wanted = np.asarray(jax.jit(exported.logits)(seen))
    names, logits = read(folder, "read_torch.py", "a.safetensors", pictures)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    assert names == [NAMES[k] for k in wanted.argmax(1)]
