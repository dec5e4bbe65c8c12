"""`python -m bccl_jax.export`: what it writes, says and refuses, and what the files hold."""

import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import sys
import zipfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bccl_jax
from bccl_jax import export as command
from bccl_jax.commands import running
from bccl_jax.errors import BcclError, NonFiniteLossError, WorkdirError
from bccl_jax.methods.cross_entropy import CrossEntropy
from bccl_jax.models import BACKBONES
from bccl_jax.use.exporting import checking, onnx_file, stablehlo, torch_file
from bccl_jax.use.exporting.export import export
from bccl_jax.use.exporting.predictor import predictor
from bccl_jax.use.sharing import share
from tests.registered import registered
from tests.tiny import ROOT
from tests.use.exporting.small import NAMES, saved_run

needs_flatbuffers = pytest.mark.skipif(
    importlib.util.find_spec("flatbuffers") is None, reason="the extra export is not installed"
)


@pytest.fixture
def ended(folder_run, tmp_path, monkeypatch, capsys):
    """Runs the command in a new folder; its exit code or its sentence, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, workdir=folder_run.workdir):
        monkeypatch.setattr(sys, "argv", ["export", *map(str, [workdir, *arguments])])
        with pytest.raises(SystemExit) as end:
            running.run(command.main)
        return end.value.code, capsys.readouterr().out

    return run


@needs_flatbuffers
def test_the_file_is_named_like_the_run_and_is_the_same_again(ended, folder_run, tmp_path):
    code, out = ended("--format=stablehlo")
    path = tmp_path / "run.stablehlo.zip"
    content = path.read_bytes()
    first, second, third = out.splitlines()
    size = len(content) / 1e6
    assert code == 0
    assert first == f"run.stablehlo.zip: cross_entropy, 3 classes, epoch 2, {size:.2f} MB"
    assert second == f"sha256 {hashlib.sha256(content).hexdigest()}"
    assert third.startswith("checked: logits differ from the run's by at most ")
    code, _ = ended("--format=stablehlo")
    assert "run.stablehlo.zip is there already; name another file or say --overwrite" in code
    assert ended("--format=stablehlo", "--overwrite")[0] == 0
    assert path.read_bytes() == content
    # Nothing of the machine that trained it.
    for place in (folder_run.workdir.parent, tmp_path, ROOT, pathlib.Path(__file__).name):
        assert os.fsencode(place) not in content
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_is_one_sentence(ended, tmp_path, monkeypatch):
    # What needs more than this environment may have is told first.
    for module in (stablehlo, onnx_file):
        for name in module.NEEDED:
            monkeypatch.setitem(sys.modules, name, sys)
    for arguments, message in (
        (("--format=tflite",), "invalid choice: 'tflite'"),
        ((), "the following arguments are required: --format"),
        (("--format=onnx", "--output=a.zip"), "--output=a.zip does not end in .onnx"),
        (("--format=safetensors",), "resnext50, and config.model.backbone is 'two_layers'; take"),
        (("--format=stablehlo", "--checkpoint=7"), "no checkpoint '7'"),
        (("--format=stablehlo", "--average"), "keeps no average of its weights"),
        (("--format=stablehlo", "--adjust=nan"), "adjust is nan; it must be a number from"),
    ):
        code, _ = ended(*arguments)
        assert message in code
        assert code.startswith("error: ")
        assert "\n" not in code
    for kind, name in (("onnx", "onnxruntime"), ("stablehlo", "flatbuffers")):
        monkeypatch.setitem(sys.modules, name, None)
        code, _ = ended(f"--format={kind}")
        assert f"--format={kind} needs {name}, which cannot be imported" in code
        assert 'pip install "bccl_jax[export]"' in code
    assert list(tmp_path.iterdir()) == []


@needs_flatbuffers
def test_a_shared_file_is_exported_and_never_the_output(folder_run, tmp_path):
    shared = tmp_path / "mine.safetensors"
    share(folder_run.workdir, shared, "best")
    content = shared.read_bytes()
    with pytest.raises(BcclError, match=r"mine.safetensors is what is to be exported; name anoth"):
        export(shared, shared, "safetensors")
    assert shared.read_bytes() == content
    exported = export(shared, tmp_path / "a.zip", "stablehlo", adjust=0.5)
    assert exported.bytes == (tmp_path / "a.zip").stat().st_size
    function, about = opened((tmp_path / "a.zip").read_bytes())
    assert about["checkpoint"]["which"] == "best"
    assert about["resizing"]["then"] == "central crop"
    model = bccl_jax.load(shared, "best")
    images = np.random.default_rng(0).integers(0, 256, (3, *about["input"]["shape"][1:]), np.uint8)
    images = images.repeat(2, axis=0)
    found = jax.nn.softmax(function.call(images))
    pictures = [enlarged(image, about["resizing"]) for image in images]
    np.testing.assert_allclose(
        found, model.predict_proba(pictures, adjust=0.5), rtol=1e-4, atol=1e-5
    )
    for path, told in (
        (tmp_path, "holds no run"),
        (tmp_path / "none", "none is not there; correct"),
    ):
        with pytest.raises(WorkdirError, match=told):
            export(path, tmp_path / "b.zip", "stablehlo")


def enlarged(image, resizing):
    """A photograph whose central crop the image is: with a margin that is cut away."""
    margin, odd = divmod(resizing["short_side"] - len(image), 2)
    return np.pad(image, ((margin, margin + odd), (margin, margin + odd), (0, 0)))


def opened(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["about.json", "function.jax_export"]
        function = jax.export.deserialize(bytearray(archive.read("function.jax_export")))
        return function, json.loads(archive.read("about.json"))


@needs_flatbuffers
@pytest.mark.usefixtures("_two_layers")
def test_the_function_is_for_any_number_of_images_and_any_platform():
    exported = predictor(saved_run(**{"dtype": "bfloat16"}), 1.0)
    function, about = opened(stablehlo.exported(exported)[0])
    assert function.platforms == ("cpu", "cuda", "rocm", "tpu")
    (images,), (logits,) = function.in_avals, function.out_avals
    assert (images.dtype, images.shape[1:]) == (np.uint8, (8, 8, 3))
    assert (logits.dtype, str(logits.shape)) == (np.float32, "(batch, 4)")
    assert about == json.loads(json.dumps(exported.about))
    assert about["classes"] == list(NAMES)
    assert about["logit_adjustment"] == 1
    rng = np.random.default_rng(1)
    for number in (1, 5):
        images = rng.integers(0, 256, (number, 8, 8, 3), np.uint8)
        wanted = by_numpy(saved_run(), images) - np.log([0.4, 0.3, 0.2, 0.1])
        np.testing.assert_allclose(function.call(images), wanted, rtol=1e-4, atol=1e-4)


def by_numpy(saved, images):
    """The logits of two layers, in float64, from the levels on."""
    params, stats = saved.variables.params, saved.variables.batch_stats["backbone"]["BatchNorm_0"]
    colors = saved.classifier.config.augment
    x = (images / 255 - np.array(colors.mean)) / np.array(colors.std)
    dense, norm = (params["backbone"][name] for name in ("Dense_0", "BatchNorm_0"))
    x = x.reshape(len(x), -1) @ dense["kernel"].astype(np.float64) + dense["bias"]
    x = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * norm["scale"] + norm["bias"]
    last = params["heads_classifier"]["Dense_0"]
    return np.maximum(x, 0) @ last["kernel"].astype(np.float64) + last["bias"]


class Called(nn.Module):
    """Calls the machine that exports it."""

    @nn.compact
    def __call__(self, images, train):
        shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
        x = jax.pure_callback(lambda x: x, shape, images)
        return nn.Dense(8)(x.reshape(len(x), -1))


@pytest.mark.parametrize("module", [stablehlo, onnx_file])
def test_what_no_format_holds_is_told(monkeypatch, module):
    for name in module.NEEDED:
        pytest.importorskip(name)
    monkeypatch.setitem(BACKBONES, "called", Called)
    with pytest.raises(BcclError, match="cross_entropy over called cannot be") as told:
        module.exported(predictor(saved_run(backbone="called")))
    assert "\n" not in str(told.value)


@pytest.mark.usefixtures("_two_layers")
def test_a_file_that_computes_something_else_is_not_written():
    exported = predictor(saved_run())
    images = exported.example(2)
    wanted = np.asarray(jax.jit(exported.logits)(images))
    for call in (lambda x: wanted + 0.1, lambda x: wanted[:1], lambda x: wanted * np.nan):
        with pytest.raises(BcclError, match="gives other logits than the run does"):
            checking.difference(exported, wanted, call)
    # Of a class without training images, adjusted.
    never = np.where(np.arange(4) == 2, -np.inf, wanted)
    assert checking.difference(exported, never, lambda x: never) == 0
    with pytest.raises(BcclError, match="gives other logits"):
        checking.difference(exported, never, lambda x: wanted)
    assert checking.difference(exported, wanted, lambda x: wanted + 1e-4) == pytest.approx(
        1e-4, rel=0.1
    )


@pytest.mark.usefixtures("_two_layers")
@pytest.mark.parametrize("module", [stablehlo, onnx_file, torch_file])
def test_a_network_that_diverged_is_not_exported(module):
    backbone = "resnet8" if module is torch_file else "two_layers"
    for name in getattr(module, "NEEDED", ()):
        pytest.importorskip(name)
    saved = saved_run(backbone=backbone)
    bias = saved.variables.params["heads_classifier"]["Dense_0"]["bias"]
    bias[1] = np.nan
    with pytest.raises(
        NonFiniteLossError, match="logits are not finite, as its weights of epoch 0"
    ):
        module.exported(predictor(saved))


@dataclasses.dataclass(frozen=True)
class Sorted(CrossEntropy):
    """A prediction of a user's own: as large as the largest features."""

    def logits(self, apply, params, images, state):
        found = super().logits(apply, params, images, state)
        return found + jnp.sort(jnp.tanh(found), axis=-1)


