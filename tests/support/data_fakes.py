"""Slow and odd sources, importable in worker processes."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources.source import Item
from support.pack_fakes import Fake, image


@dataclass
class Slow(Fake):
    """Takes `ready_s` before its first image can be read, and `read_s` to read each."""

    ready_s: float = 0.0
    read_s: float = 0.0
    local_only: bool = False
    ready: bool = False
    note: str = ""

    def prepare(self) -> None:
        time.sleep(self.ready_s)
        self.ready = True

    def load(self, item: Item) -> bytes | NDArray[np.uint8]:
        assert self.ready or self.local_only
        time.sleep(self.read_s)
        return image(item.position)


class Floats(Fake):
    """Its images are fractions."""

    def load(self, item: Item) -> bytes | NDArray[np.uint8]:
        data = super().load(item)
        return data if isinstance(data, bytes) else data / 255
