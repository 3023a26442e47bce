"""EMA: exponential moving average of the generator's weights."""

from __future__ import annotations

import torch
from torch import nn

from kantor.config.base import Absent
from kantor.config.training import EmaConfig, StepEmaConfig


def decay(config: Absent | EmaConfig | StepEmaConfig, images: float, images_seen: int) -> float:
    """The factor of the old average in a step of `images` images: 0.5 ** (images / half-life), or as configured.

    With a warm-up the half-life is at most that fraction of the images seen so far (Karras et al. 2020, "ema_rampup").
    """
    if config.kind == "none":
        return 0.0
    if config.kind == "per-step":
        return config.decay
    half_life: float = config.half_life_images
    if config.warmup:
        half_life = min(half_life, config.warmup * images_seen)
    return float(0.5 ** (images / max(half_life, 1e-8)))


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- decay x average + (1 - decay) x network; buffers (running statistics) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1.0 - decay)
    for old, new in zip(average.buffers(), network.buffers(), strict=True):
        old.copy_(new)
