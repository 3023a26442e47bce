"""Initializes a new run from the weights of another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kantor.app.decisions import Decisions
from kantor.app.load_model import load_model
from kantor.app.training.parts import Parts
from kantor.config.io import resolve
from kantor.config.networks import StackCritic, StackGenerator
from kantor.config.schema import Config
from kantor.engine.state import State
from kantor.errors import ModelError
from kantor.nets.progressive import Fading, Growth, growth_of
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.run_state import RunState

PARTS = ("generator", "critic", "average")
FADE_IMAGES = 100_000
"""Default number of real images over which new layers are faded in."""


@dataclass(frozen=True)
class Weights:
    """Weights to initialize networks from.

    Attributes:
        path: absolute, of their checkpoint or model file.
        parts: "generator", "critic", "average" -> tensors by name; a model file has no critic.
        class_names: of a conditional model, in the order of its embeddings.
    """

    path: Path
    parts: Mapping[str, Mapping[str, Tensor]]
    class_names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all tensors: equal for equal weights."""
        digest = hashlib.sha256()
        for part, tensors in sorted(self.parts.items()):
            for name in sorted(tensors):
                digest.update(f"{part}/{name}:{checkpoints.tensor_digest(tensors[name])}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Initialized:
    """lines: one for each network; ema_complete: whether every tensor of the EMA generator was copied."""

    lines: list[str]
    ema_complete: bool


def read_weights(text: str, runs: Path, note: Callable[[str], None]) -> Weights:
    """Reads the weights of a run's newest checkpoint, of a checkpoint, or of a generator.safetensors.

    Args:
        note: called with a line for each damaged checkpoint that is skipped.
    Raises:
        ModelError: the weights are missing or damaged.
    """
    path = Path(text)
    if path.is_file() or path.suffix == ".safetensors":
        network, card, _ = load_model(text, runs)
        tensors = network.state_dict()
        return Weights(path.resolve(), {"generator": tensors, "average": tensors}, card.class_names)
    if not directory.is_checkpoint(path):
        run = directory.find(text, runs)
        newest, faults = checkpoints.last(run / directory.CHECKPOINTS)
        for fault in faults if newest else ():
            note(f"{fault.where} {fault.what}; taking the one before it")
        if newest is None:
            raise ModelError(run, "has no usable checkpoint", "train it first")
        path = newest
    saved = RunState.load(path)
    return Weights(path.resolve(), {part: saved.weights(part) for part in PARTS}, saved.class_names)


def choose_weights(
    decisions: Decisions, runs: Path, user_fields: Collection[str], note: Callable[[str], None]
) -> Weights | None:
    """Reads the weights that `train.init_from` names, if any, and fades in layers that they lack.

    Args:
        user_fields: fields that the user set; they stay.
    """
    if not decisions.config.train.init_from:
        return None
    weights = read_weights(decisions.config.train.init_from, runs, note)
    decisions.set("train.init_from", str(weights.path), "as requested", announce=False)
    fade_in_new_layers(decisions, weights, user_fields)
    return weights


def same_weights(config: Config, env: Mapping[str, Any]) -> Weights | None:
    """Reads again the weights of `train.init_from`, for a run killed before its first save; None if it has none.

    Raises:
        ModelError: they have changed since.
    """
    if not config.train.init_from:
        return None
    weights = read_weights(config.train.init_from, Path(), lambda line: None)
    if weights.digest != env.get("init_from_digest"):
        what = "its weights have changed since the run began"
        raise ModelError(config.train.init_from, what, "restore them, or start a new run")
    return weights


def fade_in_new_layers(decisions: Decisions, weights: Weights, user_fields: Collection[str]) -> None:
    """Sets fade_images if the weights are those of the smaller network that the new one grows from.

    Args:
        user_fields: fields that the user set; they stay.
    """
    sections = {"generator": decisions.config.generator, "critic": decisions.config.critic}
    stacks = {part: s for part, s in sections.items() if isinstance(s, StackGenerator | StackCritic)}
    for part in sorted(_grown({part: growth_of(s) for part, s in stacks.items()}, weights), reverse=True):
        field = f"{part}.fade_images"
        if not stacks[part].fade_images and field not in user_fields:
            reason = "fading in the layers that the other model lacks; images start out as that model generates them"
            decisions.set(field, FADE_IMAGES, reason)


def initialize_from(state: State, weights: Weights, class_names: Sequence[str]) -> Initialized:
    """Copies every tensor that fits by name and shape into the networks of `state`; optimizers keep their fresh state.

    Takes embeddings only if the classes are the same. If the weights are those of a smaller stack that this one grows
    from, looks layers up under their names there.

    Args:
        class_names: of the run; empty if it is not conditional.
    Raises:
        ModelError: no layer of the generator fits; `state` is unchanged.
    """
    same_classes = tuple(class_names) == weights.class_names
    grown = _grown({part: n.growth for part, n in state.networks.items() if isinstance(n, Fading)}, weights)
    plans = {p: _fitting(state.networks[p], weights.parts.get(p, {}), same_classes, p in grown) for p in PARTS}
    layers = plans["generator"].keys() - _embeddings(state.generator)
    if not any(plans["generator"][name].dim() > 1 for name in layers):
        do = "choose the same kind of networks with --preset and --set"
        raise ModelError(weights.path, "no layer of its generator matches this run's generator", do)
    lines = []
    for part, plan in plans.items():
        tensors = _tensors(state.networks[part])
        with torch.no_grad():
            for name, tensor in plan.items():
                tensors[name].copy_(tensor)
        if part == "average":
            continue
        fresh = [name for name in tensors if name not in plan]
        listed = ", ".join(fresh[:4]) + (" ..." if len(fresh) > 4 else "")
        tail = f"; fresh: {listed}" if fresh else ""
        lines.append(f"{part}: took {len(plan)} of {len(tensors)} tensors from {weights.path}{tail}")
    return Initialized(lines, plans["average"].keys() == _tensors(state.average).keys())


def continue_ema(
    decisions: Decisions, parts: Parts, weights: Weights, user_fields: Collection[str], preset: str
) -> None:
    """Switches the warm-up of the EMA off if it continues from another model's, unless the user changed the EMA.

    Raises:
        ModelError: as `initialize_from`, which it tries on new networks.
    """
    initialized, config = initialize_from(parts.state(), weights, parts.class_names), decisions.config
    changed = "ema.warmup" in user_fields or config.ema != resolve(preset).ema
    if initialized.ema_complete and config.ema.kind == "half-life" and not changed:
        decisions.set("ema.warmup", 0.0, "the EMA continues from the other model's")


def _fitting(network: nn.Module, tensors: Mapping[str, Tensor], same_classes: bool, grown: bool) -> dict[str, Tensor]:
    """The tensors that fit, by their names in `network`. grown: they are those of the smaller network."""
    ours = _tensors(network)
    if not same_classes:
        ours = {name: ours[name] for name in ours.keys() - _embeddings(network)}
    their_names = _names_in_smaller(network, ours) if grown else {name: name for name in ours}
    theirs = {name: tensors[their_names[name]] for name in ours if their_names.get(name) in tensors}
    return {name: tensor for name, tensor in theirs.items() if ours[name].shape == tensor.shape}


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Weights and running statistics, without the progress of fading, which the new run sets."""
    return {name: t for name, t in network.state_dict().items() if not (isinstance(network, Fading) and name == "fade")}


def _names_in_smaller(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors in `network` -> their names in the smaller one, for those that it has."""
    assert isinstance(network, Fading)
    prefixes = network.growth.names.items()
    return {n: theirs + n.removeprefix(ours) for n in tensors for ours, theirs in prefixes if n.startswith(f"{ours}.")}


def _grown(growths: Mapping[str, Growth], weights: Weights) -> set[str]:
    """Networks whose weights are those of the smaller network that they grow from, by its number of layers.

    A critic may have as many layers as the smaller one; then the generator decides.
    """
    counts = {part: _layers(weights.parts.get(part, {})) for part in growths}
    same_count = {part for part, growth in growths.items() if counts[part] and counts[part] == growth.layers}
    return {part for part in same_count if growths[part].layers < growths[part].total or "generator" in same_count}


def _layers(tensors: Mapping[str, Tensor]) -> int:
    """Number of layers of the stack with these tensors."""
    return len({name.split(".")[1] for name in tensors if name.startswith("layers.")})


def _embeddings(network: nn.Module) -> set[str]:
    return {f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Embedding)}
