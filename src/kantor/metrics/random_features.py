"""Features of an untrained network, which favour no kind of image.

Distances between such features rank generators much as those of trained networks do (Naeem et al. 2020, "Reliable
fidelity and diversity metrics for generative models"; Lee et al. 2022, "Demystifying randomly initialized networks for
evaluating generative models"). Use them for images unlike any that a trained network has seen; they agree less with
human perception than trained ones.

The weights are a function of `_SEED` alone: counter-based random numbers, scaled by exact arithmetic, the same bits on
every machine.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kantor.metrics.features import Activations, Extractor, state_digest
from kantor.random import uniforms

NAME = "random"
SIDE = 32
FEATURES = 128
_SEED = 1  # change it with the network: the features are others
_WIDTHS = (3, 32, 64, 128)
_SLOPE = 0.2
_GAIN = 16  # of the projection: the deviation of features is about 1 over real images (0.9 over Fashion-MNIST)


class Network(nn.Module):
    """float [N, 3, 32, 32] in [0, 255] -> `Activations` with 128 features.

    Three blocks of 3 x 3 convolution, leaky ReLU and 2 x 2 average pooling (weights scaled as by He et al. 2015,
    "Delving deep into rectifiers"), then a projection of all 4 x 4 positions, which keeps locations.
    """

    def __init__(self) -> None:
        super().__init__()
        for i, (inputs, outputs) in enumerate(pairwise(_WIDTHS)):
            self.register_buffer(f"conv{i}", _weights(i, (outputs, inputs, 3, 3), 2 / (1 + _SLOPE**2)))
        self.register_buffer("projection", _weights(len(_WIDTHS), (FEATURES, 16 * _WIDTHS[-1]), _GAIN))

    def forward(self, x: Tensor) -> Activations:
        x = (x - 127.5) / 127.5
        for i in range(len(_WIDTHS) - 1):
            x = F.conv2d(x, self.get_buffer(f"conv{i}"), padding=1)
            x = F.avg_pool2d(F.leaky_relu(x, _SLOPE), 2)
        return Activations(F.linear(x.flatten(1), self.get_buffer("projection")))


def _weights(purpose: int, shape: tuple[int, ...], gain: float) -> Tensor:
    """Uniform around 0, with variance gain / inputs."""
    edge = math.sqrt(3 * gain / math.prod(shape[1:]))
    numbers = (2 * uniforms(_SEED, purpose, math.prod(shape)) - 1) * edge
    return torch.from_numpy(numbers.astype("float32").reshape(shape))


def random_features(device: torch.device | str = "cpu") -> Extractor:
    """The untrained network; it has no classes."""
    network = Network().eval()
    device = torch.device(device)
    return Extractor(NAME, state_digest(network.state_dict()), network.to(device), (SIDE, SIDE), device=device)
