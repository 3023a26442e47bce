"""Networks of the user's own are tried before a run begins, so that their faults are named, and not met in a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kantor.config.schema import Config
from kantor.engine.optimizers import trained
from kantor.engine.passes import conditioning
from kantor.errors import ConfigError
from kantor.nets import build_critic, build_generator
from kantor.objectives.objective import Objective
from kantor.objectives.penalties import input_gradient
from kantor.types import Batch, ImageSpec

_COUNT = 4


def rehearse(config: Config, spec: ImageSpec, classes: int, condition: int, objective: Objective) -> None:
    """One pass and one step's gradients, on the processor, of networks that are the user's own.

    Raises:
        ConfigError: saying what the network does, and what it should.
    """
    labels = torch.arange(_COUNT) % classes if classes else None
    shape = (_COUNT, condition, spec.height, spec.width)
    with torch.random.fork_rng(devices=[]):
        beside = torch.rand(shape) * 2 - 1 if condition else None
        if config.generator.kind == "custom":
            network = build_generator(config.generator, spec, classes, condition=condition)
            _try_generator(network, config, spec, labels, beside)
        if config.critic.kind == "custom":
            network = build_critic(config.critic, spec, classes, condition=condition)
            _try_critic(network, config, spec, labels, beside, objective)


def _try_generator(
    network: nn.Module, config: Config, spec: ImageSpec, labels: Tensor | None, condition: Tensor | None
) -> None:
    where = f"generator.name = {config.generator.name}"  # type: ignore[union-attr]
    z = torch.randn(_COUNT, config.generator.latent_dim)
    images = _called(
        where, "forward(latents, labels, condition)", lambda: network(z, *conditioning(Batch(z, labels, condition)))
    )
    wanted = [_COUNT, spec.channels, spec.height, spec.width]
    _require(where, images, wanted, "images [N, C, H, W]")
    least, most = float(images.detach().min()), float(images.detach().max())
    if least < -1.001 or most > 1.001:
        raise ConfigError(where, f"gives images from {least:.3g} to {most:.3g}, not -1 to 1", "end it with torch.tanh")
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


def _called(where: str, what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        do = "mend it: see docs/extend.md"
        if "view size is not compatible" in str(error):
            do = "take .reshape in place of .view: images are channels-last in memory"
        raise ConfigError(where, f"{what} fails with {type(error).__name__}: {error}", do) from error


def _require(where: str, given: Any, shape: list[int], what: str) -> None:
    if not isinstance(given, Tensor):
        raise ConfigError(where, f"gives a {type(given).__name__}", f"give {what}")
    if list(given.shape) != shape:
        raise ConfigError(where, f"gives {list(given.shape)} for a batch of {_COUNT}", f"give {what}, here {shape}")
    if given.dtype == torch.float64 or not given.is_floating_point():
        raise ConfigError(where, f"gives {given.dtype}", "compute in float32")
    if not bool(given.isfinite().all()):
        raise ConfigError(where, "gives numbers that are not finite", "look at how its weights start")


def _require_all_used(where: str, network: nn.Module, total: Tensor) -> None:
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    if not names:
        raise ConfigError(where, "has no weights that could be trained", "give it some")
    if not total.requires_grad:
        raise ConfigError(where, "gives what cannot be differentiated", "leave out detach and no_grad")
    slopes = torch.autograd.grad(total, trained(network), retain_graph=True, allow_unused=True)
    unused = [name for name, slope in zip(names, slopes, strict=True) if slope is None]
    if unused:
        do = "leave them out, or freeze them with requires_grad_(False)"
        raise ConfigError(where, f"weights that have no part in what it gives: {', '.join(unused[:3])}", do)
