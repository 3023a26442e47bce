"""Initializes a new run from the weights of another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from kantor.app.decisions import Decisions
from kantor.app.load_model import load_model, newest_checkpoint
from kantor.app.training.check_options import user_fields
from kantor.app.training.match_layers import Copy, fits, matching, own_tensors, share_taken
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.config.io import resolve
from kantor.config.networks import StackCritic, StackGenerator
from kantor.config.schema import Config
from kantor.engine.state import State
from kantor.errors import ConfigError, ModelError
from kantor.nets.progressive import Fading, Growth, growth_of
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.run_state import RunState

FADE_IMAGES = 100_000  # over which new layers are faded in
_FEW = 1 / 3  # of a network's weights


class Taken(NamedTuple):
    """What networks have taken from another model.

    Attributes:
        copies: "generator", "critic", "average" -> by name.
        lines: for the user.
    """

    copies: Mapping[str, Mapping[str, Copy]]
    lines: list[str]


@dataclass(frozen=True)
class Weights:
    """Weights to initialize networks from.

    Attributes:
        path: of their checkpoint or model file.
        parts: "generator", "critic", "average" -> tensors by name; a model file has no critic.
        class_names: of a conditional model, in the order of its embeddings.
        alpha: `generator.alpha`, which its networks know.
        slim: divisors of their widths, by part.
        saved: the checkpoint that they are of; None for a model file.
    """

    path: Path
    parts: Mapping[str, Mapping[str, Tensor]]
    class_names: tuple[str, ...]
    alpha: str
    slim: Mapping[str, float | str]
    saved: RunState | None = None

    @property
    def images_seen(self) -> int:
        """By the run that they are of; 0 for a model file, which does not say."""
        return self.saved.images_seen if self.saved else 0

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
        tensors, own = network.state_dict(), card.generator
        parts = {"generator": tensors, "average": tensors}
        return Weights(path.resolve(), parts, card.class_names, own.alpha, {"generator": own.slim})
    if not directory.is_checkpoint(path):
        path = newest_checkpoint(directory.find(text, runs), note)
    saved = RunState.load(path)
    config = saved.config()
    slim = {"generator": config.generator.slim, "critic": config.critic.slim}
    parts = {part: saved.weights(part) for part in ("generator", "critic", "average")}
    return Weights(path.resolve(), parts, saved.class_names, config.generator.alpha, slim, saved)


def choose_weights(decisions: Decisions, options: TrainOptions, note: Callable[[str], None]) -> Weights | None:
    """Reads the weights that `train.init_from` names, if any.

    Sets fade_images if they are those of the smaller network that the new one grows from, unless the user did.
    """
    config = decisions.config
    if not config.train.init_from:
        if config.critic.freeze:
            note("critic.freeze keeps layers that no model has trained; it is for --init-from")
        return None
    weights = read_weights(config.train.init_from, options.runs, note)
    decisions.set("train.init_from", str(weights.path), "as requested", announce=False)
    if weights.alpha != config.generator.alpha and "generator.alpha" not in user_fields(options):
        decisions.set("generator.alpha", weights.alpha, "as the other model knows it", announce=False)
    for part, slim in weights.slim.items():
        if getattr(config, part).slim == "auto":
            decisions.set(f"{part}.slim", slim, "as the other model's", announce=False)
    sections = {"generator": config.generator, "critic": config.critic}
    stacks = {part: s for part, s in sections.items() if isinstance(s, StackGenerator | StackCritic)}
    grown = _grown({part: growth_of(stack) for part, stack in stacks.items()}, weights)
    for part, stack in stacks.items():
        field = f"{part}.fade_images"
        if part in grown and config.train.keep_counters and (stack.fade_images or field not in user_fields(options)):
            what = f"new layers fade in from image 0, and the other run has seen {weights.images_seen:,}"
            raise ConfigError("--keep-counters", what, "leave it out")
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


def initialize_from(state: State, weights: Weights, class_names: Sequence[str]) -> Taken:
    """Copies all that fits (see `match_layers`) into the networks of `state`; optimizers keep their fresh state.

    Takes embeddings only if `class_names`, of the run, are those of the weights.

    Raises ModelError if no layer of the generator fits; `state` is unchanged.
    """
    same_classes = tuple(class_names) == weights.class_names
    grown = _grown({part: n.growth for part, n in state.networks.items() if isinstance(n, Fading)}, weights)
    copies = {p: matching(n, weights.parts.get(p, {}), same_classes, p in grown) for p, n in state.networks.items()}
    if not fits(state.generator, copies["generator"]):
        do = "choose networks of the same kind and width: --preset, --slim, --set"
        raise ModelError(weights.path, "no layer of its generator matches this run's generator", do)
    for part, copied in copies.items():
        tensors = own_tensors(state.networks[part])
        for name, copy in copied.items():
            copy.into(tensors[name])
    return Taken(copies, _told(state, weights, copies))


def _told(state: State, weights: Weights, copies: Mapping[str, Mapping[str, Copy]]) -> list[str]:
    """For the user: which share of the weights is taken, what is new, and a warning if that is most."""
    parts = ("generator", "critic") if "critic" in weights.parts else ("generator",)
    shares = {part: share_taken(state.networks[part], copies[part]) for part in parts}
    said = [f"{_percent(share)} of the {part}'s" for part, share in shares.items()]
    said[0] += " weights"
    alone = "" if "critic" in weights.parts else "; the critic is new, since a model file has none"
    lines = [f"takes {' and '.join(said)} from {weights.path}{alone}"]
    for part in parts:
        fresh = [name for name in own_tensors(state.networks[part]) if name not in copies[part]]
        dots = " ..." if len(fresh) > 4 else ""
        lines += [f"new in the {part}: {', '.join(fresh[:4])}{dots}"] if fresh else []
    if few := [part for part, share in shares.items() if share < _FEW]:
        what = f"less than a third of the {' and the '.join(few)} is taken, so much has to be learnt anew"
        lines.append(f"{what}: networks of the same kind, width and size take more")
    kept = [name for name, weight in state.critic.named_parameters() if not weight.requires_grad]
    if random := [name for name in kept if name not in copies["critic"]]:
        lines.append(f"critic.freeze keeps layers that no model has trained: {', '.join(random[:4])}")
    return lines


def _percent(share: float) -> str:
    """Rounded down, so that only all is 100%."""
    return f"{int(100 * share + 1e-9)}%"


def continue_ema(decisions: Decisions, parts: Parts, weights: Weights, options: TrainOptions) -> None:
    """Switches the warm-up of the EMA off if it continues from another model's, unless the user changed the EMA."""
    state = parts.state()
    taken = initialize_from(state, weights, parts.class_names)  # may raise ModelError
    config = decisions.config.ema
    changed = "ema.warmup" in user_fields(options) or config != resolve(options.preset).ema
    if decisions.config.train.keep_counters or config.kind != "half-life" or changed:
        return
    copies = taken.copies["average"]
    if all(name in copies and copies[name].whole for name in own_tensors(state.average)):
        decisions.set("ema.warmup", 0.0, "the EMA continues from the other model's")


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
