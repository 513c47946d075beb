"""The convolutions that Sample Factory's encoders of images have."""

from __future__ import annotations

from torch import nn

from grandopt.compiler.checkpoints.frameworks import layers
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.compiler.checkpoints.frameworks.sample_factory.run import RunSettings
from grandopt.errors import CheckpointError

CONVOLUTIONS = {
    "convnet_simple": (4, 2, 2),
    "convnet_impala": (4, 2),
    "convnet_atari": (4, 2, 1),
}
"""Strides by `encoder_conv_architecture`."""


def convolutions(
    tensors: Tensors, prefix: str, settings: RunSettings, between: type[nn.Module], where: str
) -> list[nn.Module]:
    """The convolutions at `prefix`, an activation behind each, and what makes a row of what they give.

    Raises CheckpointError for another architecture than the settings say, or one that is not read.
    """
    word = settings.word("encoder_conv_architecture")
    if word not in CONVOLUTIONS:
        raise CheckpointError(
            f"{settings.file}: encoder_conv_architecture is {word!r:.60}, which is none of "
            f"{', '.join(CONVOLUTIONS)}"
        )
    own = layers.below(tensors, prefix)
    network: list[nn.Module] = []
    for place, stride in enumerate(CONVOLUTIONS[word]):
        weight, bias = (own.pop(f"{2 * place}.{part}", None) for part in ("weight", "bias"))
        if (
            weight is None
            or bias is None
            or weight.dim() != 4
            or 0 in weight.shape
            or bias.shape != weight.shape[:1]
        ):
            raise CheckpointError(f"{where}: 'conv_head.{2 * place}' is no convolution of {word}")
        convolution = nn.Conv2d(weight.shape[1], weight.shape[0], (weight.shape[2], weight.shape[3]), stride)
        convolution.load_state_dict({"weight": weight, "bias": bias})
        network += [convolution, between()]
    if own:
        raise CheckpointError(f"{where}: 'conv_head' has other layers than {word}: {', '.join(sorted(own))}")
    return [*network, nn.Flatten()]