@pytest.mark.usefixtures("_two_layers")
def test_onnx_holds_methods_and_backbones_of_a_users_own():
    pytest.importorskip("jax2onnx")
    import onnx
    import onnxruntime

    with registered(sorted=Sorted):
        exported = predictor(saved_run("sorted"))
        content, difference = onnx_file.exported(exported)
    assert difference < 1e-4
    session = onnxruntime.InferenceSession(content)
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", 8, 8, 3],
    )
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 4])
    given = np.random.default_rng(2).integers(0, 256, (7, 8, 8, 3), np.uint8)
    plain = by_numpy(saved_run(), given)
    (found,) = session.run(None, {"images": given})
    wanted = plain + np.sort(np.tanh(plain), axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert {k: json.loads(v) for k, v in metadata.items()} == exported.about
    assert onnx.load_from_string(content).opset_import[0].version == 18


def test_onnx_of_our_own_networks(rng):
    pytest.importorskip("jax2onnx")
    import onnxruntime

    exported = predictor(saved_run(backbone="resnet8"))
    content, _ = onnx_file.exported(exported)
    images = rng.integers(0, 256, (5, 8, 8, 3), np.uint8)
    (found,) = onnxruntime.InferenceSession(content).run(None, {"images": images})
    wanted = np.asarray(jax.jit(exported.logits)(images))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
