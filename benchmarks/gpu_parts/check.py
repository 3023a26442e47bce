"""What each part of gpu_check.py is given, and where its numbers go."""

from __future__ import annotations

import csv
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import step
import torch

from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.engine.cuda_graphs import CudaGraphs
from kantor.errors import ConfigError

ROOT = Path(__file__).parents[2]
PRESETS = ("default", "wgan-gp", "wgan-gp-tuned")
FIELDS = ("part", "case", "precision", "measure", "value", "unit", "limit", "equal")


@dataclass
class Check:
    """What a part needs.

    Attributes:
        tiny: networks, images and repeats that take seconds on a CPU.
        until_s: of `time.perf_counter()`, when the part should have ended.
        different: cases in which two things that should be equal are not.
    """

    part: str
    device: torch.device
    tiny: bool
    out: Path
    until_s: float = math.inf
    peers: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    def row(
        self, case: str, precision: str, measure: str, value: float, unit: str = "", limit: float | None = None, *,
        equality: bool = False,
    ) -> None:  # fmt: skip
        """Writes a row at once. equality: it is an error if the value is above the limit."""
        equal = "" if not equality or limit is None else "yes" if value <= limit else "no"
        if equal == "no":
            self.different.append(f"{case} {precision}: {measure} is {value:.2g}, at most {limit:g} {unit}")
        values = (self.part, case, precision, measure, f"{value:.6g}", unit, "" if limit is None else limit, equal)
        path = self.out / "results.csv"
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if not file.tell():
                writer.writerow(FIELDS)
            writer.writerow(values)

    def config(self, preset: str, **fields: Any) -> Config:
        if not self.tiny:
            return resolve(preset, overrides=fields)
        tiny = dict.fromkeys(("generator.width", "critic.width", "generator.latent_dim", "train.batch"), 4)
        tiny["cycle.critic_steps"] = 1
        penalties = resolve(preset).objective.penalties
        lazy = [name for name, penalty in penalties.items() if getattr(penalty, "every", 1) > 1]
        tiny |= {f"objective.penalties.{name}.every": 2 for name in lazy}  # so that few cycles record them
        return resolve(preset, overrides=tiny | fields)

    def cases(self) -> Iterator[tuple[str, Config, str]]:
        """Presets and precisions, as long as there is time."""
        for preset in PRESETS:
            try:
                config = self.config(preset)
            except ConfigError:
                print(f"no preset {preset} in this version")
                continue
            for precision in self.precisions:
                if self.left_s() < 5:
                    print(f"no time is left for {preset} in {precision}")
                else:
                    yield preset, config, precision

    def ours(self, config: Config, precision: str, **more: Any) -> step.Ours:
        images = 2 * config.train.batch
        return step.Ours(config, self.size, precision, self.device, **{"images": images, **more})

    def wgan_gp(self, batch: int) -> Config:
        """DCGAN without normalisation in the critic, as the plain loop has it."""
        return step.wgan_gp(self.width, 4 if self.tiny else batch)

    @cached_property
    def precisions(self) -> list[str]:
        """float32, and bfloat16 if the device computes in it or the form is tiny."""
        return step.precisions(self.device, emulated=self.tiny)

    def left_s(self) -> float:
        return self.until_s - time.perf_counter()

    @property
    def size(self) -> int:
        return 16 if self.tiny else 64

    @property
    def width(self) -> int:
        return 4 if self.tiny else 64

    def backend(self) -> CudaGraphs:
        """What records steps: CUDA graphs, or on a CPU the stand-in of the tests."""
        if self.device.type == "cuda":
            return CudaGraphs()
        sys.path.insert(0, str(ROOT / "tests"))
        from support.tape import Tape

        return Tape()
