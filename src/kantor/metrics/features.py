"""Images to features: an extractor is a named network behind an antialiased resize."""

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


class LazyImages(Protocol):
    """Images as one array uint8 [N, H, W, C] whose rows are read when they are indexed."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any) -> Images: ...


BATCH = 64
RESIZE = "bicubic, antialiased"


@dataclass(frozen=True)
class Activations:
    """Outputs of a network for N images.

    Attributes:
        features: float32 [N, D].
        logits: of each classifier of the network, by name: float32 [N, K].
    """

    features: Tensor
    logits: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Extractor:
    """A network that gives features, with everything that decides about their values.

    Attributes:
        name: the part of a score's name behind the @: "kantor-small".
        digest: SHA-256 of the weights, hexadecimal: scores of other weights are not compared.
        network: float32 [N, channels, height, width] in [0, 255] -> `Activations`.
        size: (height, width) that images are resized to; None leaves them.
        channels: 3, or 1 for a network of grey images.
        classes: class names of each classifier.
        cacheable: whether features may be cached on disk. Custom Python code is not: it may change while its name and
            weights stay.
    """

    name: str
    digest: str
    network: Callable[[Tensor], Activations]
    size: tuple[int, int] | None
    channels: int = 3
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    cacheable: bool = True

    @torch.inference_mode()
    def __call__(self, images: Images) -> Activations:
        """Activations of uint8 [N, H, W, C], on the CPU.

        Always in batches of `BATCH`, the last one padded, so that features do not depend on the other images.
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
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # TF32 keeps 10 bits of a factor: too few
            outputs = self.network(resized(x, *self.size) if self.size else x)
        if outputs.features.ndim != 2 or len(outputs.features) != BATCH:
            what = f"gives features of shape {list(outputs.features.shape)} for {BATCH} images"
            raise ConfigError(f"extractor {self.name}", what, "give [images, features]")
        features = outputs.features[:count].float().cpu()
        if not bool(features.isfinite().all()):
            what = "gives features that are not finite"
            raise ConfigError(f"extractor {self.name}", what, "check its weights and the range of its input")
        return Activations(features, {name: logits[:count].float().cpu() for name, logits in outputs.logits.items()})


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [0, 255]."""
    return images.permute(0, 3, 1, 2).to(torch.float32)


def with_channels(x: Tensor, channels: int) -> Tensor:
    """float [N, C, H, W] in [0, 255] with 1 or 3 `channels`.

    Grey is repeated three times; colours become grey by the weights of ITU-R 601; transparent pixels show mid-grey.
    """
    if x.shape[1] == 4:
        x = 127.5 + (x[:, :3] - 127.5) * (x[:, 3:] / 255)
    if x.shape[1] == channels:
        return x
    if channels == 3:
        return x.expand(-1, 3, -1, -1)
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """float [N, C, H, W] in [0, 255] resized to [N, C, height, width], bicubic and antialiased.

    Without antialiasing a shrunk image has artefacts, which scores would measure (Parmar et al. 2022,
    "On aliased resizing and surprising subtleties in GAN evaluation").
    """
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)


def rebatched(batches: Iterable[Images], size: int) -> Iterator[Images]:
    """The same images in the same order, in batches of `size`; the last may be smaller."""
    pending: list[Images] = []
    for batch in batches:
        pending.append(batch)
        if sum(map(len, pending)) < size:
            continue
        joined = np.concatenate(pending)
        whole = len(joined) // size * size
        for start in range(0, whole, size):
            yield joined[start : start + size]
        pending = [joined[whole:]]
    joined = np.concatenate(pending) if pending else np.zeros((0,), np.uint8)
    if len(joined):
        yield joined


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors by name, independent of their file format."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}:{value.dtype}:{list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
