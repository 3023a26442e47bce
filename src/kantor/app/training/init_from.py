"""Initializes a new run from the weights of another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kantor.app.decisions import Decisions
from kantor.app.load_model import load_model, newest_checkpoint
from kantor.app.training.check_options import user_fields
from kantor.app.training.options import TrainOptions
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

FADE_IMAGES = 100_000  # over which new layers are faded in


@dataclass(frozen=True)
class Weights:
    """Weights to initialize networks from.

    Attributes:
        path: of their checkpoint or model file.
        parts: "generator", "critic", "average" -> tensors by name; a model file has no critic.
        class_names: of a conditional model, in the order of its embeddings.
        alpha: `generator.alpha`, which its networks know.
    """

    path: Path
    parts: Mapping[str, Mapping[str, Tensor]]
    class_names: tuple[str, ...]
    alpha: str

    @property
    def digest(self) -> str:
        """SHA-256 of all tensors: equal for equal weights."""
        digest = hashlib.sha256()
        for part, tensors in sorted(self.parts.items()):
            for name in sorted(tensors):
                digest.update(f"{part}/{name}:{checkpoints.tensor_digest(tensors[name])}".encode())
        return digest.hexdigest()


def read_weights(text: str, runs: Path, note: Callable[[str], None]) -> Weights:
    """Reads the weights of a run's newest checkpoint, of a checkpoint, or of a generator.safetensors.

    Notes each damaged checkpoint that is skipped. Raises ModelError if the weights are missing or damaged.
    """
    path = Path(text)
    if path.is_file() or path.suffix == ".safetensors":
        network, card, _ = load_model(text, runs)
        tensors = network.state_dict()
        return Weights(
            path.resolve(), {"generator": tensors, "average": tensors}, card.class_names, card.generator.alpha
        )
    if not directory.is_checkpoint(path):
        path = newest_checkpoint(directory.find(text, runs), note)
    saved = RunState.load(path)
    parts = {part: saved.weights(part) for part in ("generator", "critic", "average")}
    return Weights(path.resolve(), parts, saved.class_names, saved.config().generator.alpha)


def choose_weights(decisions: Decisions, options: TrainOptions, note: Callable[[str], None]) -> Weights | None:
    """Reads the weights that `train.init_from` names, if any.

    Sets fade_images if they are those of the smaller network that the new one grows from, unless the user did.
    """
    config = decisions.config
    if not config.train.init_from:
        return None
    weights = read_weights(config.train.init_from, options.runs, note)
    decisions.set("train.init_from", str(weights.path), "as requested", announce=False)
    if weights.alpha != config.generator.alpha and "generator.alpha" not in user_fields(options):
        decisions.set("generator.alpha", weights.alpha, "as the other model knows it", announce=False)
    sections = {"generator": config.generator, "critic": config.critic}
    stacks = {part: s for part, s in sections.items() if isinstance(s, StackGenerator | StackCritic)}
    grown = _grown({part: growth_of(stack) for part, stack in stacks.items()}, weights)
    for part, stack in stacks.items():
        field = f"{part}.fade_images"
        if part in grown and not stack.fade_images and field not in user_fields(options):
            reason = "fading in the layers that the other model lacks; images start out as that model generates them"
            decisions.set(field, FADE_IMAGES, reason)
    return weights


def same_weights(config: Config, env: Mapping[str, Any]) -> Weights | None:
    """Reads the weights of `train.init_from` again, for a run killed before its first save; None if it has none."""
    if not config.train.init_from:
        return None
    weights = read_weights(config.train.init_from, Path(), lambda line: None)
    if weights.digest != env.get("init_from_digest"):
        what = "its weights have changed since the run began"
        raise ModelError(config.train.init_from, what, "restore them, or start a new run")
    return weights


def initialize_from(state: State, weights: Weights, class_names: Sequence[str]) -> tuple[list[str], bool]:
    """Copies every tensor that fits by name and shape into the networks of `state`; optimizers keep their fresh state.

    Takes embeddings only if `class_names`, of the run, are those of the weights. If the weights are those of a smaller
    stack that this one grows from, looks layers up under their names there.

    Returns:
        A line for the generator and for the critic; whether every tensor of the EMA was copied.
    Raises ModelError if no layer of the generator fits; `state` is unchanged.
    """
    same_classes = tuple(class_names) == weights.class_names
    grown = _grown({part: n.growth for part, n in state.networks.items() if isinstance(n, Fading)}, weights)
    copies = {p: _fitting(n, weights.parts.get(p, {}), same_classes, p in grown) for p, n in state.networks.items()}
    layers = copies["generator"].keys() - _embeddings(state.generator)
    if not any(copies["generator"][name].dim() > 1 for name in layers):
        do = "choose the same kind of networks with --preset and --set"
        raise ModelError(weights.path, "no layer of its generator matches this run's generator", do)
    lines = []
    for part, copied in copies.items():
        tensors = _tensors(state.networks[part])
        for name, tensor in copied.items():
            tensors[name].copy_(tensor)
        fresh = [name for name in tensors if name not in copied]
        dots = " ..." if len(fresh) > 4 else ""
        tail = f"; fresh: {', '.join(fresh[:4])}{dots}" if fresh else ""
        lines.append(f"{part}: took {len(copied)} of {len(tensors)} tensors from {weights.path}{tail}")
    return lines[:2], copies["average"].keys() == _tensors(state.average).keys()


def continue_ema(decisions: Decisions, parts: Parts, weights: Weights, options: TrainOptions) -> None:
    """Switches the warm-up of the EMA off if it continues from another model's, unless the user changed the EMA."""
    _, complete = initialize_from(parts.state(), weights, parts.class_names)  # may raise ModelError
    config = decisions.config.ema
    changed = "ema.warmup" in user_fields(options) or config != resolve(options.preset).ema
    if complete and config.kind == "half-life" and not changed:
        decisions.set("ema.warmup", 0.0, "the EMA continues from the other model's")


def _fitting(network: nn.Module, tensors: Mapping[str, Tensor], same_classes: bool, grown: bool) -> dict[str, Tensor]:
    """The tensors that fit, by their names in `network`. grown: they are those of the smaller network."""
    skipped = set() if same_classes else _embeddings(network)
    prefixes = network.growth.names.items() if isinstance(network, Fading) else ()
    fitting = {}
    for name, own in _tensors(network).items():
        their_name = name
        if grown:
            names = (there + name.removeprefix(here) for here, there in prefixes if name.startswith(f"{here}."))
            their_name = next(names, "")
        theirs = tensors.get(their_name)
        if name not in skipped and theirs is not None and theirs.shape == own.shape:
            fitting[name] = theirs
    return fitting


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Weights and running statistics, without the progress of fading, which the new run sets."""
    return {name: t for name, t in network.state_dict().items() if not (isinstance(network, Fading) and name == "fade")}


def _grown(growths: Mapping[str, Growth], weights: Weights) -> set[str]:
    """Networks whose weights are those of the smaller network that they grow from, by its number of layers.

    A critic may have as many layers as the smaller one; then the generator decides.
    """
    same_count = set()
    for part, growth in growths.items():
        layers = {name.split(".")[1] for name in weights.parts.get(part, {}) if name.startswith("layers.")}
        if 0 < len(layers) == growth.layers:
            same_count.add(part)
    return {part for part in same_count if growths[part].layers < growths[part].total or "generator" in same_count}


def _embeddings(network: nn.Module) -> set[str]:
    return {f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Embedding)}
