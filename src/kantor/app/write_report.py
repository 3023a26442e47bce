"""Writes the page of a run, out of the files in its directory; report/ draws its curves and tables."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from kantor import atomic
from kantor.app import environment
from kantor.app.asked import guided_line
from kantor.app.class_names import class_numbers
from kantor.app.dataset.image_size import configured_spec
from kantor.app.load_model import kept_line
from kantor.config.io import difference, layered, read_toml, resolve, to_toml
from kantor.config.schema import Config
from kantor.errors import ModelError, UserError, printable
from kantor.export.weights import images_in, read_generator
from kantor.nets import build_critic, build_generator
from kantor.nets.slim import slimmed
from kantor.objectives.objective import name_of
from kantor.report import scores
from kantor.report.curve_data import Column, without_abandoned
from kantor.report.curves import SMALL, curve_svg, gap_panel, metric_panels
from kantor.report.loss_guide import health, loss_guide, panel_words
from kantor.report.page import Curve, EmbeddedImage, Page, page_html
from kantor.report.table import epoch_table, loss_table
from kantor.runs import directory
from kantor.runs.manage import read_note
from kantor.sample.generate import generate_images
from kantor.sample.grid import grid, sheet_count
from kantor.sinks.events_log import is_count, read_events
from kantor.sinks.metrics_csv import read_metrics
from kantor.sinks.samples import grid_paths, read_grid
from kantor.sinks.timing import duration
from kantor.types import ImageSpec

PAGE = "report.html"
_OVER_TIME = 6
_LARGE_SIDE, _SMALL_SIDE = 900, 300
_AT = {"real": "real images", "fake": "generated images", "perturbed": "noisy real images"}
_ENDINGS = {
    "done": "Completed", "time-budget": "Time budget used up", "stopped": "Stopped",
    "signal": "Stopped by a signal (such as Ctrl-C)", "SIGINT": "Stopped by Ctrl-C",
    "SIGTERM": "Stopped from outside (SIGTERM)", "SIGHUP": "Stopped as its terminal was closed (SIGHUP)",
    "SIGUSR1": "Stopped from outside (SIGUSR1)",
}  # fmt: skip


def write_report(run: Path) -> Path:
    """Writes report.html into a run directory, and returns its path. Equal run directories give equal bytes.

    Raises DataError if metrics.csv is damaged, ConfigError if config.toml is.
    """
    atomic.write_text(run / PAGE, page_html(_page(run)))
    return run / PAGE


def table(run: Path, epochs: bool) -> list[str]:
    """The losses of a run, as lines of a table; with `epochs`, one line for each epoch."""
    metrics = read_metrics(run / directory.METRICS)
    lines = epoch_table(metrics) if epochs else loss_table(metrics)
    return lines or [f"{run}: nothing measured yet"]


def _page(run: Path) -> Page:
    config = layered(Config(), read_toml(run / directory.CONFIG), str(run / directory.CONFIG))
    env = environment.read(run / directory.ENVIRONMENT)
    metrics, roll_backs = without_abandoned(read_metrics(run / directory.METRICS))
    events = list(read_events(run / directory.EVENTS))
    seen = metrics.get("images_seen", np.zeros(0))
    fixed = grid_paths(run, "fixed")
    reals = run / directory.SAMPLES / "reals.png"
    over_time = [_image(path, _SMALL_SIDE, "the same seeds") for path in _spaced(fixed)]
    moment = _moment(run)
    latest = _sheet(run, fixed, moment)
    real = [_image(reals, _LARGE_SIDE, "real images")] if reals.exists() else []
    history = [*health(metrics), *_history(events, metrics, run)]
    if damaged := [*over_time, *latest, *real].count(None):
        history.append(f"Unreadable grids: {damaged}.")
    facts = {
        "Data": _data(config, env, events),
        "Networks and objective": _model(config, env),
        "Machine": _machine(env),
    }
    score_rows, score_about = scores.scores_at(events, moment)
    seen_text = f"{int(seen[-1]):,} images seen" if len(seen) else "just started"
    return Page(
        title=run.resolve().name,
        lead=f"A {name_of(config.objective)} GAN trained on {Path(config.data.source).name}: {seen_text}.",
        note=read_note(run),
        facts=list(facts.items()),
        latest=next(iter(latest), None),
        over_time=[image for image in over_time if image],
        reals=next(iter(real), None),
        curves=_curves(config, metrics, roll_backs),
        scores=score_rows,
        score_about=score_about,
        evaluated=any((run / directory.EVALUATIONS).glob("*/scores.json")),
        history=history,
        changed=[(name, _shown(old), _shown(new)) for name, (old, new) in difference(resolve(), config).items()],
        config=to_toml(config),
        commands=_commands(config, run),
    )


def _commands(config: Config, run: Path) -> list[tuple[str, str]]:
    """What can be done with a run and its model: (purpose, command)."""
    model, file = quote(str(run)), quote(str(run / directory.CONFIG))
    commands = [
        ("Train again with this configuration and seed:", f"kantor train --config {file}"),
        ("Resume this run:", f"kantor train --resume {model} --time-budget 10m"),
    ]
    if config.data.condition == "edges":
        return [*commands, ("Colour lines, of a model or your own:", f"kantor paint LINES {model} --out paintings")]
    if config.data.condition == "smaller":
        return [
            *commands,
            ("Enlarge pictures:", f"kantor upscale {model} PICTURES --out larger"),
            ("Measure it on held-out images:", f"kantor upscale {model} --measure"),
        ]
    if config.data.condition != "none":
        return [*commands, ("Make images of other images:", f"kantor paint IMAGES {model} --out images")]
    return [
        *commands,
        ("Generate images:", f"kantor generate {model} --grid 8x8"),
        ("Evaluate the model:", f"kantor evaluate {model}"),
        ("Walk between images:", f"kantor walk {model} --seeds 3,9,12 --loop --out walk.gif"),
    ]


def _data(config: Config, env: Mapping[str, Any], events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    data = config.data
    rows = [("source", data.source), ("size", f"{data.size}, {data.channels}"), ("fit", data.fit)]
    count = next((event["epoch_images"] for event in events if is_count(event.get("epoch_images"))), None)
    rows += [("images", f"{count:,}")] if is_count(count) else []
    rows += [("condition", data.condition)] if data.condition not in ("none", "edges") else []
    rows += [("mirrored", "at random, half of the time")] if data.mirror else []
    if config.train.augment != "auto" and config.train.augment:
        rows.append(("augmented", f"what the critic sees, with probability {config.train.augment:g}"))
    return [*rows, ("fingerprint", str(env.get("data_fingerprint", "unknown"))[:16])]


def _model(config: Config, env: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [("objective", name_of(config.objective))]
    for name, penalty in config.objective.penalties.items():
        every = f", every {penalty.every} critic steps" if penalty.every > 1 else ""
        every += f", on {penalty.share:.3g} of each batch" if penalty.share < 1 else ""
        at = _AT.get(penalty.at.kind, penalty.at.kind)
        rows.append((f"penalty {name}", f"{penalty.of} at {at}, weight {penalty.weight:g}{every}"))
    if (spec := configured_spec(config)) is not None:
        note = " without class embeddings" if config.train.conditional else ""
        more: dict[str, Any] = {
            "condition": environment.condition_channels(config, env),
            "guide": config.guide.controls,
        }
        rows.append(("generator", _network(config.generator, partial(build_generator, **more), spec) + note))
        rows.append(("critic", _network(config.critic, partial(build_critic, **more), spec) + note))
    for part, optimizer in (("generator", config.optimizer.generator), ("critic", config.optimizer.critic)):
        text = f"{optimizer.kind}, learning rate {optimizer.lr:g}, {optimizer.schedule.kind}"
        rows.append((f"{part}'s optimizer", text))
    return [*rows, ("batch", str(config.train.batch)), ("seed", str(config.train.seed))]


def _shown(value: Any) -> str:
    return "—" if value is None else str(value)


def _network(chosen: Any, build: Callable[..., nn.Module], spec: ImageSpec) -> str:
    if chosen.kind == "custom":  # the code that builds it may not be there
        return f"{chosen.name}, user-registered"
    with torch.device("meta"):  # counts parameters without allocating them
        count = sum(p.numel() for p in build(chosen, spec).parameters())
    norm = "no normalisation" if chosen.norm == "none" else f"{chosen.norm} normalisation"
    shape = f"{len(chosen.layers)} layers" if chosen.kind == "stack" else f"width {slimmed(chosen).width}"
    return f"{chosen.kind}, {shape}, {norm}, {count:,} parameters"


def _machine(env: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in env.get("versions", {}).items())
    rows = [*((name, env.get(name)) for name in ("device", "platform", "threads")), ("versions", versions)]
    return [(name, str(value)) for name, value in rows if value]


def _curves(config: Config, metrics: Mapping[str, Column], roll_backs: Column) -> list[Curve]:
    guide = loss_guide(config.objective)
    kimg = metrics.get("images_seen", np.zeros(0)) / 1000
    curves = []
    for panel in [*metric_panels(metrics), gap_panel(metrics), *SMALL]:
        if not panel.measured(metrics):
            continue
        column = panel.lines[0].column
        values = metrics.get(column, np.zeros(0))
        words = scores.curve_words(column, kimg, values) if "@" in column else panel_words(panel.guide, values, guide)
        curves.append(Curve(panel.title, words, curve_svg(metrics, panel, roll_backs)))
    return curves


def _history(events: list[dict[str, Any]], metrics: Mapping[str, Any], run: Path) -> list[str]:
    saves = sum(event.get("event") == "saved" for event in events)
    resumed = [event for event in events if event.get("event") == "started" and event.get("resumed")]
    lines = [f"Resumed at {event['images_seen']:,} images." for event in resumed]
    seconds = metrics.get("seconds", np.zeros(0))
    if len(seconds) and np.isfinite(seconds[-1]):
        lines.append(f"Training time: {duration(float(seconds[-1]))}.")
    lines.append(f"Saved {saves} checkpoint{'s' if saves != 1 else ''}.")
    if best := [event for event in events if event.get("event") == "best"]:
        name, value = printable(str(best[-1].get("name")))[:99], best[-1].get("value")
        number = f"{value:.4g}" if isinstance(value, float) else str(value)
        lines.append(f"Best {name}: {number} at {best[-1]['images_seen']:,} images.")
    with contextlib.suppress(ModelError):
        lines.append(f"{kept_line(run).replace('model', directory.GENERATOR, 1)}.")
    lines += [line] if (line := _guide(run)) else []
    for event in events:
        if event.get("event") == "finished":
            reason = printable(str(event.get("reason", "done")))[:99]
            lines.append(f"{_ENDINGS.get(reason, f'Stopped ({reason})')} at {event['images_seen']:,} images.")
    return lines


def _guide(run: Path) -> str:
    """What the kept generator can be asked for; "" for one without controls."""
    with contextlib.suppress(UserError):
        guide = read_generator(run / directory.GENERATOR)[1].guide
        if guide is not None:
            return f"{guided_line(guide).capitalize()}."
    return ""


def _moment(run: Path) -> int | None:
    """Images seen by the generator that the run keeps; None without one."""
    with contextlib.suppress(ModelError):
        return images_in(run / directory.GENERATOR)
    return None


def _sheet(run: Path, fixed: list[Path], moment: int | None) -> list[EmbeddedImage | None]:
    """The sheet of the generator that the run keeps: as it was sampled then, or generated now; else the newest one."""
    path = next((path for path in fixed if path.stem.isdecimal() and int(path.stem) == moment), None)
    if path is None and moment is not None:
        with contextlib.suppress(UserError):
            network, card = read_generator(run / directory.GENERATOR)
            if not card.condition:
                count = sheet_count(*card.spec[:2])
                labels = class_numbers((), card, range(count))
                images = generate_images(network, card.latents(range(count)), labels)
                page = grid(images, caption=f"{moment:,} images seen")
                return [_embedded(Image.fromarray(page), _LARGE_SIDE, f"fixed seeds, {moment:,} images seen")]
    return [_image(path, _LARGE_SIDE, "fixed seeds") for path in ([path] if path else fixed[-1:])]


def _spaced(paths: list[Path]) -> list[Path]:
    """A few grids, each about twice as late as the one before."""
    if len(paths) < 3:
        return []
    places = np.unique(np.round(np.geomspace(1, len(paths), _OVER_TIME)).astype(int)) - 1
    return [paths[i] for i in places]


def _image(path: Path, side: int, caption: str) -> EmbeddedImage | None:
    """A grid, at most `side` pixels wide and high, as WebP; None if it is damaged."""
    image = read_grid(path)
    if image is None:
        return None
    if re.fullmatch("[0-9]{1,18}", path.stem):
        caption += f", {int(path.stem):,} images seen"
    return _embedded(image, side, caption)


def _embedded(image: Image.Image, side: int, caption: str) -> EmbeddedImage:
    """A grid, at most `side` pixels wide and high, as WebP."""
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=88, method=4)
    return EmbeddedImage(caption, buffer.getvalue(), image.width)
