"""Checks networks and losses before a run begins: custom ones are tried, mixing of a batch is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kantor.config.schema import Config
from kantor.engine.optimizers import trained
from kantor.engine.passes import conditioning
from kantor.errors import ConfigError
from kantor.nets import build_critic, build_generator, traits_of
from kantor.objectives.objective import Objective
from kantor.objectives.penalties import input_gradient
from kantor.types import Batch, ImageSpec

_COUNT = 4


def try_custom_networks(config: Config, spec: ImageSpec, classes: int, condition: int, objective: Objective) -> None:
    """Tries one pass and the gradients of one step with each custom network, on the CPU.

    Raises:
        ConfigError: says what the network does, and what it should do.
    """
    labels = torch.arange(_COUNT) % classes if classes else None
    shape = (_COUNT, condition, spec.height, spec.width)
    with torch.random.fork_rng(devices=[]):
        conditions = torch.rand(shape) * 2 - 1 if condition else None
        if config.generator.kind == "custom":
            network = build_generator(config.generator, spec, classes, condition=condition)
            _try_generator(network, config, spec, labels, conditions)
        if config.critic.kind == "custom":
            network = build_critic(config.critic, spec, classes, condition=condition)
            _try_critic(network, config, spec, labels, conditions, objective)


def _try_generator(
    network: nn.Module, config: Config, spec: ImageSpec, labels: Tensor | None, condition: Tensor | None
) -> None:
    where = f"generator.name = {config.generator.name}"  # type: ignore[union-attr]
    z = torch.randn(_COUNT, config.generator.latent_dim)
    images = _called(
        where, "forward(latents, labels, condition)", lambda: network(z, *conditioning(Batch(z, labels, condition)))
    )
    _require(where, images, [_COUNT, spec.channels, spec.height, spec.width], "images [N, C, H, W]")
    low, high = float(images.detach().min()), float(images.detach().max())
    if low < -1.001 or high > 1.001:
        raise ConfigError(where, f"gives images from {low:.3g} to {high:.3g}, not -1 to 1", "end it with torch.tanh")
    _require_all_used(where, network, images.sum())


def _try_critic(
    network: nn.Module,
    config: Config,
    spec: ImageSpec,
    labels: Tensor | None,
    condition: Tensor | None,
    objective: Objective,
) -> None:
    where = f"critic.name = {config.critic.name}"  # type: ignore[union-attr]
    x = (torch.rand(_COUNT, spec.channels, spec.height, spec.width) * 2 - 1).contiguous(
        memory_format=torch.channels_last
    )
    x.requires_grad_()
    scores = _called(
        where, "forward(images, labels, condition)", lambda: network(x, *conditioning(Batch(x, labels, condition)))
    )
    _require(where, scores, [_COUNT], "scores [N]")
    _require_all_used(where, network, scores.sum())
    if objective.penalties:

        def penalised() -> None:
            slope = input_gradient(scores, x)
            total = sum(penalty.of(slope).mean() for penalty in objective.penalties.values())
            torch.autograd.grad(total, trained(network), allow_unused=True)  # type: ignore[arg-type]

        _called(where, "the gradient of a gradient penalty", penalised)


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


def _require_all_used(where: str, network: nn.Module, total: Tensor) -> None:
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    if not names:
        raise ConfigError(where, "has no trainable weights", "give it some")
    if not total.requires_grad:
        raise ConfigError(where, "gives an output that cannot be differentiated", "leave out detach and no_grad")
    slopes = torch.autograd.grad(total, trained(network), retain_graph=True, allow_unused=True)
    unused = [name for name, slope in zip(names, slopes, strict=True) if slope is None]
    if unused:
        do = "remove them, or freeze them with requires_grad_(False)"
        raise ConfigError(where, f"has weights that do not affect its output: {', '.join(unused[:3])}", do)


def mixing_layer(config: Config, spec: ImageSpec, classes: int, condition: int) -> str:
    """Which network mixes the images of a batch, "the critic ... (batch norm)"; "" if none does."""
    networks = {
        "generator": build_generator(config.generator, spec, classes, condition=condition),
        "critic": build_critic(config.critic, spec, classes, condition=condition),
    }
    for name, network in networks.items():
        traits = traits_of(network)
        if traits.mixes_batch:
            layer = "batch norm" if traits.normalisation == "batch" else "minibatch stddev"
            return f"the {name} mixes the images of a batch ({layer})"
    return ""


def mixing_part(config: Config, spec: ImageSpec, classes: int, condition: int, objective: Objective) -> str:
    """As `mixing_layer`, of networks and losses: a custom loss may be relative to the mean of a batch."""
    real, fake = torch.linspace(-1, 1, 4), torch.linspace(0.5, -2, 4)
    for name, loss in (("critic", objective.critic), ("generator", objective.generator)):
        if not torch.allclose(loss(real, fake)[:2], loss(real[:2], fake[:2])):
            return f"the {name}'s loss mixes the images of a batch"
    return mixing_layer(config, spec, classes, condition)
