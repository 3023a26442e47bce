"""Going on from a run as a new one, with another rate, batch, size or data: the command, and what the new run keeps."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kantor.app import environment
from kantor.app.dataset.image_size import CHANNELS
from kantor.app.decisions import Decisions
from kantor.app.options import options_of
from kantor.app.training.init_from import Taken, Weights
from kantor.app.training.length import require_more
from kantor.app.training.match_layers import fits, matching
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.config.base import parse_size
from kantor.config.io import difference, layered, override_text, read_toml
from kantor.config.schema import Config
from kantor.engine import optimizers
from kantor.engine.state import Counters, State
from kantor.errors import ConfigError
from kantor.nets import build_generator
from kantor.runs import directory
from kantor.runs.run_state import RunState
from kantor.types import ImageSpec

_NOT_REPEATED = {
    "data", "labels", "resume", "init_from", "keep_counters", "preset", "config_file", "overrides", "batch", "slim", "compile",
}  # fmt: skip


def command(run: Path, options: TrainOptions, changed: Config, seen: int) -> str:
    """The line that goes on from a run as a new one.

    Args:
        options: what the user asked of the resumed run.
        changed: its configuration with the user's changes.
        seen: images that it has seen.
    """
    path = run / directory.CONFIG
    config = layered(Config(), read_toml(path), str(path))
    words = ["kantor", "train", changed.data.source, "--init-from", str(run), "--keep-counters"]
    changes = {name: new for name, (_, new) in difference(config, changed).items() if new is not None}
    words += _flags({name: value for name, value in changes.items() if name != "data.source"})
    if options.batch == "auto":
        words += ["--batch", "auto"]
    words += _repeated(options)
    images, lengths = config.train.images, (options.images, options.epochs, options.budget_s)
    if isinstance(images, int) and seen >= images and lengths == (None, None, None):
        words += ["--images", str(2 * images)]
    return shlex.join(words)


def weights_fit(saved: RunState, changed: Config) -> bool:
    """Whether the generator of a changed configuration can be built, and takes layers of the saved one."""
    spec, data = saved.spec, changed.data
    if spec is None:  # an old checkpoint, which does not say
        return True
    if data.size != "auto":
        spec = ImageSpec(*parse_size(data.size), spec.channels)
    if data.channels in CHANNELS.values():
        spec = spec._replace(channels=next(count for count, name in CHANNELS.items() if name == data.channels))
    classes = (len(saved.class_names) or 1) if changed.train.conditional else 0
    try:
        generator = build_generator(
            changed.generator, spec, classes, condition=saved.condition, guide=changed.guide.controls
        )
    except ConfigError:
        return False
    return fits(generator, matching(generator, saved.weights("generator"), same_classes=True, grown=False))


def _flags(changes: Mapping[str, Any]) -> list[str]:
    """Fields as flags, where they have one."""
    named = {o.sets: o for o in options_of(TrainOptions) if o.sets}
    words = []
    for name, value in changes.items():
        if name == "train.batch":
            words += ["--batch", str(value)]
        elif name == "score.metrics":
            words += ["--metrics", ",".join(value) or "none"]
        elif name in named and named[name].type is bool and value is True:
            words.append(named[name].flags[0])
        elif name in named and named[name].type is not bool:
            words += [named[name].flags[0], _text(named[name].name, value)]
        else:
            words += ["--set", override_text(name, value)]
    return words


def _repeated(options: TrainOptions) -> list[str]:
    """Options that are no fields of the configuration, as the user gave them."""
    words = []
    for option in options_of(TrainOptions):
        value = getattr(options, option.name)
        if option.name in _NOT_REPEATED or option.sets or value in (None, option.default):
            continue
        words += [option.flags[0]] if option.type is bool else [option.flags[0], _text(option.name, value)]
    return words


def _text(name: str, value: Any) -> str:
    """The value of an option as a word of the command line."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:g}s" if name == "budget_s" else f"{value:g}" if name == "epochs" else str(value)


