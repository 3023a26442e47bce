"""`kantor pack` in this process, and what came of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.commands import exit_of


@dataclass(frozen=True)
class Packed:
    """A packed dataset: images [N, H, W, C], images of each class, what the user was told."""

    images: NDArray[np.uint8]
    classes: dict[str, int]
    manifest: dict[str, Any]
    said: str


@dataclass
class Packer:
    """Packs sources to folders of their own."""

    folder: Path
    capfd: pytest.CaptureFixture[str]
    count: int = field(default=0)

    def __call__(self, source: object, *words: object) -> Packed:
        code, out, err = self._run(source, words)
        assert (code, err) == (0, ""), err
        manifest = json.loads((self._out / "manifest.json").read_text())
        counts = manifest["class_counts"]
        classes = dict(zip(manifest["class_names"], counts, strict=True)) if counts else {}
        return Packed(np.load(self._out / "images-00000.npy"), classes, manifest, out)

    def refused(self, source: object, *words: object) -> str:
        """The one line of a refusal."""
        code, _, err = self._run(source, words)
        assert code == 3, err
        assert re.fullmatch(r"error: [^\n]+: [^\n]+; [^\n]+\n", err), err
        return err

    @property
    def _out(self) -> Path:
        return self.folder / f"packed-{self.count}"

    def _run(self, source: object, words: tuple[object, ...]) -> tuple[int, str, str]:
        self.count += 1
        self.capfd.readouterr()
        code = exit_of("pack", source, "--out", self._out, "--cache", self.folder / "cache", *words)
        return code, *self.capfd.readouterr()


def put(path: Path, data: bytes | str | NDArray[Any]) -> Path:
    """Writes a file; an array as an image in the format of its name."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, np.ndarray):
        Image.fromarray(data).save(path)
    else:
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def put_all(
    folder: Path, count: int, ending: str = "png", first: int = 0, shape: tuple[int, ...] = (16, 16, 3)
) -> Path:
    """Some images with names that are numbers."""
    for i in range(count):
        put(folder / f"{i}.{ending}", np.random.default_rng(first + i).integers(0, 256, shape, np.uint8))
    return folder
