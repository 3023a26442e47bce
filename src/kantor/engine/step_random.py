"""The random numbers of a cycle's steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kantor.config.networks import GeneratorConfig
from kantor.random import derive


@dataclass(frozen=True)
class StepRandom:
    """Random numbers, each a function of (seed, purpose, cycle, attempt, step)."""

    seed: int
    cycle: int
    attempt: int
    device: torch.device

    def derived(self, purpose: str, step: int) -> int:
        """The seed of this step for `purpose`."""
        return derive(self.seed, purpose, self.cycle, self.attempt, step)

    def _rng(self, purpose: str, step: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.derived(purpose, step))

    def latents(self, purpose: str, step: int, count: int, config: GeneratorConfig) -> Tensor:
        """float32 [count, latent_dim], standard normal, uniform in [-1, 1], or ("unit") in [0, 1]."""
        shape = count, config.latent_dim
        if config.latent == "normal":
            return torch.randn(shape, generator=self._rng(purpose, step), device=self.device)
        uniform = self.uniform(purpose, step, shape)
        return uniform if config.latent == "unit" else uniform * 2 - 1

    def uniform(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """float32 in [0, 1)."""
        return torch.rand(shape, generator=self._rng(purpose, step), device=self.device)
