"""The scripts of docs/exporting.md, run in processes of their own, where this package is not."""

import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from bccl_jax.use.exporting import onnx_file, stablehlo, torch_file
from bccl_jax.use.exporting.predictor import predictor
from bccl_jax.use.seeing import Sight
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
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
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


def test_the_onnx_script_is_whole_and_sees_pictures_as_the_others_do(tmp_path):
    # The page of one's own pictures has it saved alone.
    script = BLOCKS["read_onnx.py"]
    names = {line.split()[1] for line in script.splitlines() if re.match("(import|from) ", line)}
    assert not {f"{name}.py" for name in names} & BLOCKS.keys()
    definition = BLOCKS["seen.py"].partition("def seen")[2].strip()
    assert definition
    assert definition in script


@pytest.fixture
def pictures(folder):
    """Of other sizes and proportions than the network's."""
    paths = []
    for number, sides in enumerate(((9, 8), (8, 8), (31, 47))):
        levels = np.random.default_rng(number).integers(0, 256, (*sides, 3), np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(levels).save(paths[-1])
    return paths


def wanted(saved, pictures):
    """What the run predicts of pictures, seen as in its own predictions."""
    sight = Sight.of(saved)
    images = np.stack([sight.see(str(picture)) for picture in pictures])
    return np.asarray(jax.jit(predictor(saved).logits)(images))


def check(found, logits):
    names, computed = found
    np.testing.assert_allclose(computed, logits, rtol=1e-4, atol=1e-5 * np.abs(logits).max())
    assert names == [NAMES[k] for k in logits.argmax(1)]


@pytest.mark.usefixtures("_two_layers")
def test_stablehlo_of_photographs(folder, pictures):
    pytest.importorskip("flatbuffers")
    saved = saved_run(photographs=True, **{"augment.eval_resize": 11})
    (folder / "a.zip").write_bytes(stablehlo.exported(predictor(saved))[0])
    check(read(folder, "read_stablehlo.py", "a.zip", pictures), wanted(saved, pictures))


@pytest.mark.usefixtures("_two_layers")
def test_onnx_of_arrays(folder, pictures):
    pytest.importorskip("jax2onnx")
    saved = saved_run()
    (folder / "a.onnx").write_bytes(onnx_file.exported(predictor(saved))[0])
    check(read(folder, "read_onnx.py", "a.onnx", pictures, "jax"), wanted(saved, pictures))


@pytest.mark.parametrize(
    ("backbone", "side", "photographs", "classifier"),
    [
        ("resnet8", 12, False, "linear"),
        ("resnet32", 32, False, "cosine"),
        ("resnet50", 32, True, "linear"),
        ("resnext50", 32, True, "cosine"),
    ],
)
def test_pytorch_where_it_is_installed(folder, pictures, backbone, side, photographs, classifier):
    pytest.importorskip("torchvision")
    changes = {"method.classifier": classifier, "augment.eval_resize": side + 4}
    saved = saved_run("cross_entropy", backbone, side, photographs, **changes)
    (folder / "a.safetensors").write_bytes(torch_file.exported(predictor(saved))[0])
    check(read(folder, "read_torch.py", "a.safetensors", pictures), wanted(saved, pictures))
