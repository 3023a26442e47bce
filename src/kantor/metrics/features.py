"""From images to features: an extractor is a named network behind an antialiased resize."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kantor.errors import ConfigError
from kantor.types import Images


class Portions(Protocol):
    """Images as if they were one array uint8 [N, H, W, C], which need not be in memory as a whole."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any) -> Images: ...


BATCH = 64
RESIZE = "bicubic, antialiased"


@dataclass(frozen=True)
class Activations:
    """What a network makes of N images.

    Attributes:
        features: float32 [N, D].
        logits: of each classifier that the network holds, by name: float32 [N, K].
    """

    features: Tensor
    logits: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Extractor:
    """A network that features are taken from, with all that decides about its numbers.

    Attributes:
        name: stands behind the @ of a score: "kantor-small".
        digest: SHA-256 of the weights, hexadecimal: scores of other weights are not compared.
        network: float32 [N, channels, height, width] in [0, 255] -> `Activations`.
        size: (height, width) that images are brought to; None leaves them.
        channels: 3, or 1 for a network of grey images.
        classes: names of the classes of each classifier, by its name.
        device: where the network is.
        kept: its features may be kept on the disk: not those of code of the user's own, which may change while its name
            and its weights do not.
    """

    name: str
    digest: str
    network: Callable[[Tensor], Activations]
    size: tuple[int, int] | None
    channels: int = 3
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    kept: bool = True

    @torch.inference_mode()
    def __call__(self, images: Images) -> Activations:
        """The activations of uint8 [N, H, W, C], on the CPU.

        Always in batches of `BATCH`, the last one padded: an image's features do not depend on its neighbours.
        """
        parts = [self._batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        heads = parts[0].logits
        return Activations(
            torch.cat([part.features for part in parts]),
            {name: torch.cat([part.logits[name] for part in parts]) for name in heads},
        )

    def _batch(self, images: Images) -> Activations:
        count = len(images)
        padded = np.zeros((BATCH, *images.shape[1:]), np.uint8)
        padded[:count] = images
        x = with_channels(to_float(torch.from_numpy(padded).to(self.device)), self.channels)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # ten bits of a feature are too few
            found = self.network(resized(x, *self.size) if self.size else x)
        if found.features.ndim != 2 or len(found.features) != BATCH:
            what = f"gives features of shape {list(found.features.shape)} for {BATCH} images"
            raise ConfigError(f"extractor {self.name}", what, "give [images, features]")
        features = found.features[:count].float().cpu()
        if not bool(features.isfinite().all()):
            what = "gives features that are not finite"
            raise ConfigError(f"extractor {self.name}", what, "check its weights and the range of its input")
        return Activations(features, {name: one[:count].float().cpu() for name, one in found.logits.items()})


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [0, 255]."""
    return images.permute(0, 3, 1, 2).to(torch.float32)


def with_channels(x: Tensor, channels: int) -> Tensor:
    """float [N, C, H, W] in [0, 255] with `channels`, 1 or 3, of them.

    Grey is the same in all three; colours become grey as ITU-R 601 weighs them; what is transparent shows mid-grey.
    """
    if x.shape[1] == 4:
        x = 127.5 + (x[:, :3] - 127.5) * (x[:, 3:] / 255)
    if x.shape[1] == channels:
        return x
    if channels == 3:
        return x.expand(-1, 3, -1, -1)
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """float [N, C, H, W] in [0, 255] brought to [N, C, height, width], antialiased: each pixel that is given up counts.

    Without antialiasing a shrunk image shows detail that is not there, and scores measure that (Parmar et al. 2022,
    "On aliased resizing and surprising subtleties in GAN evaluation").
    """
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)


def rebatched(batches: Iterable[Images], size: int) -> Iterator[Images]:
    """The same images in the same order, in batches of `size`, the last one smaller."""
    rest: list[Images] = []
    for batch in batches:
        rest.append(batch)
        if sum(map(len, rest)) < size:
            continue
        joined = np.concatenate(rest)
        whole = len(joined) // size * size
        for start in range(0, whole, size):
            yield joined[start : start + size]
        rest = [joined[whole:]]
    joined = np.concatenate(rest) if rest else np.zeros((0,), np.uint8)
    if len(joined):
        yield joined


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors by name, whatever file they came in."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}:{value.dtype}:{list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
