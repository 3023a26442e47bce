"""Tries custom networks, which nets/custom.py builds, before a run begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kantor.app.training.parts import Parts
from kantor.config.networks import CustomCritic, CustomGenerator
from kantor.controls import components
from kantor.engine.optimizers import trained
from kantor.engine.passes import conditioning
from kantor.errors import ConfigError
from kantor.objectives.penalties import input_gradient
from kantor.types import Batch

_COUNT = 4


def try_custom_networks(parts: Parts) -> None:
    """Tries a pass and the gradients of a step on the CPU. Raises ConfigError: what a network does, and should do."""
    spec, generator, critic = parts.spec, parts.config.generator, parts.config.critic
    labels = torch.arange(_COUNT) % parts.classes if parts.classes else None
    controls = len(components(parts.config.guide.controls, spec.channels))
    with torch.random.fork_rng(devices=[]):
        size = (spec.height, spec.width)
        condition = torch.rand(_COUNT, parts.condition, *size) * 2 - 1 if parts.condition else None
        if isinstance(generator, CustomGenerator):
            z = torch.randn(_COUNT, generator.latent_dim + controls)
            _try_generator(f"generator.name = {generator.name}", parts, Batch(z, labels, condition))
        if isinstance(critic, CustomCritic):
            x = (torch.rand(_COUNT, spec.channels + controls, *size) * 2 - 1).contiguous(
                memory_format=torch.channels_last
            )
            _try_critic(f"critic.name = {critic.name}", parts, Batch(x.requires_grad_(), labels, condition))


def _try_generator(where: str, parts: Parts, batch: Batch) -> None:
    """batch: with latents in place of images."""
    network, spec = parts.generator(), parts.spec
    images = _called(where, "forward(latents, labels, condition)", lambda: network(batch[0], *conditioning(batch)))
    _require(where, images, [_COUNT, spec.channels, spec.height, spec.width], "images [N, C, H, W]")
    low, high = float(images.detach().min()), float(images.detach().max())
    if low < -1.001 or high > 1.001:
        raise ConfigError(where, f"gives images from {low:.3g} to {high:.3g}, not -1 to 1", "end it with torch.tanh")
    _require_all_used(where, network, images)


def _try_critic(where: str, parts: Parts, batch: Batch) -> None:
    network, penalties = parts.critic(), parts.objective.penalties
    scores = _called(where, "forward(images, labels, condition)", lambda: network(batch[0], *conditioning(batch)))
    _require(where, scores, [_COUNT], "scores [N]")
    _require_all_used(where, network, scores)

    def penalise() -> None:
        slope = input_gradient(scores, batch.images)
        total = torch.stack([penalty.of(slope).mean() for penalty in penalties.values()]).sum()
        torch.autograd.grad(total, trained(network), allow_unused=True)

    if penalties:
        _called(where, "the gradient of a gradient penalty", penalise)


def _called(where: str, description: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        do = "fix it: see docs/extend.md"
        if "view size is not compatible" in str(error):
            do = "replace .view by .reshape: images are channels-last in memory"
        raise ConfigError(where, f"{description} fails with {type(error).__name__}: {error}", do) from error


def _require(where: str, output: Any, shape: list[int], expected: str) -> None:
    if not isinstance(output, Tensor):
        raise ConfigError(where, f"gives a {type(output).__name__}", f"return {expected}")
    if list(output.shape) != shape:
        what = f"gives {list(output.shape)} for a batch of {_COUNT}"
        raise ConfigError(where, what, f"return {expected}, here {shape}")
    if output.dtype == torch.float64 or not output.is_floating_point():
        raise ConfigError(where, f"gives {output.dtype}", "compute in float32")
    if not bool(output.isfinite().all()):
        raise ConfigError(where, "gives numbers that are not finite", "check how its weights are initialized")


def _require_all_used(where: str, network: nn.Module, output: Tensor) -> None:
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    if not names:
        raise ConfigError(where, "has no trainable weights", "give it some")
    if not output.requires_grad:
        raise ConfigError(where, "gives an output that cannot be differentiated", "leave out detach and no_grad")
    slopes = torch.autograd.grad(output.sum(), trained(network), retain_graph=True, allow_unused=True)
    unused = [name for name, slope in zip(names, slopes, strict=True) if slope is None]
    if unused:
        do = "remove them, or freeze them with requires_grad_(False)"
        raise ConfigError(where, f"has weights that do not affect its output: {', '.join(unused[:3])}", do)
