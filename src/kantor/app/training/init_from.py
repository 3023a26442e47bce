"""Starting a new run from the weights of another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kantor.app.decisions import Filled, fill
from kantor.app.load_model import load_model
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
"""Real images over which new layers are faded in, where nothing is said."""


@dataclass(frozen=True)
class Weights:
    """Weights to start from.

    Attributes:
        path: absolute, of the checkpoint or model file that they came from.
        parts: "generator", "critic", "average" -> tensors by name; a model file has no critic.
        class_names: of a conditional model, in the order of its embeddings.
    """

    path: Path
    parts: Mapping[str, Mapping[str, Tensor]]
    class_names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all tensors: equal for equal weights."""
        digest = hashlib.sha256()
        for part, tensors in sorted(self.parts.items()):
            for name in sorted(tensors):
                digest.update(f"{part}/{name}:{checkpoints.tensor_digest(tensors[name])}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Taken:
    """lines: one for each network; whole: the running average was taken whole, so that it goes on from there."""

    lines: list[str]
    whole: bool


def read_weights(text: str, runs: Path, note: Callable[[str], None]) -> Weights:
    """The weights of a run's newest checkpoint, of a checkpoint, or of a generator.safetensors.

    Args:
        note: is told of damaged checkpoints that are passed over.
    Raises:
        ModelError: there are none, or they are damaged.
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
            raise ModelError(run, "has no checkpoint that can be used", "train it first")
        path = newest
    saved = RunState.load(path)
    return Weights(path.resolve(), {part: saved.weights(part) for part in PARTS}, saved.class_names)


def same_weights(config: Config, env: Mapping[str, Any]) -> Weights | None:
    """What a run began with that was killed before its first save, so that it begins with the same again."""
    if not config.train.init_from:
        return None
    weights = read_weights(config.train.init_from, Path(), lambda line: None)
    if weights.digest != env.get("init_from_digest"):
        what = "its weights are not those that the run began with"
        raise ModelError(config.train.init_from, what, "bring them back as they were, or start a new run")
    return weights


def with_fading(config: Config, weights: Weights, asked: Collection[str]) -> tuple[Config, list[Filled]]:
    """`config` with new layers faded in, where the weights are those of the smaller network that it grows from.

    Args:
        asked: fields that the user gave, which are left as they are.
    """
    sections = {"generator": config.generator, "critic": config.critic}
    stacks = {part: s for part, s in sections.items() if isinstance(s, StackGenerator | StackCritic)}
    values: dict[str, tuple[Any, str]] = {}
    for part in sorted(_grown({part: growth_of(s) for part, s in stacks.items()}, weights), reverse=True):
        name = f"{part}.fade_images"
        if not stacks[part].fade_images and name not in asked:
            values[name] = (
                FADE_IMAGES,
                "layers that the other model lacks are faded in; at first images look as they did there",
            )
    return fill(config, values)


def start_from(state: State, weights: Weights, class_names: Sequence[str]) -> Taken:
    """Copies every tensor whose name and shape fit into the networks of `state`. Optimisers start afresh.

    Embeddings of classes are taken only where the classes are the same. Where the weights are of a smaller stack that
    this one grows from, layers are found under their names there.

    Args:
        class_names: those of the run; none where it does not use them.
    Raises:
        ModelError: not one layer of the generator fits; nothing is changed then.
    """
    networks: dict[str, nn.Module] = {"generator": state.generator, "critic": state.critic, "average": state.average}
    same_classes = tuple(class_names) == weights.class_names
    grown = _grown({part: n.growth for part, n in networks.items() if isinstance(n, Fading)}, weights)
    plans = {p: _fitting(networks[p], weights.parts.get(p, {}), same_classes, p in grown) for p in PARTS}
    layers = plans["generator"].keys() - _embeddings(state.generator)
    if not any(plans["generator"][name].dim() > 1 for name in layers):
        do = "choose the same kind of networks with --preset and --set"
        raise ModelError(weights.path, "not one of its generator's layers fits this run's", do)
    lines = []
    for part, plan in plans.items():
        own = _tensors(networks[part])
        with torch.no_grad():
            for name, tensor in plan.items():
                own[name].copy_(tensor)
        if part == "average":
            continue
        fresh = [name for name in own if name not in plan]
        listed = ", ".join(fresh[:4]) + (" ..." if len(fresh) > 4 else "")
        tail = f"; fresh: {listed}" if fresh else ""
        lines.append(f"{part}: took {len(plan)} of {len(own)} tensors from {weights.path}{tail}")
    return Taken(lines, plans["average"].keys() == _tensors(state.average).keys())


def _fitting(network: nn.Module, tensors: Mapping[str, Tensor], same_classes: bool, grown: bool) -> dict[str, Tensor]:
    """The tensors that fit, by the network's own names. grown: they are those of the smaller network."""
    own = _tensors(network)
    if not same_classes:
        own = {name: own[name] for name in own.keys() - _embeddings(network)}
    there = _names_there(network, own) if grown else {name: name for name in own}
    found = {name: tensors[there[name]] for name in own if there.get(name) in tensors}
    return {name: t for name, t in found.items() if own[name].shape == t.shape}


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """All that is learnt, and running statistics; how far layers are faded in is for the new run to say."""
    return {name: t for name, t in network.state_dict().items() if not (isinstance(network, Fading) and name == "fade")}


def _names_there(network: nn.Module, own: Mapping[str, Tensor]) -> dict[str, str]:
    """The network's names of tensors -> those of the smaller one, without what that one lacks."""
    assert isinstance(network, Fading)
    prefixes = network.smaller_names().items()
    return {n: there + n.removeprefix(here) for n in own for here, there in prefixes if n.startswith(f"{here}.")}


def _grown(growths: Mapping[str, Growth], weights: Weights) -> set[str]:
    """Networks for which the weights are those of the smaller one that they grow from: it has so many layers.

    A critic can have as many layers as the smaller one had. Then the generator tells.
    """
    counts = {part: _layers(weights.parts.get(part, {})) for part in growths}
    found = {part for part, growth in growths.items() if counts[part] and counts[part] == growth.layers}
    return {part for part in found if growths[part].layers < growths[part].total or "generator" in found}


def _layers(tensors: Mapping[str, Tensor]) -> int:
    """How many layers a stack has that these are the tensors of."""
    return len({name.split(".")[1] for name in tensors if name.startswith("layers.")})


def _embeddings(network: nn.Module) -> set[str]:
    return {f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Embedding)}
