"""ResNet-18 and -34 (He et al., 2015) up to the last feature map, under the names that torchvision gives."""

from __future__ import annotations

import torch
from torch import nn

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Basic blocks of each of the four stages."""

CHANNELS = (64, 128, 256, 512)
STRIDE = 32
"""How many pixels of the image stand for one of the feature map, in both directions."""

EPSILON = 1e-5
"""Of torchvision's FrozenBatchNorm2d, which computes what a batch normalisation does that is not trained."""

COUNT = ".num_batches_tracked"
"""What the name of a normalisation's count ends with, which a frozen one does not save."""


class Backbone(nn.Module):
    """Images [B, C, H, W] to features [B, 512, ceil(H / 32), ceil(W / 32)]."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, CHANNELS[0], 7, 2, 3, bias=False)
        self.bn1 = _norm(CHANNELS[0])
        before = CHANNELS[0]
        for index, (count, width) in enumerate(zip(BLOCKS[name], CHANNELS, strict=True)):
            stride = 1 if index == 0 else 2
            first = Block(before, width, stride)
            rest = (Block(width, width, 1) for _ in range(count - 1))
            setattr(self, f"layer{index + 1}", nn.Sequential(first, *rest))
            before = width

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The last feature map."""
        value = nn.functional.relu(self.bn1(self.conv1(image)))
        value = nn.functional.max_pool2d(value, 3, 2, 1)
        for index in range(len(CHANNELS)):
            value = self.get_submodule(f"layer{index + 1}")(value)
        return value


class Block(nn.Module):
    """Two convolutions, and what came in added to what comes out."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = _norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = _norm(width)
        self.downsample = nn.Sequential()
        if stride != 1 or before != width:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), _norm(width))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """[B, before, h, w] to [B, width, h / stride, w / stride]."""
        inner = nn.functional.relu(self.bn1(self.conv1(value)))
        return nn.functional.relu(self.bn2(self.conv2(inner)) + self.downsample(value))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)
