"""Images packed larger than the networks see them: how they are shrunk, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import kantor
from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import open_set
from kantor.app.training.build import build
from kantor.app.training.sample_grids import first_images
from kantor.config.io import read_toml, resolve
from kantor.data.loading.feed import Feed, shrink, to_float
from kantor.data.loading.store import Store
from kantor.errors import ConfigError
from kantor.export.weights import read_generator
from kantor.types import ImageSpec
from support.commands import TINY, exit_of
from support.engine_fakes import CPU, InMemory, feed

RANDOM = np.random.default_rng(0)


def pillow(images: np.ndarray, height: int, width: int, filter_: Image.Resampling) -> np.ndarray:
    """Float [N, C, H, W] resized channel by channel, in 32-bit floats."""
    planes = [
        np.asarray(Image.fromarray(plane, "F").resize((width, height), filter_))
        for plane in images.reshape(-1, *images.shape[2:])
    ]
    return np.stack(planes).reshape(*images.shape[:2], height, width)


@pytest.mark.parametrize(("large", "small"), [((32, 32), (16, 16)), ((48, 24), (16, 8)), ((40, 40), (8, 8))])
def test_whole_factors_are_means_of_areas(large: tuple[int, int], small: tuple[int, int]) -> None:
    images = RANDOM.random((3, 4, *large), np.float32) * 2 - 1
    got = shrink(torch.from_numpy(images), *small).numpy()
    np.testing.assert_allclose(got, pillow(images, *small, Image.Resampling.BOX), atol=1e-6)
    rows, columns = large[0] // small[0], large[1] // small[1]
    blocks = images.astype(np.float64).reshape(3, 4, small[0], rows, small[1], columns)
    np.testing.assert_allclose(got, blocks.mean((3, 5)), atol=1e-6)


@pytest.mark.parametrize(("large", "small"), [((48, 48), (32, 32)), ((30, 50), (24, 40))])
def test_other_factors_are_antialiased(large: tuple[int, int], small: tuple[int, int]) -> None:
    images = RANDOM.random((2, 3, *large), np.float32)
    got = shrink(torch.from_numpy(images), *small).numpy()
    np.testing.assert_allclose(got, pillow(images, *small, Image.Resampling.BILINEAR), atol=1e-5)


def test_the_finest_stripes_become_grey() -> None:
    """Taking every third pixel would leave them black or white."""
    stripes = torch.arange(30).remainder(2).float().expand(1, 1, 30, 30)
    assert (shrink(stripes, 20, 20)[..., 2:-2] - 0.5).abs().max() < 0.26
    assert (shrink(stripes, 15, 15) == 0.5).all()


def test_a_feed_shrinks_its_images() -> None:
    small = Feed(InMemory(), 7, CPU, mirror=True, labels=True, spec=ImageSpec(8, 8, 3))
    large = feed(mirror=True, labels=True)
    for n in (4, 9):  # over the end of an epoch
        got, wanted = small.take(n), large.take(n)
        torch.testing.assert_close(got.images, torch.nn.functional.avg_pool2d(wanted.images, 2))
        assert got.labels.tolist() == wanted.labels.tolist()
        assert got.images.shape == (n, 3, 8, 8) and got.images.dtype == torch.float32


def test_images_of_the_right_size_are_returned_as_they_are() -> None:
    images = to_float(torch.from_numpy(InMemory().pixels))
    assert shrink(images, 16, 16) is images


def opened(cache: Path, **fields: Any) -> tuple[Any, Any]:
    values = {"data.glyphs.count": 30} | {f"data.{name}": value for name, value in fields.items()}
    store, config, _ = open_set(resolve(overrides=values), 16, DatasetCache(cache))
    return store, config


def test_networks_see_smaller_images_than_are_packed(tmp_path: Path) -> None:
    store, config = opened(tmp_path, size="16", pack_size="32")
    assert store.spec == ImageSpec(32, 32, 3)
    at_32, _ = opened(tmp_path, size="32")
    np.testing.assert_array_equal(store.whole(), at_32.whole())  # glyphs are drawn large, not enlarged
    parts = build(config, store, CPU)
    assert parts.spec == ImageSpec(16, 16, 3)
    assert parts.feed.take(4).images.shape == (4, 3, 16, 16)
    shown = first_images(store, 9, parts.spec)
    assert shown.shape == (9, 16, 16, 3)
    rows = np.linspace(0, 29, 9).astype(int)
    means = store.images(rows).reshape(9, 16, 2, 16, 2, 3).astype(float).mean((2, 4))
    assert np.abs(shown - means).max() <= 0.5


def test_equal_packed_sizes_share_the_cache(tmp_path: Path) -> None:
    assert opened(tmp_path, size="16", pack_size="16")[0].path == opened(tmp_path, size="16")[0].path
    assert opened(tmp_path, size="8", pack_size="16")[0].path == opened(tmp_path, size="16")[0].path
    assert opened(tmp_path, size="16", pack_size="32")[0].path != opened(tmp_path, size="16")[0].path


def test_training_with_a_pack_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "glyphs", *TINY, "--runs", tmp_path / "r", "--cache", tmp_path / "c", "--images", "16"]
    assert exit_of(*words, "--set", "data.glyphs.count=30", "--set", "data.pack_size=32") == 0
    assert "packed 30 images, 32x32 RGB" in capsys.readouterr().out
    run = next((tmp_path / "r").glob("00000-*"))
    data = read_toml(run / "config.toml")["data"]
    assert (data["size"], data["pack_size"]) == ("16", "32")
    assert read_generator(run / "generator.safetensors")[1].spec == ImageSpec(16, 16, 3)
    assert kantor.load(run, raw=True).generate([0]).shape == (1, 16, 16, 3)
    resumed = ["train", "--resume", run, "--images", "32", "--cache", tmp_path / "c"]
    assert exit_of(*resumed, "--set", "data.pack_size=48") == 2
    assert "data.pack_size: 32 -> 48" in capsys.readouterr().err
    assert exit_of(*resumed) == 0


def test_a_packed_dataset_of_larger_images(tmp_path: Path) -> None:
    out = tmp_path / "large"
    assert exit_of("pack", "glyphs", "--out", out, "--size", "32", "--set", "data.glyphs.count=30") == 0
    source = str(out)
    store, config = opened(tmp_path, source=source, size="16", pack_size="32")
    assert isinstance(store, Store) and store.path == out and config.data.size == "16"
    assert opened(tmp_path, source=source, pack_size="32")[1].data.size == "32"
    for fields, says in (
        ({"size": "16"}, r"16 requested, but .* with 32; .* resized with --set data\.pack_size=32"),
        ({"size": "16", "pack_size": "48"}, r"data\.pack_size: 48 requested, but .* was packed with 32"),
    ):
        with pytest.raises(ConfigError, match=says):
            opened(tmp_path, source=source, **fields)


@pytest.mark.parametrize(
    ("size", "pack_size", "says"),
    [
        ("32", "16", r"data\.pack_size: 16 is smaller than data\.size, 32; make it larger"),
        ("16x32", "32", r"data\.pack_size: 32 has another aspect ratio than data\.size, 16x32; .* such as 32x64"),
    ],
)
def test_invalid_pack_sizes(size: str, pack_size: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        opened(tmp_path, size=size, pack_size=pack_size)
    assert not (tmp_path / "packs").exists()
