"""What was found in files is kept: no file is looked at twice, changed ones are, and a damaged cache costs time only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.packing import looks
from kantor.data.packing.pool import Pool
from kantor.data.packing.selection import open_images
from kantor.data.sources.source import Item


@pytest.fixture
def sheets(tmp_path: Path) -> Path:
    """Three sheets of 16x8 pixels: one full tile of 8x8, one empty."""
    folder = tmp_path / "sheets"
    folder.mkdir()
    for number in range(3):
        sheet = Image.new("RGB", (16, 8), "white")
        sheet.putpixel((3, 3 + number), (200, 0, 0))
        sheet.save(folder / f"{number}.png")
    return folder


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are looked at."""
    names: list[str] = []

    class Watched(Pool):
        def look(self, items: Any, chunk: int = 8) -> Iterator[Any]:
            listed = list(items)
            names.extend(item.name for item in listed)
            return super().look(listed, chunk)

    monkeypatch.setattr(looks, "Pool", Watched)
    return names


def tiles(folder: Path, kept: Path | None, tile: int = 8) -> list[str]:
    source = open_images(DataConfig(source=str(folder), tile=tile), kept)
    return [entry.name for entry in source.items() if isinstance(entry, Item)]


def test_no_file_is_looked_at_twice(sheets: Path, seen: list[str], tmp_path: Path) -> None:
    first = tiles(sheets, tmp_path / "kept")
    assert first == ["0#0000.png", "1#0000.png", "2#0000.png"]
    assert seen == ["0.png", "1.png", "2.png"]
    assert tiles(sheets, tmp_path / "kept") == first == tiles(sheets, None)
    assert seen == ["0.png", "1.png", "2.png"] * 2, "the last of the three keeps nothing"


def test_only_what_is_new_or_changed_is_looked_at(sheets: Path, seen: list[str], tmp_path: Path) -> None:
    tiles(sheets, tmp_path / "kept")
    seen.clear()
    Image.open(sheets / "0.png").rotate(180).save(sheets / "1.png")
    os.utime(sheets / "1.png", ns=(1, 1))
    Image.open(sheets / "0.png").save(sheets / "3.png")
    (sheets / "2.png").unlink()
    assert tiles(sheets, tmp_path / "kept") == ["0#0000.png", "1#0001.png", "3#0000.png"]
    assert seen == ["1.png", "3.png"]


def test_another_question_is_another_look(sheets: Path, seen: list[str], tmp_path: Path) -> None:
    tiles(sheets, tmp_path / "kept")
    assert tiles(sheets, tmp_path / "kept", tile=4) == ["0#0000.png", "1#0004.png", "2#0004.png"]
    assert len(seen) == 6


def test_a_file_that_cannot_be_read_is_tried_again(sheets: Path, seen: list[str], tmp_path: Path) -> None:
    data = (sheets / "1.png").read_bytes()
    (sheets / "1.png").write_bytes(data[:60])
    os.utime(sheets / "1.png", ns=(1, 1))
    tiles(sheets, tmp_path / "kept")
    seen.clear()
    tiles(sheets, tmp_path / "kept")
    assert seen == ["1.png"]


@pytest.mark.parametrize("damaged", [b"", b"[1]", b"{"])
def test_a_damaged_cache_is_made_anew(sheets: Path, seen: list[str], tmp_path: Path, damaged: bytes) -> None:
    first = tiles(sheets, tmp_path / "kept")
    (kept,) = (tmp_path / "kept").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damaged)
    assert tiles(sheets, tmp_path / "kept") == first and len(seen) == 6
    assert kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_time_only(sheets: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder should be")
    assert tiles(sheets, tmp_path / "kept") == tiles(sheets, None)
