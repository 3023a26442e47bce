"""Outlines in the place of images: what they are, and that they stay in step with their images."""

from __future__ import annotations

import gzip
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import packed_set
from kantor.config.data import DataConfig
from kantor.config.io import resolve
from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.decoding.edges import outlines
from kantor.data.loading.store import Store
from kantor.data.packing.choose_size import choose_spec
from kantor.data.packing.pack import pack
from kantor.data.packing.scan import cache_key, pixel_settings, scan
from kantor.data.sources.recognise import open_source
from kantor.errors import ConfigError, ResourceError
from kantor.types import ImageSpec
from support.commands import exit_of


def settings(side: int, **more: object) -> DecodeSettings:
    return DecodeSettings(ImageSpec(side, side, 1), **{"edges": "canny", **more})  # type: ignore[arg-type]


def disc(side: int = 64, radius: float = 20.0, inside: int = 210, outside: int = 40) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.where(np.hypot(x, y) < radius, inside, outside).astype(np.uint8)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_a_disc_has_one_closed_thin_line(sigma: float) -> None:
    got = outlines(disc(), sigma)
    assert got.dtype == np.uint8 and set(np.unique(got)) == {0, 255}
    line = got == 0
    y, x = np.nonzero(line)
    assert abs(np.hypot(y - 31.5, x - 31.5) - 20).max() < 1.6
    _, pieces = ndimage.label(line, np.ones((3, 3)))
    _, rooms = ndimage.label(~line)
    assert (pieces, rooms) == (1, 2)
    assert 2 * np.pi * 20 * 0.85 < line.sum() < 2 * np.pi * 20 * 1.15  # a pixel wide


def test_light_on_dark_and_dark_on_light_are_alike() -> None:
    assert (outlines(disc(), 1.0) == outlines(255 - disc(), 1.0)).all()
    assert (outlines(np.full((16, 16), 90, np.uint8), 1.0) == 255).all()


def test_weak_edges_are_ignored() -> None:
    """Of a step of d the blurred slope is d / sqrt(2 pi) sigma; Sobel's sum is eight times that: 0.2 for d = 0.063."""
    assert (outlines(disc(inside=110, outside=100), 1.0) == 255).all()
    assert (outlines(disc(inside=125, outside=100), 1.0) == 0).any()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_outlines_are_those_of_the_resized_image(channels: int) -> None:
    grey = np.asarray(Image.fromarray(disc(100, 30)).resize((150, 100)))
    array = np.repeat(grey[:, :, None], channels, 2)
    if channels == 4:
        array[..., 3] = 255
    file = io.BytesIO()
    Image.fromarray(array[:, :, 0] if channels == 1 else array).save(file, "PNG")
    plain, _ = decode(file.getvalue(), settings(48, edges="none"))
    got, _ = decode(file.getvalue(), settings(48))
    assert got.shape == (48, 48, 1)
    assert (got[:, :, 0] == outlines(plain[:, :, 0], 1.0)).all() and (got == 0).any()


def test_arrays_of_the_right_shape_are_outlined_too() -> None:
    got, _ = decode(disc(), settings(64))
    assert set(np.unique(got)) == {0, 255}
    wide, _ = decode(disc(), settings(64, edges_sigma=3.0))
    assert (wide != got).any()


def opened(cache: Path, **fields: object) -> Store:
    values = {"data.size": "24", "data.glyphs.count": 50} | {f"data.{k}": v for k, v in fields.items()}
    store, config, _ = packed_set(resolve(overrides=values), 24, DatasetCache(cache))
    assert config.data.channels == {1: "gray", 3: "rgb"}[store.spec.channels]
    return store


