"""ResNet of He et al. 2015 for 32-pixel images, linear classifier and projector, in PyTorch."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# Blocks in each of the three stages, and channels of the first.
BACKBONES = {"resnet8": (1, 16), "resnet32": (5, 16), "resnet32x4": (5, 64)}


class Norm(nn.Module):
    """Batch normalisation without the counter of batches, which costs a kernel each in eager mode.

    PyTorch's running variance gathers the unbiased variance of a batch, n / (n - 1) times the
    biased one that Flax gathers, where n is the values of a channel in the batch.
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, width, ...] to the same shape."""
        statistics = self.running_mean, self.running_var
        return F.batch_norm(x, *statistics, self.weight, self.bias, self.training, 0.1, 1e-5)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return conv


def _dense(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    dense = nn.Linear(inputs, outputs, bias)
    nn.init.kaiming_normal_(dense.weight)
    if bias:
        nn.init.zeros_(dense.bias)
    return dense


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an option-A shortcut: subsample, pad channels with zeros."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.stride, self.missing = stride, width - inputs
        self.conv_0, self.norm_0 = _conv(inputs, width, stride), Norm(width)
        self.conv_1, self.norm_1 = _conv(width, width), Norm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, inputs, H, W] to [B, width, H / stride, W / stride]."""
        y = F.relu(self.norm_0(self.conv_0(x)), inplace=True)
        y = self.norm_1(self.conv_1(y))
        if self.missing:
            before = self.missing // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, before, self.missing - before))
        return F.relu(y + x, inplace=True)


class CifarResNet(nn.Module):
    """A ResNet of 6 * blocks + 2 layers; its features have 4 * width dimensions."""

    def __init__(self, blocks: int, width: int):
        super().__init__()
        self.conv_0, self.norm_0 = _conv(3, width), Norm(width)
        widths = [width] + [width * 2**stage for stage in range(3) for _ in range(blocks)]
        self.blocks = nn.Sequential(
            *(
                BasicBlock(a, b, 1 if a == b else 2)
                for a, b in zip(widths, widths[1:], strict=False)
            )
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [B, 3, H, W] to float32 features [B, 4 * width]."""
        x = F.relu(self.norm_0(self.conv_0(images)), inplace=True)
        return self.blocks(x).float().mean((2, 3))


class Projector(nn.Module):
    """Dense, batch normalisation, ReLU, dense, unit length."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.dense_0, self.norm_0 = _dense(inputs, hidden, bias=False), Norm(hidden)
        self.dense_1 = _dense(hidden, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps [N, inputs] to float32 unit vectors [N, outputs]; zeros stay zeros."""
        x = self.dense_1(F.relu(self.norm_0(self.dense_0(features))))
        return F.normalize(x.float(), eps=1e-6)


class Network(nn.Module):
    """Backbone, classifier and projector."""

    def __init__(self, backbone: str, num_classes: int, hidden: int = 512, dim: int = 128):
        super().__init__()
        blocks, width = BACKBONES[backbone]
        self.backbone = CifarResNet(blocks, width)
        self.classifier = _dense(4 * width, num_classes)
        self.projector = Projector(4 * width, hidden, dim)

    def forward(self, images: torch.Tensor, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps [batch + N, 3, H, W] to logits of the first `batch`, embeddings of the others."""
        features = self.backbone(images)
        return self.classifier(features[:batch]).float(), self.projector(features[batch:])


_NAMES = {
    "heads_classifier.Dense_0": "classifier",
    "heads_projector": "projector",
    "BasicBlock_": "blocks.",
    "BatchNorm_": "norm_",
    "Conv_": "conv_",
    "Dense_": "dense_",
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


def from_flax(params: dict, batch_stats: dict) -> dict[str, torch.Tensor]:
    """The state_dict of `Network` that the project's variables, as NumPy arrays, amount to."""
    state = {}

    def walk(tree, path):
        if hasattr(tree, "items"):
            for name, branch in tree.items():
                walk(branch, [*path, name])
            return
        name = ".".join(path)
        for theirs, ours in _NAMES.items():
            name = name.replace(theirs, ours)
        # Kernels: height, width, in, out there and out, in, height, width here; dense ones in, out.
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[np.ndim(tree)]
        state[name] = torch.from_numpy(np.array(tree).transpose(axes).copy())

    walk(params, [])
    walk(batch_stats, [])
    return state
