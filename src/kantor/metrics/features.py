"""Images to features: an extractor is a named network behind an antialiased resize."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kantor.errors import ConfigError, DataError
from kantor.types import Images

BATCH = 64
RESIZE = "bicubic, antialiased"
THUMBNAIL = 32
"""Longer side of the images whose pixels are compared, at most."""


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
        return _joined([self._batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])

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


@dataclass(frozen=True)
class ImageFeatures:
    """Features of N images, sorted by a hash of their pixels.

    So the first n are a random sample, and the same one in whatever order the images came.

    Attributes:
        features: float32 [N, D].
        thumbs: uint8 [N, h, w, C], from `thumbnails`.
        order: int64 [N], the index of each row in the stream of images.
        logits: of each classifier of the extractor: float32 [N, K].
    """

    features: Tensor
    thumbs: Images
    order: NDArray[np.int64]
    logits: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)

    def first(self, count: int) -> ImageFeatures:
        return self.rows(slice(0, count))

    def rows(self, rows: slice) -> ImageFeatures:
        logits = {name: values[rows] for name, values in self.logits.items()}
        return ImageFeatures(self.features[rows], self.thumbs[rows], self.order[rows], logits)

    def chosen(self, rows: NDArray[np.int64], order: NDArray[np.int64]) -> ImageFeatures:
        """Some rows, which are images of another stream: `order` is their index in it."""
        index = torch.from_numpy(rows)
        logits = {name: values[index] for name, values in self.logits.items()}
        return ImageFeatures(self.features[index], self.thumbs[rows], order, logits)

    def tensors(self) -> dict[str, Tensor]:
        """As tensors by name, for a file."""
        arrays = {"thumbs": torch.from_numpy(self.thumbs), "order": torch.from_numpy(self.order)}
        logits = {f"logits/{name}": values for name, values in self.logits.items()}
        return {"features": self.features, **arrays, **logits}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> ImageFeatures:
        """Inverse of `tensors`. Raises KeyError if one is missing."""
        logits = {name.removeprefix("logits/"): t for name, t in tensors.items() if name.startswith("logits/")}
        return ImageFeatures(tensors["features"], tensors["thumbs"].numpy(), tensors["order"].numpy(), logits)


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [0, 255], the colours of RGBA images laid on mid-grey.

    So a colour counts as much as one sees of it, and not at all behind a transparent pixel.
    """
    x = images.permute(0, 3, 1, 2).to(torch.float32)
    if x.shape[1] != 4:
        return x
    return torch.cat([127.5 + (x[:, :3] - 127.5) * (x[:, 3:] / 255), x[:, 3:]], dim=1)


def with_channels(x: Tensor, channels: int) -> Tensor:
    """float [N, C, H, W] in [0, 255] with 1 or 3 `channels`, without alpha.

    Grey is repeated three times; colours become grey by the weights of ITU-R 601.
    """
    if x.shape[1] == 4:
        x = x[:, :3]
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


def extract(batches: Iterable[Images], extractor: Extractor) -> ImageFeatures:
    """Features of the images uint8 [n, H, W, C] in `batches`, of any sizes n.

    Raises:
        DataError: there are no images.
    """
    parts, thumbs, hashes = [], [], []
    for images in batches:
        parts.append(extractor(images))
        thumbs.append(thumbnails(images))
        hashes += [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    if not parts:
        raise DataError("images", "there are none to score", "give at least two")
    order = np.asarray(sorted(range(len(hashes)), key=hashes.__getitem__), np.int64)
    index, whole = torch.from_numpy(order), _joined(parts)
    logits = {name: values[index] for name, values in whole.logits.items()}
    return ImageFeatures(whole.features[index], np.concatenate(thumbs)[order], order, logits)


def _joined(parts: Sequence[Activations]) -> Activations:
    logits = {name: torch.cat([part.logits[name] for part in parts]) for name in parts[0].logits}
    return Activations(torch.cat([part.features for part in parts]), logits)


def thumbnails(images: Images) -> Images:
    """uint8 [N, H, W, C], shrunk to `THUMBNAIL` pixels of the longer side; smaller images stay, but for what `to_float` does."""
    shrink = min(1.0, THUMBNAIL / max(images.shape[1:3]))
    if shrink == 1 and images.shape[3] != 4:
        return images
    height, width = (max(1, round(side * shrink)) for side in images.shape[1:3])
    small = resized(to_float(torch.from_numpy(np.array(images))), height, width)
    return small.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors by name, independent of their file format."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}:{value.dtype}:{list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
