"""Sources for the tests of packing, importable in worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kantor.data.reasons import Reason
from kantor.data.sources.source import Item, Rejected, Source


def image(number: int, side: int = 8) -> NDArray[np.uint8]:
    """uint8 [side, side, 3], different for each number."""
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


@dataclass
class Fake(Source):
    """Images by number; `bad` names the fault of some of them.

    Attributes:
        delay_s: time that each image takes.
        classes: image i has class str(i % classes); 0: none.
        side_files: names that are rejected as other files.
    """

    count: int
    bad: dict[int, str] = field(default_factory=dict)
    delay_s: float = 0.0
    classes: int = 0
    side_files: tuple[str, ...] = ()
    path: str = "fake"
    exact: bool = True
    note: str = ""

    def items(self) -> Iterator[Item | Rejected]:
        for name in self.side_files:
            yield Rejected(name, Reason("not_image", f"not an image (.{name.rpartition('.')[2]})"))
        for i in range(self.count):
            yield Item(f"{i:04d}.png", i, label=str(i % self.classes) if self.classes else None)

    def load(self, item: Item) -> bytes | NDArray[np.uint8]:
        time.sleep(self.delay_s)
        match self.bad.get(item.position):
            case "exit":
                os._exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)
            case "gone":
                raise FileNotFoundError(2, "No such file or directory")
            case "memory":
                raise MemoryError
            case "bug":
                raise KeyError("tag")
            case "text":
                return b"hello, I am no image"
            case "flat":
                return np.full((8, 8, 3), 77, np.uint8)
            case "red":  # of one colour, though its channels are far apart
                return np.full((8, 8, 3), (200, 0, 0), np.uint8)
            case "same":
                return image(0)
        return image(item.position)
