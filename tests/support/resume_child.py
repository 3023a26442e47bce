"""Trainings that are stopped, killed and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

IMAGES = 64
FIELDS: dict[str, Any] = {
    "data.glyphs.count": 40,
    "data.size": "16",
    "data.channels": "rgb",
    "generator.width": 4,
    "critic.width": 4,
    "generator.latent_dim": 4,
    "train.batch": 4,
    "train.tick_images": 12,
    "train.sample_images": 20,
    "train.snapshot_images": 16,
}


class Quiet:
    """A console without a word."""

    def on(self, event: object) -> None: ...
    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


def train_until(
    cycles: int | None,
    preset: str,
    precision: str,
    runs: Path,
    cache: Path,
    resume: Path | None = None,
    notes: list[str] | None = None,
    **more: Any,
) -> tuple[Path, str]:
    """Trains the tiny networks of a preset; a signal is pretended after `cycles` cycles of this invocation."""
    from kantor.app.training.options import TrainOptions
    from kantor.app.training.start import train
    from kantor.app.training.terminal import Terminal

    looks = iter(range(10_000))  # the first look comes before the first cycle
    terminal = Terminal(
        (notes if notes is not None else []).append,
        lambda *_: None,
        lambda folder: Quiet(),  # type: ignore[arg-type,return-value]
        lambda: "signal" if cycles is not None and next(looks) >= cycles else "",
    )
    fields = {} if resume else FIELDS | {"train.precision": precision}
    more = {"overrides": fields, "images": None if resume else IMAGES} | more
    resumed = str(resume) if resume else None
    with (  # painting takes a second each
        mock.patch("kantor.report.losses_png.losses_png", lambda *_: b"a plot"),
        mock.patch("kantor.app.write_report.curve_svg", lambda *_: "<svg></svg>"),
    ):
        options = TrainOptions(preset=preset, device="cpu", runs=runs, cache=cache, resume=resumed, **more)
        return train(options, terminal)


def train_in_child(runs: Path, cache: Path, resume: Path | None) -> None:
    """For a process of its own."""
    train_until(None, "default", "float32", runs, cache, resume)


def train_twice_with_two_threads(whole: Path, halves: Path, cache: Path) -> None:
    """One run at once, and one that is stopped and resumed."""
    import torch

    torch.set_num_threads(2)
    run, _ = train_until(3, "default", "float32", halves, cache, images=32)
    for runs, resume in ((whole, None), (halves, run)):
        train_until(None, "default", "float32", runs, cache, resume, images=32)
