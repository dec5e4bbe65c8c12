"""PyTorch's names and layout, compared with PyTorch's networks written out in float64."""

import functools
import hashlib
import json

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from bccl_jax.errors import BcclError
from bccl_jax.models import BACKBONES, CosineClassifier
from bccl_jax.models.cifar_resnet import CifarResNet
from bccl_jax.models.imagenet_resnet import ImageNetResNet
from bccl_jax.models.pretrained import from_torchvision, linear_from_torchvision
from bccl_jax.use.exporting import torch_file
from bccl_jax.use.exporting.predictor import predictor
from tests.models.test_pretrained import torchvision_logits
from tests.use.exporting.small import NAMES, saved_run

SMALL = {
    # The NumPy network has blocks of these numbers.
    "resnet50": functools.partial(ImageNetResNet, stage_sizes=(1, 2), width=4),
    "resnet32": functools.partial(CifarResNet, blocks=2, width=4),
}


@pytest.fixture
def _small(monkeypatch):
    for name, made in SMALL.items():
        monkeypatch.setitem(BACKBONES, name, made)


def written(saved, tmp_path, adjust=None):
    """The tensors of the file, and what it says."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(torch_file.exported(predictor(saved, adjust))[0])
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    assert metadata.pop("format") == "pt"
    return safetensors.numpy.load_file(path), {k: json.loads(v) for k, v in metadata.items()}


def resnet_s_features(state, images, blocks):
    """ResNet_s of the field in evaluation, in float64, images [B, 3, H, W]."""

    def conv(name, x, stride=1):
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3)
        )[:, :, ::stride, ::stride]
        return np.einsum("bihwyx,oiyx->bohw", windows, state[f"{name}.weight"].astype(np.float64))

    def norm(name, x):
        mean, var, weight, bias = (
            state[f"{name}.{what}"].astype(np.float64)[:, None, None]
            for what in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

    x = np.maximum(norm("bn1", conv("conv1", images)), 0)
    for stage in (1, 2, 3):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = np.maximum(norm(f"{name}.bn1", conv(f"{name}.conv1", x, stride)), 0)
            y = norm(f"{name}.bn2", conv(f"{name}.conv2", y))
            more = (y.shape[1] - x.shape[1]) // 2
            x = np.pad(x[:, :, ::stride, ::stride], ((0, 0), (more, more), (0, 0), (0, 0)))
            x = np.maximum(x + y, 0)
    return x.mean(axis=(2, 3))


def normalized(images, about):
    assert about["normalizing"]["where"] == "before the network"
    assert about["input"]["layout"] == "NCHW"
    levels = images / about["normalizing"]["divide_by"]
    colors = (np.array(about["normalizing"][name]) for name in ("mean", "std"))
    return ((levels - next(colors)) / next(colors)).transpose(0, 3, 1, 2)


def check(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.usefixtures("_small")
def test_torchvisions_network_gives_the_logits_of_the_run(tmp_path, rng):
    saved = saved_run(backbone="resnet50", side=20, photographs=True)
    tensors, about = written(saved, tmp_path, adjust=1.0)
    images = rng.integers(0, 256, (2, 20, 20, 3), np.uint8)
    check(
        jax.jit(predictor(saved, 1.0).logits)(images),
        torchvision_logits(tensors, normalized(images, about)),
    )
    assert about["last_layer"] == "linear"
    # The way there and back is one table.
    backbone = saved.classifier.network.backbone
    back = from_torchvision(tensors, backbone)
    for part in ("params", "batch_stats"):
        mine = getattr(saved.variables, part)["backbone"]
        assert flat(back[part]) == flat(mine)
    np.testing.assert_array_equal(
        linear_from_torchvision(tensors)["kernel"],
        saved.variables.params["heads_classifier"]["Dense_0"]["kernel"],
    )


def flat(tree):
    return {
        f"{name}/{inner}": found
        for name, each in tree.items()
        for inner, found in (
            flat(each).items() if isinstance(each, dict) else [("", each.tobytes())]
        )
    }


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_the_fields_network_for_small_images_gives_the_logits_of_the_run(tmp_path, rng, classifier):
    saved = saved_run(backbone="resnet32", **{"method.classifier": classifier})
    tensors, about = written(saved, tmp_path)
    images = rng.integers(0, 256, (3, 8, 8, 3), np.uint8)
    features = resnet_s_features(tensors, normalized(images, about), blocks=2)
    assert about["last_layer"] == classifier
    # A network that has a linear layer does not load a cosine's.
    weight = tensors["linear.weight" if classifier == "linear" else "linear.directions"]
    if classifier == "cosine":
        assert "linear.weight" not in tensors
        assert isinstance(saved.classifier.network.heads["classifier"], CosineClassifier)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    check(jax.jit(predictor(saved).logits)(images), features @ weight.T + tensors["linear.bias"])


def test_the_file_says_what_it_is(tmp_path):
    saved = saved_run(backbone="resnet8", photographs=True, **{"augment.eval_resize": 11})
    _, about = written(saved, tmp_path)
    assert about["classes"] == list(NAMES)
    assert about["training_images"] == [40, 30, 20, 10]
    assert about["input"]["shape"] == ["batch", 3, 8, 8]
    assert about["resizing"]["short_side"] == 11
    assert about["resizing"]["size"] == [8, 8]
    content = (tmp_path / "weights.safetensors").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    assert about["sha256"] == hashlib.sha256(content[begin:]).hexdigest()


@pytest.mark.usefixtures("_two_layers")
def test_a_backbone_that_pytorch_does_not_have_is_refused():
    with pytest.raises(BcclError, match=r"resnet8, .*resnext50, and .*'two_layers'; take --format"):
        torch_file.exported(predictor(saved_run()))
