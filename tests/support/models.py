"""Model files without training: generators of random weights, whose images differ by seed and class."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from kantor.config.networks import UpsamplingGenerator
from kantor.export.weights import Card, write_generator
from kantor.nets import build_generator
from kantor.types import ImageSpec

RGB = ImageSpec(16, 16, 3)


def write_model(folder: Path, classes: tuple[str, ...] = (), spec: ImageSpec = RGB) -> Path:
    """Writes FOLDER/generator.safetensors, and returns its path."""
    config = UpsamplingGenerator(width=4, max_width=8, latent_dim=6)
    network = build_generator(config, spec, len(classes), 3).eval()
    random = torch.Generator().manual_seed(5)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=0.3, generator=random)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "generator.safetensors"
    write_generator(path, network, Card(spec, config, "relativistic", classes, 0))
    return path
