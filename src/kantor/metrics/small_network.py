"""kantor-small: the default network of features.

A residual network of 0.59 million parameters for 32x32 images, trained by scripts/features on glyphs,
Fashion-MNIST and handwritten digits: to classify the content, its colours and its orientation, and to estimate the kind and
strength of damage. So its features react to typical faults of generated images.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from kantor.errors import ResourceError
from kantor.metrics.features import Activations, Extractor, state_digest

NAME = "kantor-small"
WEIGHTS = Path(__file__).parent / "weights" / f"{NAME}.safetensors"
SIDE = 32
FEATURES = 128

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
HUES = ("red", "orange", "amber", "yellow", "lime", "green", "teal", "sky", "blue", "violet", "magenta", "pink")
GARMENTS = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
DIGITS = tuple("0123456789")
CLASSES = (*LETTERS, *GARMENTS, *(f"handwritten {digit}" for digit in DIGITS))

_WIDTHS = (16, 32, 64, FEATURES)  # at 32x32, 16x16, 8x8 and 4x4
_BLOCKS = (2, 2, 1)  # residual blocks after each stride-2 layer


class Unit(nn.Module):
    """A 3x3 convolution, in training followed by batch norm, which is folded into it afterwards."""

    def __init__(self, before: int, after: int, stride: int = 1, norm: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride, 1, bias=not norm)
        self.norm = nn.BatchNorm2d(after) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out


class Block(nn.Module):
    """relu(x + unit(relu(unit(x))))."""

    def __init__(self, width: int, norm: bool = False) -> None:
        super().__init__()
        self.first, self.second = Unit(width, width, norm=norm), Unit(width, width, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class Network(nn.Module):
    """float32 [N, 3, 32, 32] in [0, 255] -> `Activations` with 128 features.

    Features are means over the last 4x4 positions, shifted and scaled: over the real training images, a third each of
    glyphs, garments and handwritten digits, each has mean 0, and the variances are 1 on average. (They differ: features
    of damage vary less over real images, and would dominate distances if they were scaled to 1.) The heads are
    linear in the features.

    Args:
        norm: with batch norm, for training.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [Unit(3, _WIDTHS[0], norm=norm), nn.ReLU()]
        for before, after, blocks in zip(_WIDTHS, _WIDTHS[1:], _BLOCKS, strict=False):
            layers += [Unit(before, after, 2, norm), nn.ReLU(), *(Block(after, norm) for _ in range(blocks))]
        self.trunk = nn.Sequential(*layers)
        self.register_buffer("shift", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.classes = nn.Linear(FEATURES, len(CLASSES))
        self.hue = nn.Linear(FEATURES, len(HUES))

    def layers(self, x: Tensor) -> list[Tensor]:
        """What it sees at each of its four sizes, [N, K, h, w]; of images of any size."""
        x = (x / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        seen: list[Tensor] = []
        for layer in self.trunk:
            if isinstance(layer, Unit) and layer.conv.stride != (1, 1):
                seen.append(x)
            x = layer(x)
        return [*seen, x]

    def pooled(self, x: Tensor) -> Tensor:
        """[N, 128], unscaled."""
        x = (x / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        out: Tensor = self.trunk(x).mean((2, 3))
        return out

    def forward(self, x: Tensor) -> Activations:
        features = (self.pooled(x) - self.shift) * self.scale
        classes = self.classes(features)
        letter, garment, digit = classes.split([len(LETTERS), len(GARMENTS), len(DIGITS)], 1)
        logits = {"classes": classes, "letter": letter, "garment": garment, "digit": digit, "hue": self.hue(features)}
        return Activations(features, logits)


@lru_cache(maxsize=4)
def kantor_small(device: str | torch.device = "cpu") -> Extractor:
    """The shipped network, for inference; loaded once per device.

    Classifiers: "classes" (letters, garments, handwritten digits), its parts "letter", "garment" and "digit", and "hue"
    of a letter.

    Raises:
        ResourceError: the weights are missing or damaged.
    """
    try:
        state = load(WEIGHTS.read_bytes())
    except (OSError, SafetensorError) as error:
        what = f"the weights of {NAME} cannot be read ({error})"
        raise ResourceError(WEIGHTS, what, "reinstall it: pip install --force-reinstall kantor") from error
    network = Network()
    network.load_state_dict({name: value.float() for name, value in state.items()})
    network = network.requires_grad_(False).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Extractor(
        name=NAME,
        digest=state_digest(state),
        network=network.to(device),
        size=(SIDE, SIDE),
        classes={"classes": CLASSES, "letter": LETTERS, "garment": GARMENTS, "digit": DIGITS, "hue": HUES},
        device=torch.device(device),
    )


def small_network(device: str | torch.device = "cpu") -> Network:
    """The shipped network itself, whose weights are frozen. Raises as `kantor_small`."""
    network = kantor_small(device).network
    assert isinstance(network, Network)
    return network
