"""An image set in memory and tiny networks, for tests of the engine."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kantor.config.io import resolve
from kantor.data.loading.feed import Feed, to_float
from kantor.engine.device import keep_memory
from kantor.engine.state import State
from kantor.engine.step_random import StepRandom
from kantor.engine.steps import Steps
from kantor.objectives.objective import build_objective
from kantor.types import Batch, ImageSpec

CPU = torch.device("cpu")
SPEC = ImageSpec(16, 16, 3)
TINY = {"generator.width": 4, "critic.width": 4, "generator.latent_dim": 4, "train.batch": 4}


class InMemory:
    """An `ImageSet` of random images."""

    path, class_names, condition_channels, fingerprint = Path("memory"), list[str](), 0, "memory"
    condition_settings: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, spec: ImageSpec = SPEC, count: int = 10, labelled: bool = True) -> None:
        self.spec, self.count, self.labelled = spec, count, labelled
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, *spec), np.uint8)

    def images(self, rows: np.ndarray) -> np.ndarray:
        return self.pixels[rows]

    def labels(self, rows: np.ndarray) -> np.ndarray | None:
        return rows % 3 if self.labelled else None

    def conditions(self, rows: np.ndarray) -> None:
        return None

    def digests(self) -> np.ndarray:
        return self.pixels.reshape(self.count, -1)[:, :32]


def feed(spec: ImageSpec = SPEC, **more: Any) -> Feed:
    return Feed(InMemory(spec), 7, **{"device": CPU, **more})


def parts(
    preset: str,
    *more: dict[str, Any],
    precision: str = "float32",
    device: torch.device = CPU,
    spec: ImageSpec = SPEC,
) -> tuple[State, Steps]:
    """A state and its steps for the tiny networks of a preset; `more` overrides its fields."""
    overrides = TINY.copy()
    for fields in more:
        overrides |= fields
    config = resolve(preset, overrides=overrides)
    return State(config, spec, 0, device), Steps(config, build_objective(config.objective), precision, 400)


def trained(fields: dict[str, Any], cycles: int, spec: ImageSpec = SPEC, **using: Any) -> tuple[State, Steps]:
    """The tiny networks of preset wgan-gp after some cycles. using: attributes of the steps."""
    state, steps = parts("wgan-gp", fields, spec=spec)
    steps = replace(steps, **using)
    stream = feed(spec)
    for _ in range(cycles):
        steps.cycle(state, stream)
    return state, steps


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def count_page_faults() -> None:
    """Prints those of large tensors before and after freed memory is kept; for a process of its own."""

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.zeros(16 * 2**20)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    without = faults()
    assert keep_memory()
    faults()
    print(without, faults())


LARGE, BATCH = ImageSpec(64, 64, 3), 2
NARROW = {"generator.width": 4, "critic.width": 8, "train.batch": BATCH, "critic.norm": "none"}

ADAM = {"optimizer.generator.kind": "adam", "optimizer.critic.kind": "adam"}


def large(preset: str, **more: Any) -> tuple[State, Steps, Batch, StepRandom]:
    """Narrow networks for 64x64 images, and two of these; optimizers without products of matrices, which some tests count."""
    config = resolve(preset, overrides=NARROW | ADAM | {k.replace("__", "."): v for k, v in more.items()})
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *LARGE), np.uint8)
    steps = Steps(config, build_objective(config.objective), "float32", 1)
    return State(config, LARGE, 0, CPU), steps, Batch(to_float(torch.from_numpy(pixels))), StepRandom(0, 0, 0, CPU)
