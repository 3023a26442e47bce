"""The Inception network of the FID papers, with weights from a file that the user provides: nothing is downloaded.

Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", measure with
TensorFlow's graph inception-2015-12-05. It is the network of Szegedy et al. 2015, "Rethinking the Inception
architecture for computer vision", with three deviations that change every score: its average pools do not count the
padding, its last block has max pooling where the others average, and it has 1008 classes. Layers are named as in the
weights that the project pytorch-fid published, ported from the graph; each layer was compared with torch-fidelity 0.4.0
and pytorch-fid 0.3.0 in float64, and agrees to the last bit (scripts/inception_reference.py).

Images are resized to 299 x 299 by `features.resized`, antialiased, as clean-fid does; the public ports resize without
antialiasing, so their scores differ for images of other sizes.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kantor.errors import ModelError
from kantor.metrics.features import Activations, Extractor

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BYTES = 95_628_359
SIZE = (299, 299)
CLASSES = tuple(f"class {i}" for i in range(1008))  # ImageNet's and a few unused ones, in the order of the graph
GET = f"get {FILE} from the release fid_weights of mseitzer/pytorch-fid on GitHub (96 MB), and use --features inception:PATH"
_BATCH = 16  # images: 64 would need 1 GB for the first layers


class _Layer(nn.Module):
    """Convolution, normalisation with running statistics, ReLU.

    Args:
        kernel: "height x width": "1x7".
        padded: stride 1 keeps the size.
    """

    def __init__(self, inputs: int, outputs: int, kernel: str, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        height, width = map(int, kernel.split("x"))
        padding = (height // 2, width // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Branches over the same input, and a pool; outputs are concatenated along the channels.

    Args:
        branches: each a sequence of layers "NAME:CHANNELS:KERNEL"; + joins two with the same input.
        pool: "mean" or "max", 3 x 3, followed by a layer of `pooled` channels; or "halve": 3 x 3 max pooling at stride 2
            without a layer; then each branch ends with stride 2 as well.
    """

    def __init__(self, inputs: int, branches: Sequence[str], pool: str, pooled: int = 0) -> None:
        super().__init__()
        self._pool = pool
        self._branches = [[_layers(step) for step in branch.split()] for branch in branches]
        for steps in self._branches:
            width = inputs
            for step in steps:
                halves = pool == "halve" and step is steps[-1]
                for name, outputs, kernel in step:
                    self.add_module(name, _Layer(width, outputs, kernel, 2 if halves else 1, not halves))
                width = sum(outputs for _, outputs, _ in step)
        if pooled:
            self.branch_pool = _Layer(inputs, pooled, "1x1")

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for steps in self._branches:
            y = x
            for step in steps:
                y = torch.cat([self.get_submodule(name)(y) for name, _, _ in step], 1)
            outputs.append(y)
        if self._pool == "halve":
            return torch.cat([*outputs, F.max_pool2d(x, 3, 2)], 1)
        pooled = F.max_pool2d(x, 3, 1, 1) if self._pool == "max" else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([*outputs, self.branch_pool(pooled)], 1)


def _layers(step: str) -> list[tuple[str, int, str]]:
    parts = [layer.split(":") for layer in step.split("+")]
    return [(f"branch{name}", int(channels), kernel) for name, channels, kernel in parts]


_TWO_THREES = "3x3dbl_1:64:1x1 3x3dbl_2:96:3x3 3x3dbl_3:96:3x3"


def _fine(inputs: int, pooled: int) -> _Block:
    """35 x 35 positions."""
    return _Block(inputs, ["1x1:64:1x1", "5x5_1:48:1x1 5x5_2:64:5x5", _TWO_THREES], "mean", pooled)


def _middle(inputs: int, c: int) -> _Block:
    """17 x 17 positions; c: channels between the 1x7 and 7x1 convolutions."""
    once = f"7x7_1:{c}:1x1 7x7_2:{c}:1x7 7x7_3:192:7x1"
    twice = f"7x7dbl_1:{c}:1x1 7x7dbl_2:{c}:7x1 7x7dbl_3:{c}:1x7 7x7dbl_4:{c}:7x1 7x7dbl_5:192:1x7"
    return _Block(inputs, ["1x1:192:1x1", once, twice], "mean", 192)


def _coarse(inputs: int, pool: str) -> _Block:
    """8 x 8 positions."""
    once = "3x3_1:384:1x1 3x3_2a:384:1x3+3x3_2b:384:3x1"
    twice = "3x3dbl_1:448:1x1 3x3dbl_2:384:3x3 3x3dbl_3a:384:1x3+3x3dbl_3b:384:3x1"
    return _Block(inputs, ["1x1:320:1x1", once, twice], pool, 192)


