"""Sums of numbers, on the device and read once a tick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class Tally:
    """Means of named numbers between two ticks. Adding never waits for the device.

    `sum` runs on the device, where it can be recorded and replayed; `count` runs on the host. sums: on the device, by name.
    """

    def __init__(self, device: torch.device) -> None:
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._device = device
        self.sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def sum(self, name: str, values: Tensor) -> None:
        """Adds the mean of `values`, always to the same tensor."""
        mean = values.detach().to(self._dtype).mean()
        if name not in self.sums:
            self.sums[name] = torch.zeros((), dtype=self._dtype, device=self._device)
        self.sums[name] += mean

    def count(self, names: Iterable[str]) -> None:
        """Counts one more mean in the sum of each name."""
        for name in names:
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> dict[str, tuple[float, int]]:
        """Returns (sum, count) by name: one copy from the device."""
        names = sorted(self._counts)
        sums = torch.stack([self.sums[name] for name in names]).tolist() if names else []
        return {name: (total, self._counts[name]) for name, total in zip(names, sums, strict=True)}

    def clear(self) -> None:
        for total in self.sums.values():
            total.zero_()
        self._counts.clear()

    def load(self, stored: Mapping[str, tuple[float, int]]) -> None:
        """Restores what `read` returned."""
        self.clear()
        for name, (total, count) in stored.items():
            self.sum(name, torch.tensor(total, dtype=self._dtype, device=self._device))
            self._counts[name] = int(count)
