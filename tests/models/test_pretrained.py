import functools
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from bccl_jax.errors import ConfigError, DataError
from bccl_jax.models import BACKBONES, create_backbone
from bccl_jax.models.imagenet_resnet import ImageNetResNet
from bccl_jax.models.pretrained import (
    from_torchvision,
    linear_from_torchvision,
    load,
    read_state_dict,
)

SIZES, WIDTH, GROUPS = (1, 2), 4, 4
SMALL = functools.partial(
    ImageNetResNet, stage_sizes=SIZES, width=WIDTH, inner_factor=2, groups=GROUPS
)


def torchvision_state(rng, sizes=SIZES, inner_factor=2, groups=GROUPS):
    """What `torchvision.models.ResNet` of that size would save, by its source, layer by layer."""
    state = {}

    def conv(name, out, into, size):
        state[f"{name}.weight"] = rng.normal(size=(out, into, size, size)).astype(np.float32)

    def norm(name, channels):
        for what in ("weight", "running_var"):
            state[f"{name}.{what}"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        for what in ("bias", "running_mean"):
            state[f"{name}.{what}"] = rng.normal(size=channels).astype(np.float32)
        state[f"{name}.num_batches_tracked"] = np.array(7)

    conv("conv1", WIDTH, 3, 7)
    norm("bn1", WIDTH)
    channels = WIDTH
    for layer, size in enumerate(sizes, 1):
        planes = WIDTH * 2 ** (layer - 1)
        inner = planes * inner_factor
        for block in range(size):
            name = f"layer{layer}.{block}"
            conv(f"{name}.conv1", inner, channels, 1)
            conv(f"{name}.conv2", inner, inner // groups, 3)
            conv(f"{name}.conv3", planes * 4, inner, 1)
            for number, width in enumerate((inner, inner, planes * 4), 1):
                norm(f"{name}.bn{number}", width)
            if block == 0:
                conv(f"{name}.downsample.0", planes * 4, channels, 1)
                norm(f"{name}.downsample.1", planes * 4)
            channels = planes * 4
    state["fc.weight"] = rng.normal(size=(5, channels)).astype(np.float32)
    state["fc.bias"] = rng.normal(size=5).astype(np.float32)
    return state


def torchvision_logits(state, images):
    """torchvision's forward pass in evaluation, in NumPy's float64, images [B, 3, H, W]."""
    state = {name: np.asarray(tensor, np.float64) for name, tensor in state.items()}

    def windows(x, size, stride, fill):
        margin = size // 2
        x = np.pad(x, ((0, 0), (0, 0), (margin,) * 2, (margin,) * 2), constant_values=fill)
        view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
        return view[:, :, ::stride, ::stride]

    def conv(name, x, stride=1):
        kernel = state[f"{name}.weight"]
        groups = x.shape[1] // kernel.shape[1]
        return np.concatenate(
            [
                np.einsum("bihwyx,oiyx->bohw", windows(part, kernel.shape[2], stride, 0), own)
                for part, own in zip(
                    np.split(x, groups, axis=1), np.split(kernel, groups), strict=True
                )
            ],
            axis=1,
        )

    def norm(name, x):
        mean, var, weight, bias = (
            state[f"{name}.{what}"][:, None, None]
            for what in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

    def relu(x):
        return np.maximum(x, 0)

    x = relu(norm("bn1", conv("conv1", images, 2)))
    x = windows(x, 3, 2, -np.inf).max(axis=(4, 5))
    for layer, size in enumerate(SIZES, 1):
        for block in range(size):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = relu(norm(f"{name}.bn1", conv(f"{name}.conv1", x)))
            y = relu(norm(f"{name}.bn2", conv(f"{name}.conv2", y, stride)))
            y = norm(f"{name}.bn3", conv(f"{name}.conv3", y))
            if block == 0:
                x = norm(f"{name}.downsample.1", conv(f"{name}.downsample.0", x, stride))
            x = relu(x + y)
    return x.mean(axis=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def our_logits(backbone, state, images):
    variables, linear = from_torchvision(state, backbone), linear_from_torchvision(state)
    features = jax.jit(lambda v, x: backbone.apply(v, x, False))(
        variables, images.transpose(0, 2, 3, 1)
    )
    return np.asarray(features) @ linear["kernel"] + linear["bias"]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_converted_weights_give_torchvisions_logits(rng, prefix):
    state = torchvision_state(rng)
    images = rng.normal(size=(2, 3, 17, 24)).astype(np.float32)
    expected = torchvision_logits(state, images)
    named = {prefix + name: tensor for name, tensor in state.items()}
    found = our_logits(SMALL(), named, images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_the_variables_are_those_of_init(rng):
    found = from_torchvision(torchvision_state(rng), SMALL())
    expected = jax.eval_shape(
        lambda: SMALL().init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32), True)
    )
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: without(state, "layer2.1.bn3.running_var"), r"layer2\.1\.bn3\.running_var"),
        (lambda state: {**state, "layer2.2.conv1.weight": np.ones(3)}, r"layer2\.2\.conv1\.weight"),
        (
            lambda state: {**state, "conv1.weight": np.ones((4, 3, 3, 3))},
            r"'conv1\.weight' has shape \(4, 3, 3, 3\), not \(4, 3, 7, 7\)",
        ),
        # A transposed kernel would pass where both channels are equal in number.
        (
            lambda state: {
                **state,
                "layer1.0.conv3.weight": state["layer1.0.conv3.weight"].swapaxes(0, 1),
            },
            r"layer1\.0\.conv3\.weight' has shape \(8, 16, 1, 1\), not \(16, 8, 1, 1\)",
        ),
        (
            lambda state: {**state, "bn1.bias": np.ones(4, np.int32)},
            r"'bn1\.bias' is of int32",
        ),
        # Of timm's "resnet50d": three convolutions in the stem, and shortcuts that average first.
        (
            lambda state: {
                **without(state, "conv1.weight"),
                **{f"conv1.{i}.weight": np.ones(3, np.float32) for i in (0, 1, 3, 4, 6)},
            },
            r"'conv1\.weight' is missing, while 'conv1\.0\.weight' has no place",
        ),
        (
            lambda state: {
                **without(state, "layer1.0.downsample.0.weight"),
                "layer1.0.downsample.2.weight": np.ones(16, np.float32),
            },
            r"'layer1\.0\.downsample\.0\.weight' is missing, while 'layer1\.0\.downsample\.2\.w",
        ),
        # Of grey images.
        (
            lambda state: {**state, "conv1.weight": state["conv1.weight"][:, :1]},
            r"'conv1\.weight' has shape \(4, 1, 7, 7\), not \(4, 3, 7, 7\)",
        ),
        (
            lambda state: {**state, "bn1.running_var": np.array([1, 1, np.inf, 1], np.float16)},
            r"'bn1\.running_var' has numbers that are not finite",
        ),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(rng, change, message):
    with pytest.raises(DataError, match=message):
        from_torchvision(change(torchvision_state(rng)), SMALL())


def test_the_last_layer_is_checked_too(rng):
    state = torchvision_state(rng)
    with pytest.raises(DataError, match=r"fc\.bias"):
        linear_from_torchvision({**state, "fc.bias": np.ones(6, np.float32)})
    with pytest.raises(DataError, match=r"fc\.weight"):
        linear_from_torchvision(without(state, "fc.weight"))
    for shape in ((), (3,), (3, 4, 5)):
        with pytest.raises(DataError, match=r"'fc\.weight' has shape .*, not one of a matrix"):
            linear_from_torchvision({**state, "fc.weight": np.ones(shape, np.float32)})


@pytest.fixture
def small_resnext50(monkeypatch):
    monkeypatch.setitem(BACKBONES, "resnext50", SMALL)


@pytest.fixture
def weights(rng, tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file(torchvision_state(rng), path)
    return path


def test_a_file_is_read_as_it_was_written(rng, weights, small_resnext50):
    found = load(weights, "resnext50")
    expected = from_torchvision(torchvision_state(np.random.default_rng(0)), SMALL())
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_weights_of_another_precision_become_those_of_float32(
    rng, dtype, tmp_path, small_resnext50
):
    path = tmp_path / "model.safetensors"
    state = {name: tensor.astype(dtype) for name, tensor in torchvision_state(rng).items()}
    safetensors.numpy.save_file(state, path)
    found = jax.tree.leaves(load(path, "resnext50"))
    expected = from_torchvision({n: t.astype(np.float32) for n, t in state.items()}, SMALL())
    for one, other in zip(found, jax.tree.leaves(expected), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)


def test_a_file_may_have_no_last_layer(rng, tmp_path, small_resnext50):
    state = {n: t for n, t in torchvision_state(rng).items() if not n.startswith("fc.")}
    safetensors.numpy.save_file(state, tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors", "resnext50").keys() == {"params", "batch_stats"}


def one_sentence(error):
    return "\n" not in str(error.value)


def test_weights_of_another_network_are_refused_with_both_names(rng, tmp_path, small_resnext50):
    path = tmp_path / "plain.safetensors"
    safetensors.numpy.save_file(torchvision_state(rng, inner_factor=1, groups=1), path)
    with pytest.raises(DataError, match=r"plain\.safetensors.*'resnext50'.*layer1\.0") as told:
        load(path, "resnext50")
    assert one_sentence(told)


def test_a_backbone_that_torchvision_does_not_have_is_refused(weights):
    with pytest.raises(ConfigError, match=r"'resnet32'.*resnet50, resnext50"):
        load(weights, "resnet32")


def test_files_that_cannot_be_read_are_named(weights, tmp_path, small_resnext50):
    with pytest.raises(DataError, match=r"none\.pth.*not there"):
        load(tmp_path / "none.pth", "resnext50")
    whole = weights.read_bytes()
    for name, content in (("cut", whole[:-8]), ("head", whole[:5]), ("empty", b"")):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.safetensors.*a part of one") as told:
            load(path, "resnext50")
        assert one_sentence(told)


def test_without_pytorch_its_files_ask_for_it(tmp_path, monkeypatch, small_resnext50):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "weights.pth"
    path.write_bytes(b"anything")
    with pytest.raises(DataError, match=r"pip install torch.*safetensors") as told:
        load(path, "resnext50")
    assert one_sentence(told)


def test_files_of_pytorch(rng, tmp_path):
    torch = pytest.importorskip("torch")
    state = torchvision_state(rng)
    tensors = {f"module.{name}": torch.from_numpy(tensor) for name, tensor in state.items()}
    path = tmp_path / "checkpoint.pth.tar"
    for saved in (tensors, {"epoch": 3, "state_dict": tensors}, {"model": tensors}):
        torch.save(saved, path)
        found = read_state_dict(path)
        assert found.keys() == tensors.keys()
        np.testing.assert_array_equal(found["module.conv1.weight"], state["conv1.weight"])
    half = torch.from_numpy(state["bn1.bias"]).bfloat16()
    torch.save({"bn1.bias": torch.nn.Parameter(half)}, path)
    np.testing.assert_array_equal(read_state_dict(path)["bn1.bias"], half.float().numpy())


def test_files_of_pytorch_that_hold_no_state_dict(rng, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "checkpoint.pth"
    for saved, message in (
        ([torch.ones(2)], "no state dict"),
        ({}, "no state dict"),
        ({"epoch": 3}, "'epoch' is no tensor"),
        (torch.nn.Linear(2, 2), "more than tensors"),
    ):
        torch.save(saved, path)
        with pytest.raises(DataError, match=message):
            read_state_dict(path)
    torch.save({"a": torch.ones(1000)}, path)
    for content in (path.read_bytes()[:-100], path.read_bytes()[:10], b"", b"not weights"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="it is broken"):
            read_state_dict(path)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("resnet50", "resnet50"), ("resnext50", "resnext50_32x4d")]
)
def test_logits_are_torchvisions_own(rng, ours, theirs):
    torchvision = pytest.importorskip("torchvision")
    import torch

    torch.manual_seed(0)
    model = getattr(torchvision.models, theirs)(weights=None)
    # Smooth as photographs are.
    coarse = torch.from_numpy(rng.normal(size=(8, 3, 6, 6)).astype(np.float32))
    images = torch.nn.functional.interpolate(coarse, 96, mode="bicubic")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            module.momentum = 1.0
    with torch.no_grad():
        # The running statistics become those of the images, as they would by training.
        model.train()(images)
        expected = model.eval()(images[:2]).numpy()
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    found = our_logits(create_backbone(ours), state, images[:2].numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4)
    other = "resnet50" if ours == "resnext50" else "resnext50"
    with pytest.raises(DataError, match=r"layer1\.0"):
        from_torchvision(state, create_backbone(other))
