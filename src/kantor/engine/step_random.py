"""The random numbers of a cycle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kantor.random import derive


@dataclass(frozen=True)
class Draws:
    """The random numbers of a cycle: each a function of (seed, purpose, cycle, attempt, step)."""

    seed: int
    cycle: int
    attempt: int
    device: torch.device

    def derived(self, purpose: str, step: int) -> int:
        """The seed of this cycle, attempt and step for `purpose`."""
        return derive(self.seed, purpose, self.cycle, self.attempt, step)

    def _rng(self, purpose: str, step: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.derived(purpose, step))

    def latents(self, purpose: str, step: int, count: int, config: object) -> Tensor:
        """float32 [count, latent_dim], standard normal, uniform in [-1, 1], or ("unit") in [0, 1]."""
        rng, shape = self._rng(purpose, step), (count, config.latent_dim)  # type: ignore[attr-defined]
        if config.latent == "normal":  # type: ignore[attr-defined]
            return torch.randn(shape, generator=rng, device=self.device)
        uniform = torch.rand(shape, generator=rng, device=self.device)
        return uniform if config.latent == "unit" else uniform * 2 - 1  # type: ignore[attr-defined]

    def uniform(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """float32 in [0, 1)."""
        return torch.rand(shape, generator=self._rng(purpose, step), device=self.device)
