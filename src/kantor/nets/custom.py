"""Custom networks: registered with `kantor.generator` or `kantor.critic`, built if a configuration names them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from kantor.custom_names import require_custom_name
from kantor.errors import ConfigError, UserError
from kantor.types import ImageSpec, traits_of

Build = Callable[..., nn.Module]
REGISTERED: dict[str, dict[str, Build]] = {"generator": {}, "critic": {}}


def register(part: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that registers what builds a "generator" or a "critic"."""
    require_custom_name(name, part)

    def add(build: Callable[..., Any]) -> Callable[..., Any]:
        REGISTERED[part][name] = build
        return build

    return add


def custom_builder(part: str, name: str) -> Build:
    """The function that builds a registered network. A configuration only names it, and runs no code."""
    if name not in REGISTERED[part]:
        do = f"import the Python module that calls kantor.{part}({name!r}) first, and run from Python"
        raise ConfigError(f"{part}.name", f"{name} is neither built in nor registered", do)
    return functools.partial(_build, part, REGISTERED[part][name])


def _build(part: str, build: Build, config: Any, spec: ImageSpec, classes: int) -> nn.Module:
    """Builds a user-registered network; errors in its code become ConfigErrors."""
    where = f"{part}.name = {config.name}"
    try:
        network = build(config, spec, classes)
    except UserError:
        raise
    except Exception as error:
        do = "it is called with (config, spec, classes), see docs/extend.md"
        raise ConfigError(where, f"its constructor fails with {type(error).__name__}: {error}", do) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(where, f"returns {type(network).__name__}, not a torch module", "return the network")
    if any(isinstance(p, nn.UninitializedParameter) for p in network.parameters()):
        raise ConfigError(where, "has lazy layers, whose sizes are unknown", "give their sizes")
    network.train()  # a pretrained part may stay in evaluation mode, and mixes nothing
    normed = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in network.modules())
    if normed and traits_of(network).normalisation != "batch":
        do = 'give it traits = kantor.Traits(mixes_batch=True, normalisation="batch")'
        raise ConfigError(where, "has batch norm, but its traits do not say so", do)
    return network
