"""A generator from a run, a checkpoint or a model file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from torch import nn

from kantor.app.flags import Moment
from kantor.controls import guide_of
from kantor.data.sources.names import IMAGES
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, ModelError
from kantor.export.weights import Card, images_in, read_generator
from kantor.nets import build_generator
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.moment import moment_line, read_choice
from kantor.runs.run_state import RunState

Note = Callable[[str], None]


def load_model(
    text: str, runs: Path, raw: bool = False, moment: Moment = None, note: Note = lambda line: None
) -> tuple[nn.Module, Card, Path]:
    """Loads a generator in evaluation mode on the CPU; returns it, its card and its folder.

    Args:
        text: a generator.safetensors, a checkpoint, or a run (path, name, number or "latest").
        raw: take the weights themselves, not their EMA, of the same moment; only a run or a checkpoint has them.
        moment: of the run; None for the one that its generator.safetensors holds.
        note: called with a line that says which moment was loaded.
    Raises:
        ModelError: the model does not exist, or is damaged.
    """
    if not text:
        raise ModelError(text, "is no name", "name a run directory, or its generator.safetensors")
    path = Path(text)
    try:
        path.exists()
    except OSError as error:  # the name is too long, or a parent folder is not readable
        raise ModelError(text, f"cannot be read ({error.strerror})", "check the path") from error
    if path.suffix.lower() in IMAGES and path.is_file():
        raise ModelError(text, "is an image, not a model", "name a run directory, or its generator.safetensors")
    if path.is_file() or directory.is_checkpoint(path):
        return _load_alone(path, raw, moment, note)
    if not path.exists() and path.suffix == ".safetensors":
        raise ModelError(text, "does not exist", "name a run directory, or its generator.safetensors")
    try:
        run = directory.find(text, runs)
    except ModelError:
        if _holds_images(path):
            do = "train on it, and name the run directory"
            raise ModelError(text, "is a folder of images, not a model", do) from None
        raise
    network, card = _load_moment(run, raw, moment, note)
    note(f"{_line(run, card.images_seen, moment)}{', raw weights' if raw else ''}")
    return network, card, run


def load_generator(
    text: str,
    runs: Path,
    raw: bool = False,
    moment: Moment = None,
    device: str = "cpu",
    note: Note = lambda line: None,
) -> tuple[nn.Module, Card, Path]:
    """Loads a generator as `load_model` does, onto `device`. Raises ModelError if it needs a condition."""
    network, card, home = load_model(text, runs, raw, moment, note)
    require_unconditional(text, card)
    return network.to(choose_device(device)), card, home


def require_unconditional(text: str, card: Card) -> None:
    """Raises ModelError if the model needs a condition."""
    if "smaller" in card.condition_settings:
        what = "this model enlarges pictures and cannot generate from seeds alone"
        raise ModelError(text, what, "use `kantor upscale MODEL PICTURES --out DIR`")
    if card.condition:
        do = "use `kantor paint LINES MODEL`, where LINES is a model or a folder of line drawings"
        what = "this model colours outlines and cannot generate from seeds alone"
        if card.condition_settings:
            what = "this model makes images of other images and cannot generate from seeds alone"
            do = "use `kantor paint IMAGES MODEL`, where IMAGES is a folder of conditions"
        raise ModelError(text, what, do)


def kept_line(run: Path) -> str:
    """Which moment generator.safetensors of a run holds, and why: "model: best by fd@kantor-small, after 12,000 images".

    Raises ModelError if the file is missing or damaged.
    """
    return _line(run, images_in(run / directory.GENERATOR), None)


def _line(run: Path, images_seen: int, moment: Moment) -> str:
    choice = read_choice(run)
    if choice is None:
        return f"model: after {images_seen:,} images"
    reason = {"newest": "newest", "best": choice.best_reason}.get(str(moment), "")
    if moment is None:  # the file may be ahead of the checkpoints of a run that was killed
        reason = choice.reason if choice.kept == images_seen else "not the one that the newest checkpoint names"
    return moment_line(reason, images_seen, choice.newest)


def _load_alone(path: Path, raw: bool, moment: Moment, note: Note) -> tuple[nn.Module, Card, Path]:
    """A model file or a checkpoint, which holds one moment only."""
    is_file = path.is_file()
    if moment is not None or (raw and is_file):
        flag = "--raw" if moment is None else f"--{moment}" if isinstance(moment, str) else "--checkpoint"
        what = f"needs a run directory, not a {'file' if is_file else 'checkpoint'}"
        raise ConfigError(flag, what, "name the run")
    network, card = read_generator(path) if is_file else from_checkpoint(path, raw)
    note(f"model: after {card.images_seen:,} images{', raw weights' if raw else ''}")
    return network, card, path.parent if is_file else path.parent.parent


def _load_moment(run: Path, raw: bool, moment: Moment, note: Note) -> tuple[nn.Module, Card]:
    """The generator of a run at a moment."""
    file = run / directory.GENERATOR
    if moment == "newest":
        return from_checkpoint(newest_checkpoint(run, note), raw)
    if moment == "best":
        moment = _best(run)
        if not raw and file.exists() and images_in(file) == moment:
            moment = None
    if moment is not None:
        return from_checkpoint(_checkpoint(run, moment), raw)
    if not file.exists():
        raise ModelError(run, "this run has not saved a model yet", "wait for its first checkpoint, or resume it")
    if not raw:
        return read_generator(file)
    path = run / directory.CHECKPOINTS / f"{(seen := images_in(file)):09d}"
    if not path.is_dir():
        what = f"the checkpoint after {seen:,} images, whose EMA {file.name} holds, is gone"
        raise ModelError("--raw", what, "add --newest, or leave --raw out")
    return from_checkpoint(path, raw)


def _best(run: Path) -> int:
    """Images seen by the best generator of a run by its score. Raises ModelError if there is none."""
    choice = read_choice(run)
    if choice is None:
        raise ModelError(run, "this run has not saved a checkpoint yet", "wait for its first checkpoint, or resume it")
    if choice.best is None:
        _, _, cause = choice.reason.partition(", because ")
        what = f"no checkpoint of this run is the best: {cause or 'no score chooses'}"
        raise ModelError("--best", what, "use --newest, or --checkpoint IMAGES")
    return choice.best


def _holds_images(path: Path) -> bool:
    """Whether `path` is a folder that contains images and is not a run, whose plots are images too."""
    with contextlib.suppress(OSError):  # not a folder, or not readable
        return not (path / directory.CONFIG).exists() and any(p.suffix.lower() in IMAGES for p in path.iterdir())
    return False


def newest_checkpoint(run: Path, note: Note = lambda line: None) -> Path:
    """The newest checkpoint of a run that verifies, or a ModelError. note: called with a line for each skipped one."""
    newest, faults = checkpoints.last(run / directory.CHECKPOINTS)
    if newest is None:
        raise ModelError(run, "has no usable checkpoint", "train it first")
    for fault in faults:
        note(f"{fault.where} {fault.what}; taking the one before it")
    return newest


def _checkpoint(run: Path, images_seen: int) -> Path:
    path = run / directory.CHECKPOINTS / f"{images_seen:09d}"
    if not path.is_dir():
        numbers = sorted(int(p.name) for p in path.parent.glob("*") if re.fullmatch("[0-9]{1,18}", p.name))
        do = f"choose one of: {', '.join(map(str, numbers))}" if numbers else "train the run first"
        raise ModelError(f"--checkpoint {images_seen}", "there is no such checkpoint", do)
    return path


def from_checkpoint(path: Path, raw: bool) -> tuple[nn.Module, Card]:
    """The raw or the EMA generator of a checkpoint, and its card."""
    saved = RunState.load(path)
    config, spec = saved.config(), saved.image_spec()
    guide = config.guide.controls
    network = build_generator(config.generator, spec, len(saved.class_names), condition=saved.condition, guide=guide)
    try:
        network.load_state_dict(saved.weights("generator" if raw else "average"))
    except RuntimeError as error:
        raise ModelError(path, "does not fit the run's configuration", "choose another checkpoint") from error
    kind, names = config.objective.kind, saved.class_names
    card = Card(
        spec, config.generator, kind, names, saved.images_seen, saved.condition, saved.condition_settings,
        guide_of(network),
    )  # fmt: skip
    return network.eval().requires_grad_(False), card
