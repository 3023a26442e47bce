"""While images are packed: how long it takes, and a sheet of what has been read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kantor
from kantor.app.dataset import packing_news
from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.packing_news import PackingNews
from kantor.app.dataset.prepare import packed_set
from kantor.config.io import resolve
from kantor.data.packing.pack import PackReport, pack
from kantor.data.packing.pool import Row
from kantor.data.packing.selection import open_images
from kantor.data.reasons import Reason
from kantor.data.sources.source import Item, Rejected
from kantor.errors import BusyError, DataError
from kantor.types import ImageSpec

SPEC = ImageSpec(8, 8, 3)


def row(value: int) -> Row:
    item = Item(f"{value}.png", 1, 0, None)
    return Row(item, b"", 0, False, False, (), np.full(SPEC, value % 256, np.uint8).tobytes())


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def told(total: int) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Lines, and what the bar is told, where 400 images a second are packed."""
    clock, lines, passed = Clock(), list[str](), list[tuple[int, int, int]]()
    packing = PackingNews(lines.append, clock=clock).begin(SPEC, "fish", lambda *done: passed.append(done))
    clock.now_s += 3  # the workers start
    for done, after_s in ((100, 0.0), (200, 0.25), (500, 0.75), (900, 1.0)):
        clock.now_s += after_s
        packing.progress(done, total, 1)
    return lines, passed


def test_the_time_is_told_once_and_only_if_it_is_worth_it() -> None:
    lines, passed = told(8000)
    assert lines == ["packing 8,000 images takes about 20 s"]
    assert passed == [(100, 8000, 1), (200, 8000, 1), (500, 8000, 1), (900, 8000, 1)], "the bar goes on"
    assert told(1000)[0] == []


def test_a_sheet_shows_images_spread_over_what_has_been_read(tmp_path: Path) -> None:
    clock, lines = Clock(), list[str]()
    sheet = tmp_path / "runs" / "packing.png"
    packing = PackingNews(lines.append, sheet, clock=clock).begin(SPEC, "fish", lambda *_: None)
    packing.rows([row(0)])
    assert not sheet.exists(), "a short pack needs none"
    clock.now_s += 3
    packing.rows([row(1), Rejected("x.png", Reason("decoder", "broken"))])
    assert lines == [f"images read so far: {sheet}"]
    first = sheet.read_bytes()
    packing.rows([row(n) for n in range(2, 250)])
    assert sheet.read_bytes() == first, "not at every row"
    clock.now_s += 3
    packing.rows([row(250)])
    assert sheet.read_bytes() != first
    assert len(lines) == 1, "its path is said once"
    assert len(packing._rows) <= 128
    greys = np.unique(np.asarray(Image.open(sheet))[:500, :, 0])
    assert greys.min() < 10 and (greys > 240).any() and len(greys) > 50, "from the first to the last"


def test_a_sheet_that_is_slow_to_write_is_renewed_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, sheet = Clock(), tmp_path / "packing.png"

    def slowly(image: object) -> bytes:
        clock.now_s += 0.3
        return str(clock.now_s).encode()

    monkeypatch.setattr(packing_news, "png_bytes", slowly)
    packing = PackingNews(lambda line: None, sheet, clock=clock).begin(SPEC, "fish", lambda *_: None)
    contents = set[bytes]()
    for n in range(600):  # a minute
        clock.now_s += 0.1
        packing.rows([row(n % 250)])
        if sheet.exists():
            contents.add(sheet.read_bytes())
    assert 6 <= len(contents) <= 12


def test_a_sheet_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    clock, lines = Clock(), list[str]()
    packing = PackingNews(lines.append, tmp_path / "runs" / "packing.png", clock=clock).begin(
        SPEC, "fish", lambda *_: None
    )
    clock.now_s += 3
    packing.rows([row(1)])
    assert lines == []


def test_packing_hands_over_its_rows(tmp_path: Path) -> None:
    source = resolve(overrides={"data.source": "glyphs", "data.size": "8", "data.glyphs.count": 12}).data
    seen: list[Row] = []
    report = pack(
        open_images(source),
        source,
        SPEC,
        tmp_path / "p",
        watch=lambda rows: seen.extend(r for r in rows if isinstance(r, Row)),
    )
    assert report.count == len(seen) == 12
    images = np.load(next((tmp_path / "p").glob("images*.npy")))
    assert b"".join(r.pixels for r in seen) == images.tobytes()


def test_the_outlook_is_told_once_while_another_process_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, told = iter([True, True]), list[ImageSpec]()

    def pack_later(*arguments: Any, **words: Any) -> PackReport:
        if next(busy, False):
            raise BusyError("packs", "in use by process 1", "wait")
        return pack(*arguments, **words)

    monkeypatch.setattr("kantor.app.dataset.prepare.pack", pack_later)
    monkeypatch.setattr("kantor.app.dataset.cache.time.sleep", lambda _: None)
    config = resolve(overrides={"data.source": "glyphs", "data.size": "8", "data.glyphs.count": 12})
    news = PackingNews(lambda line: None, planned=lambda config, spec: told.append(spec))
    for _ in range(2):  # packed, and found packed
        packed_set(config, 8, DatasetCache(tmp_path, news=news))
        assert told == [ImageSpec(8, 8, 3)]


def test_without_a_sheet_rows_are_not_kept() -> None:
    packing = PackingNews(lambda line: None).begin(SPEC, "fish", lambda *_: None)
    packing.rows([row(1)])
    assert packing._rows == []


def test_the_sheet_is_gone_when_there_will_be_no_run(tmp_path: Path) -> None:
    (tmp_path / "packing.png").write_bytes(b"of images read so far")
    with pytest.raises(DataError):
        kantor.train(tmp_path / "nowhere", size=16, quiet=True, runs=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_sheet_is_gone_when_the_run_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "packing.png").write_bytes(b"of images read so far")
    tiny = {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60}
    run = kantor.train("glyphs", size=16, batch=8, images=8, metrics="none", overrides=tiny, quiet=True, runs=tmp_path)
    assert not (tmp_path / "packing.png").exists() and (run.path / "samples" / "reals.png").exists()