def configured_as_the_other(options: TrainOptions, note: Callable[[str], None]) -> TrainOptions:
    """With --keep-counters the options that start from the configuration of the other run, unless they name one themselves.

    Raises ConfigError if there is no other run.
    """
    other = options.fields.get("train.init_from")
    if not options.fields.get("train.keep_counters"):
        return options
    if not other:
        raise ConfigError("--keep-counters", "needs a run to go on from", "add --init-from RUN")
    path = Path(other)
    if path.is_file() or path.suffix == ".safetensors":
        what = "needs a run, and a model file has no counters"
        raise ConfigError("--keep-counters", what, "name the run with --init-from, or one of its checkpoints")
    if options.config_file is not None or options.preset != "default":
        return options
    run = path.parents[1] if directory.is_checkpoint(path) else directory.find(other, options.runs, "--init-from ")
    note(f"goes on from {run} as a new run, with its configuration")
    return replace(options, config_file=run / directory.CONFIG)


def kept_images(config: Config, weights: Weights | RunState | None) -> int:
    """Images that a new run begins at. Raises ConfigError if it is to keep counters that are not there."""
    if not config.train.keep_counters or not isinstance(weights, Weights):
        return 0
    if weights.saved is None:
        what = "needs a run, and a model file has no counters"
        raise ConfigError("train.keep_counters", what, "name the run with --init-from, or one of its checkpoints")
    return weights.saved.images_seen


def choose_whether_longer(decisions: Decisions, options: TrainOptions, weights: Weights | None) -> None:
    """Lets the time budget choose the length where it would for a resumed run: as `length.resumed_length`.

    Raises ConfigError if there is nothing left to do.
    """
    train, seen = decisions.config.train, kept_images(decisions.config, weights)
    if not seen or not isinstance(train.images, int) or options.epochs is not None:
        return
    assert weights is not None
    if options.images is not None:
        require_more(options.images, f"--images {options.images:,}", seen)
        return
    env = environment.read(weights.path.parents[1] / directory.ENVIRONMENT)
    if options.budget_s is not None and (env.get("length_from_budget") or seen >= train.images):
        if train.horizon_images == train.images:
            decisions.set("train.horizon_images", "auto", "", announce=False)
        decisions.set("train.images", "auto", "", announce=False)
    else:
        require_more(train.images, "--keep-counters", seen)


def keep_counters(state: State, parts: Parts, weights: Weights, taken: Taken) -> list[str]:
    """Sets counters, position in the data and the optimizers of what was taken whole to those of the other run.

    An optimizer of another kind starts anew, and so does one of weights that are new. Returns lines for the user.
    """
    saved = weights.saved
    assert saved is not None
    counters = Counters(**saved.counters)
    counters.tick_images, counters.tick_elapsed_s, counters.skipped_ticks = counters.images_seen, counters.elapsed_s, 0
    state.counters, parts.feed.position = counters, saved.feed_position
    lines = [f"goes on at {counters.images_seen:,} images"]
    before = saved.config().optimizer
    for part, optimizer in state.optimizers.items():
        old, new = getattr(before, part).kind, getattr(parts.config.optimizer, part).kind
        if old != new:
            lines.append(f"the {part}'s optimizer is another ({old} -> {new}), so it starts anew")
            continue
        moments: dict[str, dict[str, Any]] = {}
        for key, value in saved.optimizer.items():
            name, _, moment = key.removeprefix(f"{part}/").rpartition("/")
            if key.startswith(f"{part}/"):
                moments.setdefault(name, {})[moment] = value
        trained = {name for name, p in state.networks[part].named_parameters() if p.requires_grad}
        whole = {name: copy.source for name, copy in taken.copies[part].items() if copy.whole and name in trained}
        kept = {
            f"{name}/{moment}": value
            for name, source in whole.items()
            for moment, value in moments.get(source, {}).items()
        }
        optimizers.add_state_tensors(optimizer, state.networks[part], kept)
    return lines
