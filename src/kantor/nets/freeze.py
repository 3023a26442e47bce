"""Freezes the critic's first layers: FreezeD (Mo, Cho and Shin 2020, "Freeze the discriminator", arXiv 2002.10964).

What a critic has learnt about edges and textures serves other images too. With few of them, layers that are kept cannot overfit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from kantor.errors import ConfigError

Stages = Sequence[Sequence[nn.Module]]


def freeze(critic: nn.Module, count: int) -> None:
    """Freezes the first `count` layers of a critic, counted from the image, with their normalisation.

    Their weights get no gradient. Batch norm still normalises by each batch, but keeps its running statistics.

    Raises ConfigError if there are fewer layers before the score.
    """
    stages = _stages(critic)
    if count > len(stages):
        layers = "1 layer" if len(stages) == 1 else f"{len(stages)} layers"
        what = f"this critic has {layers} before its score"
        raise ConfigError(f"critic.freeze = {count}", what, f"choose at most {len(stages)}")
    for module in (module for stage in stages[:count] for part in stage for module in part.modules()):
        module.requires_grad_(False)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False


def _stages(critic: nn.Module) -> Stages:
    """The layers of a critic from the image on, each with its normalisation, without what computes the score."""
    own: Any = getattr(critic, "stages", None)
    return own() if callable(own) else _in_order(critic)


def _in_order(critic: nn.Module) -> Stages:
    """Of a custom critic: what it registers, entries of lists one by one; the last one with weights computes the score."""
    parts = []
    for child in critic.children():
        parts += [*child] if isinstance(child, nn.ModuleList | nn.Sequential) else [child]
    return [[part] for part in parts if any(True for _ in part.parameters())][:-1]