class Inception(nn.Module):
    """float [N, 3, 299, 299] in [0, 255] -> features [N, 2048], the channel means of the last block, and logits.

    The logits "classes" [N, 1008] leave the last layer's bias out, as the inception score does (Salimans et al. 2016,
    "Improved techniques for training GANs").
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Layer(3, 32, "3x3", 2, padded=False)
        self.Conv2d_2a_3x3 = _Layer(32, 32, "3x3", padded=False)
        self.Conv2d_2b_3x3 = _Layer(32, 64, "3x3")
        self.MaxPool_1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = _Layer(64, 80, "1x1")
        self.Conv2d_4a_3x3 = _Layer(80, 192, "3x3", padded=False)
        self.MaxPool_2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b = _fine(192, 32)
        self.Mixed_5c = _fine(256, 64)
        self.Mixed_5d = _fine(288, 64)
        self.Mixed_6a = _Block(288, ["3x3:384:3x3", _TWO_THREES], "halve")
        self.Mixed_6b = _middle(768, 128)
        self.Mixed_6c = _middle(768, 160)
        self.Mixed_6d = _middle(768, 160)
        self.Mixed_6e = _middle(768, 192)
        sevens = "7x7x3_1:192:1x1 7x7x3_2:192:1x7 7x7x3_3:192:7x1 7x7x3_4:192:3x3"
        self.Mixed_7a = _Block(768, ["3x3_1:192:1x1 3x3_2:320:3x3", sevens], "halve")
        self.Mixed_7b = _coarse(1280, "mean")
        self.Mixed_7c = _coarse(2048, "max")
        self.AvgPool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, len(CLASSES))

    def forward(self, x: Tensor) -> Activations:
        x = (x - 128) / 128
        for name, stage in self.named_children():
            if name != "fc":
                x = stage(x)
        features = x.flatten(1)
        return Activations(features, {"classes": F.linear(features, self.fc.weight)})


def from_state(state: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> Inception:
    """The network with the weights of `state`, named as in the published file; uses no random numbers."""
    with torch.device("meta"):
        network = Inception()
    network.load_state_dict({name: value.to(dtype) for name, value in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def inception(path: str | Path, device: torch.device | str = "cpu") -> Extractor:
    """The FID Inception network with the weights in `path`; its scores are those of the FID papers except for the resize.

    Raises:
        ModelError: the file is missing, cannot be read, or is not the published one, byte for byte.
    """
    device = torch.device(device)
    network = from_state(_state(path)).to(device)

    def activations(x: Tensor) -> Activations:
        # TF32 keeps 10 bits of each factor: scores would differ from those of a CPU
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            parts = [network(part) for part in torch.split(x, _BATCH)]
        logits = torch.cat([part.logits["classes"] for part in parts])
        return Activations(torch.cat([part.features for part in parts]), {"classes": logits})

    return Extractor("inception", SHA256, activations, SIZE, classes={"classes": CLASSES}, device=device)


def _read(path: str | Path) -> bytes:
    """The published file's bytes: nothing else is opened, since a .pth file can hold anything."""
    try:
        file = Path(path).expanduser()  # a shell does not expand the ~ in inception:~/weights
        if file.is_dir():
            raise ModelError(path, "is a folder, not a file of weights", f"name the file in it: {file / FILE}")
        if file.exists() and not file.is_file():
            raise ModelError(path, "is not a file but a device or pipe", GET)
        size = file.stat().st_size
        data = file.read_bytes() if size == BYTES else b""
    except FileNotFoundError as error:
        raise ModelError(path, "there is no such file", GET) from error
    except OSError as error:
        raise ModelError(path, f"cannot be read ({error.strerror})", "check the path and its permissions") from error
    except (ValueError, RuntimeError) as error:  # a NUL, or ~ of an unknown user
        raise ModelError(path, "cannot be read (not a valid path)", "check the path") from error
    if len(data) != BYTES:
        reason = "cut short, or another network" if size < BYTES else "another network"
        what = f"has {size:,} bytes, the FID Inception's file has {BYTES:,}: {reason}"
        raise ModelError(path, what, GET)
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        reason = "damaged, or another network (as torchvision's is)"
        raise ModelError(path, f"its SHA-256 begins with {digest[:8]}, not {SHA256[:8]}: {reason}", GET)
    return data


def _state(path: str | Path) -> dict[str, Tensor]:
    data = _read(path)
    try:
        state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError(path, "cannot be opened by this version of PyTorch", "install another version") from error
    return state
