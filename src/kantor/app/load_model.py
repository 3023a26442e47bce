"""A generator from a run, a checkpoint or a model file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from torch import nn

from kantor.data.sources.names import IMAGES
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, ModelError
from kantor.export.weights import Card, read_generator
from kantor.nets import build_generator
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.run_state import RunState


def load_model(
    text: str, runs: Path, raw: bool = False, images_seen: int | None = None
) -> tuple[nn.Module, Card, Path]:
    """Loads a generator in evaluation mode on the CPU; returns it, its card and its folder.

    Args:
        text: a generator.safetensors, a checkpoint, or a run (path, name, number or "latest").
        raw: take the weights themselves, not their EMA; only a run has them.
        images_seen: take the checkpoint of the run at this number.
    Raises:
        ModelError: the model does not exist, or is damaged.
    """
    path = Path(text)
    try:
        path.exists()
    except OSError as error:  # the name is too long, or a parent folder is not readable
        raise ModelError(text, f"cannot be read ({error.strerror})", "check the path") from error
    if path.suffix.lower() in IMAGES and path.is_file():
        raise ModelError(text, "is an image, not a model", "name a run directory, or its generator.safetensors")
    if path.is_file():
        if raw or images_seen is not None:
            raise ConfigError("--raw" if raw else "--checkpoint", "needs a run directory, not a file", "name the run")
        return (*read_generator(path), path.parent)
    if directory.is_checkpoint(path):
        return (*_from_checkpoint(path, raw), path.parent.parent)
    if not path.exists() and path.suffix == ".safetensors":
        raise ModelError(text, "does not exist", "name a run directory, or its generator.safetensors")
    try:
        run = directory.find(text, runs)
    except ModelError:
        if _holds_images(path):
            do = "train on it, and name the run directory"
            raise ModelError(text, "is a folder of images, not a model", do) from None
        raise
    if raw or images_seen is not None:
        path = newest_checkpoint(run) if images_seen is None else _checkpoint(run, images_seen)
        return (*_from_checkpoint(path, raw), run)
    if not (run / directory.GENERATOR).exists():
        raise ModelError(run, "this run has not saved a model yet", "wait for its first checkpoint, or resume it")
    return (*read_generator(run / directory.GENERATOR), run)


def load_generator(
    text: str, runs: Path, raw: bool = False, images_seen: int | None = None, device: str = "cpu"
) -> tuple[nn.Module, Card, Path]:
    """Loads a generator as `load_model` does, onto `device`. Raises ModelError if it needs a condition."""
    network, card, home = load_model(text, runs, raw, images_seen)
    if card.condition:
        do = "use `kantor paint LINES MODEL`, where LINES is a model or a folder of line drawings"
        what = "this model colours outlines and cannot generate from seeds alone"
        if card.condition_settings:
            what = "this model makes images of other images and cannot generate from seeds alone"
            do = "use `kantor paint IMAGES MODEL`, where IMAGES is a folder of conditions"
        raise ModelError(text, what, do)
    return network.to(choose_device(device)), card, home


def _holds_images(path: Path) -> bool:
    """Whether `path` is a folder that contains images and is not a run, whose plots are images too."""
    with contextlib.suppress(OSError):  # not a folder, or not readable
        return not (path / directory.CONFIG).exists() and any(p.suffix.lower() in IMAGES for p in path.iterdir())
    return False


def newest_checkpoint(run: Path, note: Callable[[str], None] = lambda line: None) -> Path:
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


def _from_checkpoint(path: Path, raw: bool) -> tuple[nn.Module, Card]:
    """The raw or the EMA generator of a checkpoint, and its card."""
    saved = RunState.load(path)
    config, spec = saved.config(), saved.image_spec()
    network = build_generator(config.generator, spec, len(saved.class_names), condition=saved.condition)
    try:
        network.load_state_dict(saved.weights("generator" if raw else "average"))
    except RuntimeError as error:
        raise ModelError(path, "does not fit the run's configuration", "choose another checkpoint") from error
    kind, names = config.objective.kind, saved.class_names
    card = Card(spec, config.generator, kind, names, saved.images_seen, saved.condition, saved.condition_settings)
    return network.eval().requires_grad_(False), card
