"""The page of a run, out of the files in its directory."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from kantor import atomic
from kantor.app import environment
from kantor.app.dataset.prepare import condition_channels
from kantor.config.io import difference, layered, read_toml, resolve, to_toml
from kantor.config.schema import Config
from kantor.errors import printable
from kantor.nets import build_critic, build_generator
from kantor.objectives.objective import name_of
from kantor.report import scores, sentences
from kantor.report.curves import without_abandoned
from kantor.report.loss_guide import reading_of
from kantor.report.page import Curve, EmbeddedImage, Page, page_html
from kantor.report.table import epoch_table, loss_table
from kantor.runs import directory
from kantor.runs.events import is_count, read_events
from kantor.sinks.metrics_csv import read_metrics
from kantor.sinks.samples import read_sheet, sheets
from kantor.types import ImageSpec

PAGE = "report.html"
_MOMENTS = 6
_LATEST_SIDE, _SMALL_SIDE = 900, 300
_CHANNELS = {"gray": 1, "rgb": 3, "rgba": 4}


def write_report(run: Path) -> Path:
    """Writes report.html into a run directory, or anew. Equal run directories give equal bytes.

    Raises:
        DataError: metrics.csv is damaged; ConfigError: config.toml is.
    """
    path = run / PAGE
    atomic.write_text(path, page_html(read_page(run)))
    return path


def report(text: str, runs: Path) -> Path:
    """The page of the run that `text` names (path, name, number or "latest"), written anew."""
    return write_report(directory.find(text, runs))


def table(text: str, runs: Path, epochs: bool = False) -> list[str]:
    """The losses of the run that `text` names, line by line; with `epochs`, a line is an epoch."""
    run = directory.find(text, runs)
    metrics = read_metrics(run / directory.METRICS)
    lines = epoch_table(metrics) if epochs else loss_table(metrics)
    return lines or [f"{run}: nothing has been measured yet"]


def read_page(run: Path) -> Page:
    """All that the page says."""
    config = layered(Config(), read_toml(run / directory.CONFIG), str(run / directory.CONFIG))
    env = environment.read(run / directory.ENVIRONMENT)
    metrics, _ = without_abandoned(read_metrics(run / directory.METRICS))
    events = list(read_events(run / directory.EVENTS))
    seen = metrics.get("images_seen", np.zeros(0))
    fixed = sheets(run, "fixed")
    reals = run / "samples" / "reals.png"
    shown = [_image(path, _SMALL_SIDE, "the same seeds") for path in _moments(fixed)]
    latest = _image(fixed[-1], _LATEST_SIDE, "fixed seeds") if fixed else None
    real = _image(reals, _LATEST_SIDE, "real images of the set") if reals.exists() else None
    damaged = shown.count(None) + (latest is None and bool(fixed)) + (real is None and reals.exists())
    score_rows, score_about = scores.last_scores(events)
    seen_text = f"{int(seen[-1]):,} images seen" if len(seen) else "just begun"
    return Page(
        title=run.resolve().name,
        lead=f"A {name_of(config.objective)} GAN trained on {Path(config.data.source).name}: {seen_text}.",
        facts=[
            ("Data", _data(config, env, events)),
            ("Networks and objective", _model(config)),
            ("Machine", _machine(env)),
        ],
        latest=latest,
        over_time=[image for image in shown if image],
        reals=real,
        curves=_curves(config, metrics),
        scores=score_rows,
        score_about=score_about,
        health=sentences.health(metrics),
        history=[*_history(config, events, metrics), *([f"Sheets that cannot be read: {damaged}."] if damaged else [])],
        changed=[(name, _shown(old), _shown(new)) for name, (old, new) in difference(resolve(), config).items()],
        config=to_toml(config),
        commands=[
            (
                "Train again with the same configuration and seed:",
                f"kantor train --config {quote(str(run / directory.CONFIG))}",
            ),
            ("Go on with this run:", f"kantor train --resume {quote(str(run))} --time-budget 10m"),
            *_uses(config, run),
        ],
    )


def _uses(config: Config, run: Path) -> list[tuple[str, str]]:
    """What can be done with the model of a run."""
    model = quote(str(run))
    if config.data.condition != "none":
        return [("Colour lines with it, of a model or your own:", f"kantor paint LINES {model} --out paintings")]
    return [
        ("Draw images from it:", f"kantor generate {model} --grid 8x8"),
        ("Score it:", f"kantor evaluate {model}"),
        ("Walk between them:", f"kantor walk {model} --seeds 3,9,12 --loop --out walk.gif"),
    ]


def _data(config: Config, env: Mapping[str, Any], events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    data = config.data
    rows = [("source", data.source), ("size", f"{data.size}, {data.channels}"), ("fit", data.fit)]
    count = next((event["epoch_images"] for event in events if is_count(event.get("epoch_images"))), None)
    rows += [("pictures", f"{count:,}")] if is_count(count) else []
    rows += [("mirrored", "as often as not")] if data.mirror else []
    return [*rows, ("fingerprint", str(env.get("data_fingerprint", "unknown"))[:16])]


def _shown(value: Any) -> str:
    return "—" if value is None else str(value)


def _model(config: Config) -> list[tuple[str, str]]:
    height, _, width = config.data.size.partition("x")
    rows: list[tuple[str, str]] = [("objective", name_of(config.objective))]
    for name, penalty in config.objective.penalties.items():
        every = f", every {penalty.every} critic steps" if penalty.every > 1 else ""
        rows.append((f"penalty {name}", f"{penalty.of} at {penalty.at.kind}, weight {penalty.weight:g}{every}"))
    if config.data.size != "auto" and config.data.channels != "auto":
        spec = ImageSpec(int(height), int(width or height), _CHANNELS[config.data.channels])
        note = ", class embeddings aside" if config.train.conditional else ""
        condition = condition_channels(config)
        rows.append(("generator", _network(config.generator, build_generator, spec, condition) + note))
        rows.append(("critic", _network(config.critic, build_critic, spec, condition) + note))
    for part, optimizer in (("generator", config.optimizer.generator), ("critic", config.optimizer.critic)):
        rows.append((f"{part}'s optimiser", f"{optimizer.kind}, rate {optimizer.lr:g}, {optimizer.schedule.kind}"))
    return [*rows, ("batch", str(config.train.batch)), ("seed", str(config.train.seed))]


def _network(chosen: Any, build: Callable[..., nn.Module], spec: ImageSpec, condition: int) -> str:
    if chosen.kind == "custom":  # whoever looks at the page need not have the code that builds it
        return f"{chosen.name}, of the user's own"
    with torch.device("meta"):  # to be counted, not to be run
        count = sum(p.numel() for p in build(chosen, spec, condition=condition).parameters())
    norm = "no normalisation" if chosen.norm == "none" else f"{chosen.norm} normalisation"
    shape = f"{len(chosen.layers)} layers" if chosen.kind == "stack" else f"width {chosen.width}"
    return f"{chosen.kind}, {shape}, {norm}, {count:,} parameters"


def _machine(env: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = env.get("versions", {})
    rows = [("device", env.get("device")), ("platform", env.get("platform")), ("threads", env.get("threads"))]
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return [(name, str(value)) for name, value in rows if value]


def _curves(config: Config, metrics: Mapping[str, Any]) -> list[Curve]:
    kimg = metrics.get("images_seen", np.zeros(0)) / 1000
    reading = reading_of(config.objective)
    wanted: dict[str, tuple[str, Callable[[Any], str]]] = {
        "wasserstein_estimate": ("Wasserstein estimate", lambda y: sentences.gap_words(y, reading)),
        "critic_gap": ("Critic gap", lambda y: sentences.gap_words(y, reading)),
        "critic_loss": ("Critic loss", lambda _: reading.critic_loss),
        "generator_loss": ("Generator loss", lambda _: reading.generator_loss),
        "penalty": ("Penalty", lambda y: sentences.penalty_words(y, reading)),
        "gradient_norm": ("Gradient norm", lambda y: sentences.gradient_words(y, reading)),
    }
    found = {name: metrics[name] for name in wanted if name in metrics and np.isfinite(metrics[name]).any()}
    if "wasserstein_estimate" in found:
        found.pop("critic_gap", None)  # the same numbers
    curves = [Curve(wanted[name][0], wanted[name][1](y), kimg, y) for name, y in found.items()]
    scored = {name: y for name, y in metrics.items() if "@" in name and np.isfinite(y).any()}
    return [
        Curve(scores.title(name), scores.curve_words(name, kimg, y), kimg, y) for name, y in scored.items()
    ] + curves


def _history(config: Config, events: list[dict[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
    lines, saves = [], sum(event.get("event") == "saved" for event in events)
    resumed = [event for event in events if event.get("event") == "started" and event.get("resumed")]
    lines += [f"Gone on with at {event['images_seen']:,} images." for event in resumed]
    seconds = metrics.get("seconds", np.zeros(0))
    if len(seconds) and np.isfinite(seconds[-1]):
        minutes, rest = divmod(round(float(seconds[-1])), 60)
        lines.append(f"Time in training: {sentences.figure(minutes)} min {rest} s.")
    lines.append(f"Saved {saves} time{'s' if saves != 1 else ''}.")
    if best := [event for event in events if event.get("event") == "best"]:
        name, value = printable(str(best[-1].get("name")))[:99], best[-1].get("value")
        told = f"{value:.4g}" if isinstance(value, float) else str(value)
        kept = ", which generator.safetensors keeps" if config.score.metrics and config.score.best != "none" else ""
        lines.append(f"Best {name}: {told} at {best[-1]['images_seen']:,} images{kept}.")
    for event in events:
        if event.get("event") == "finished":
            lines.append(
                f"Ended at {event['images_seen']:,} images: {printable(str(event.get('reason', 'done')))[:99]}."
            )
    return lines


def _moments(paths: list[Path]) -> list[Path]:
    """A few sheets, each about twice as late as the one before it."""
    if len(paths) < 3:
        return []
    places = np.unique(np.round(np.geomspace(1, len(paths), _MOMENTS)).astype(int)) - 1
    return [paths[i] for i in places]


def _image(path: Path, side: int, what: str) -> EmbeddedImage | None:
    """A sheet, not larger than `side` pixels, as WebP; None where it is damaged."""
    image = read_sheet(path)
    if image is None:
        return None
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=88, method=4)
    caption = f"{what}, {int(path.stem):,} images seen" if re.fullmatch("[0-9]{1,18}", path.stem) else what
    return EmbeddedImage(caption, buffer.getvalue(), image.width)
