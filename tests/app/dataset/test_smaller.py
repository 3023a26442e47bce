"""Conditions that are the images themselves, reduced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import open_set
from kantor.app.dataset.recover import open_again
from kantor.app.dataset.smaller import Pixelated, check_enlarging
from kantor.config.io import resolve
from kantor.data.loading.feed import Feed
from kantor.errors import ConfigError, DataError
from kantor.types import ImageSpec
from support.engine_fakes import CPU, InMemory


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_conditions_are_means_of_squares(channels: int, times: int) -> None:
    images = InMemory(ImageSpec(16, 24, channels), 3)
    pairs = Pixelated(images, images.spec, times)
    rows = np.arange(3)
    blocks = images.images(rows).reshape(3, 16 // times, times, 24 // times, times, channels).mean((2, 4))
    wanted = np.rint(blocks).repeat(times, 1).repeat(times, 2)
    found = pairs.conditions(rows)
    assert found.shape == (3, 16, 24, channels) and found.dtype == np.uint8
    assert np.abs(found - wanted).max() <= 1 and (found == wanted).mean() > 0.9, "halves may round either way"
    assert pairs.condition_channels == channels and pairs.condition_settings == {"smaller": times}
    assert pairs.fingerprint != Pixelated(images, images.spec, 6 - times).fingerprint != images.fingerprint


def test_transparent_pixels_lend_no_colour() -> None:
    images = InMemory(ImageSpec(8, 8, 4), 1)
    images.pixels[:] = (255, 0, 0, 0)
    images.pixels[:, ::2, ::2] = (0, 200, 0, 255)
    condition = Pixelated(images, images.spec, 2).conditions(np.arange(1))
    assert (np.abs(condition.astype(int) - (0, 200, 0, 64)) <= 2).all()


def test_the_feed_gives_both_at_the_size_of_training() -> None:
    """Packed twice as large and mirrored: the condition stays the image's own, to rounding."""
    spec = ImageSpec(16, 16, 3)
    pairs = Pixelated(InMemory(ImageSpec(32, 32, 3), 6), spec, 4)
    batch = Feed(pairs, 7, CPU, mirror=True, spec=spec).take(6)
    assert batch.condition is not None and batch.condition.shape == batch.images.shape == (6, 3, 16, 16)
    small = torch.nn.functional.avg_pool2d(batch.images, 4)
    wanted = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(batch.condition, wanted, rtol=0, atol=1.01 / 255)


def test_sizes_that_cannot_be_divided() -> None:
    with pytest.raises(ConfigError, match=r"data\.size: 18x30 .* data\.smaller = 4; use --size 16x32"):
        Pixelated(InMemory(ImageSpec(18, 30, 3)), ImageSpec(18, 30, 3), 4)
    with pytest.raises(ConfigError, match=r"data\.pack_size: 24x24 is no multiple"):
        Pixelated(InMemory(ImageSpec(24, 24, 3)), ImageSpec(20, 20, 3), 2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"generator.times": 4}, r"generator\.times = 4: .* add --set data\.smaller=4"),
        ({"data.condition": "edges"}, r"but data\.condition is edges; use --set data\.condition=smaller"),
        ({"train.conditional": True}, r"leave --conditional out"),
        ({"generator.slim": "auto"}, r"--slim auto: .*; give a number"),
        (
            {"generator": {"kind": "unet"}},
            r"data\.condition = smaller: .* generator\.kind is unet; use --preset upscale",
        ),
    ],
)
def test_generators_that_enlarge_otherwise(fields: dict[str, Any], words: str) -> None:
    check_enlarging(resolve("upscale"))
    with pytest.raises(ConfigError, match=words):
        check_enlarging(resolve("upscale", overrides=fields))


def test_open_set_reduces_after_it_has_packed(tmp_path: Path) -> None:
    fields = {"data.size": "16", "data.glyphs.count": 40, "data.channels": "rgb"}
    config = resolve("upscale", overrides=fields)
    lines: list[str] = []
    images, _, _ = open_set(config, 16, DatasetCache(tmp_path, note=lines.append))
    assert 0 < images.count < 40, "some are held out"
    first = np.arange(2)
    conditions = images.conditions(first)
    assert conditions is not None and np.array_equal(conditions[:, ::2], conditions[:, 1::2])
    assert len(list((tmp_path / "packs").iterdir())) == 1


def test_a_run_goes_on_from_the_packed_copy(tmp_path: Path) -> None:
    """Its fingerprint says which copy in the cache was reduced, and by how much."""
    source = tmp_path / "pictures"
    source.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(source / f"{number}.png")
    cache = DatasetCache(tmp_path / "cache")
    config = resolve("upscale", overrides={"data.source": str(source), "data.size": "16", "data.holdout": 0.2})
    before, config, _ = open_set(config, 16, cache)
    source.rename(tmp_path / "away")
    after = open_again(config, before.fingerprint, cache)
    rows = np.arange(before.count)
    assert after.count == before.count and np.array_equal(after.images(rows), before.images(rows))
    assert np.array_equal(np.asarray(after.conditions(rows)), np.asarray(before.conditions(rows)))
    with pytest.raises(DataError, match="no longer there"):
        open_again(config, Pixelated(after, after.spec, 4).fingerprint, cache)