def test_rows_are_those_of_the_images(tmp_path: Path) -> None:
    """In two packs of one source, by chance and with unreadable ones among them."""
    (tmp_path / "in").mkdir()
    for i, item in enumerate(open_source(DataConfig(size="32")).items()):
        if i == 30:
            break
        array = open_source(DataConfig(size="32")).load(item)
        Image.fromarray(array).resize((40, 28)).save(tmp_path / "in" / f"{i:02d}.png")
    (tmp_path / "in" / "04.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    (tmp_path / "in" / "notes.txt").write_text("about these")
    more = {"source": str(tmp_path / "in"), "fit": "mirror", "max_bad": 1.0, "limit": 25, "choose": "random"}
    images, lines = opened(tmp_path, **more), opened(tmp_path, **more, edges="canny")
    assert images.count == lines.count >= 24 and images.path != lines.path
    assert (images.digests() == lines.digests()).all()
    one, other = (gzip.decompress((s.path / "sources.jsonl.gz").read_bytes()) for s in (images, lines))
    assert one == other
    for image, line in zip(images.whole(), lines.whole(), strict=True):
        grey = np.asarray(Image.fromarray(image).convert("L"))
        wanted = outlines(grey, 1.0)
        assert ((wanted == 0) ^ (line[..., 0] == 0)).mean() < 0.06  # grey before it was resized, or after
        assert (line == 0).any()


def test_glyphs_have_outlines(tmp_path: Path) -> None:
    lines, images = opened(tmp_path, edges="canny"), opened(tmp_path)
    assert lines.spec == (24, 24, 1) and images.spec == (24, 24, 3)
    assert lines.manifest["settings"]["edges"] == ["canny", 1.0]
    for row in (0, 7, 49):
        grey = np.asarray(Image.fromarray(images.images(np.array([row]))[0]).convert("L"))
        assert (lines.images(np.array([row]))[0, :, :, 0] == outlines(grey, 1.0)).all()
    assert lines.class_names == images.class_names


def test_a_packed_dataset_is_outlined_in_order(tmp_path: Path) -> None:
    images = opened(tmp_path)
    lines = opened(tmp_path, source=str(images.path), edges="canny")
    assert lines.count == 50 and (lines.whole() == opened(tmp_path, edges="canny").whole()).all()
    again = opened(tmp_path, source=str(lines.path), edges="canny")  # has outlines already
    assert again.path == lines.path


def test_settings_name_the_set(tmp_path: Path) -> None:
    keys = set()
    for edges, sigma in (("none", 1.0), ("canny", 1.0), ("canny", 2.0)):
        config = DataConfig(edges=edges, edges_sigma=sigma, channels="gray")
        source = open_source(config)
        keys.add(cache_key(source, config, ImageSpec(16, 16, 1), scan(source, config)))
    assert len(keys) == 3
    assert pixel_settings(DataConfig(edges_sigma=2.0)) == pixel_settings(DataConfig())


def test_channels() -> None:
    config = DataConfig(edges="canny", size="16")
    source = open_source(config)
    spec, reasons = choose_spec(source, config, 16, scan(source, config))
    assert spec == (16, 16, 1) and reasons == {"channels": "outlines are grey"}
    for channels in ("rgb", "rgba"):
        with pytest.raises(ConfigError, match=f"outlines are grey, but {channels} is requested"):
            open_source(DataConfig(edges="canny", channels=channels))
    stacked = DataConfig(source="data/digits", stack=5, edges="canny", channels="rgb")
    with pytest.raises(ConfigError, match="outlines are grey"):
        open_source(stacked)


def test_a_missing_library_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "skimage" else found(name, *a))
    config = DataConfig(edges="canny")
    with pytest.raises(ResourceError, match=r"pip install 'kantor\[edges\]'"):
        pack(open_source(config), config, ImageSpec(16, 16, 1), tmp_path / "set")
    words = ["pack", "glyphs", "--out", tmp_path / "set", "--size", "16", "--set", "data.edges=canny"]
    assert exit_of(*words) == 5
    error = capsys.readouterr().err
    assert error.count("scikit-image") == 1 and "pip install 'kantor[edges]'" in error
    assert list(tmp_path.iterdir()) == []
