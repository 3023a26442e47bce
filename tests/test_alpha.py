"""Premultiplied alpha: there and back, in the feed, in training and in model files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import kantor
from kantor.alpha import premultiplied, straight
from kantor.app.dataset import inspect
from kantor.app.images import at_size
from kantor.config.data import AugmentConfig
from kantor.config.io import layered, resolve
from kantor.config.networks import UpsamplingGenerator
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.export.weights import Card, read_generator, write_generator
from kantor.metrics.diversity import ms_ssim
from kantor.metrics.features import thumbnails, to_float
from kantor.metrics.sliced import swd
from kantor.nets import build_generator
from kantor.sample.generate import generate_images
from kantor.sample.latents import latents
from kantor.types import ImageSpec
from support.engine_fakes import CPU, InMemory

SPEC = ImageSpec(16, 16, 4)


def pixels(count: int = 8) -> np.ndarray:
    images = np.random.default_rng(1).integers(0, 256, (count, *SPEC), np.uint8)
    images[..., 3][np.random.default_rng(2).random((count, 16, 16)) < 0.3] = 0
    return images


def as_float(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_premultiplied_colours_are_those_over_mid_grey() -> None:
    images = pixels()
    x, opacity = as_float(images), as_float(images[..., 3:]) / 2 + 0.5
    new = premultiplied(x)
    torch.testing.assert_close(new[:, :3], opacity * x[:, :3] + (1 - opacity) * 0.0)
    assert torch.equal(new[:, 3:], x[:, 3:])
    assert (new[:, :3][(opacity == 0).expand(-1, 3, -1, -1)] == 0).all()


def test_straight_is_the_inverse() -> None:
    images = pixels()
    back = straight(premultiplied(as_float(images)))
    visible = torch.from_numpy(images[..., 3] > 0)
    torch.testing.assert_close(back.permute(0, 2, 3, 1)[visible], as_float(images).permute(0, 2, 3, 1)[visible])
    assert (back.permute(0, 2, 3, 1)[~visible][:, :3] == 1).all()  # white, as transparent pixels of a dataset


def test_straight_colours_stay_in_range() -> None:
    x = torch.randn(64, 4, 5, 7) * 2
    assert straight(x)[:, :3].abs().max() <= 1


def test_a_feed_averages_premultiplied_colours() -> None:
    """Of a red pixel and three transparent white ones becomes red, a quarter opaque, and nothing pink."""
    store = InMemory(ImageSpec(16, 16, 4), 2)
    store.pixels[:] = (255, 255, 255, 0)
    store.pixels[:, ::2, ::2] = (255, 0, 0, 255)
    feed = Feed(store, 0, CPU, spec=ImageSpec(8, 8, 4), premultiply=True)
    batch = feed.take(2).images
    assert batch.is_contiguous(memory_format=torch.channels_last)
    colours = straight(batch)[0, :, 0, 0]
    torch.testing.assert_close(colours, torch.tensor([1.0, -1.0, -1.0, -0.5]))


@pytest.mark.parametrize("alpha", ["premultiplied", "straight"])
def test_generated_images_are_straight_and_a_model_file_knows(tmp_path: Path, alpha: str) -> None:
    config = UpsamplingGenerator(width=4, latent_dim=4, alpha=alpha)  # type: ignore[arg-type]
    network = build_generator(config, SPEC).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.3)
    z = latents(range(3), 4, "normal")
    with torch.no_grad():
        raw = network(torch.from_numpy(z))
    expected = straight(raw) if alpha == "premultiplied" else raw
    images = generate_images(network, z)
    assert np.abs(as_float(images).numpy() - expected.numpy()).max() <= 1 / 127.5
    assert (np.abs(as_float(images).numpy() - raw.numpy()).max() > 0.1) == (alpha == "premultiplied")
    path = tmp_path / "generator.safetensors"
    write_generator(path, network, Card(SPEC, config, "relativistic", (), 0))
    again, card = read_generator(path)
    assert card.generator.alpha == alpha
    assert np.array_equal(generate_images(again, z), images)


def test_older_runs_and_models_keep_straight_colours() -> None:
    config = resolve("default")
    old = config.model_dump(mode="json")
    del old["generator"]["alpha"]
    assert config.generator.alpha == "premultiplied"
    assert layered(Config(), old, "the checkpoint").generator.alpha == "straight"


def test_images_without_alpha_are_left_alone() -> None:
    network = build_generator(UpsamplingGenerator(width=4, latent_dim=4), ImageSpec(16, 16, 3)).eval()
    assert network.premultiplied is False


def test_scores_and_grids_see_real_images_as_the_feed_does() -> None:
    store = InMemory(ImageSpec(32, 32, 4), 6)
    store.pixels[np.random.default_rng(3).random((6, 32, 32)) < 0.5] = (255, 255, 255, 0)
    feed = Feed(store, 0, CPU, spec=SPEC, premultiply=True)
    rows = [int((store.pixels == image).all((1, 2, 3)).argmax()) for image in store.pixels]
    seen = {
        int(row): image
        for row, image in zip(feed._rows(6), Feed(store, 0, CPU, spec=SPEC, premultiply=True).take(6)[0], strict=True)
    }
    for row in rows:
        expected = straight(seen[row][None]).permute(0, 2, 3, 1).numpy()
        difference = np.abs(
            as_float(at_size(store.images(np.array([row])), SPEC)).permute(0, 2, 3, 1).numpy() - expected
        )
        assert difference.max() <= 1.01 / 255


def test_a_contact_sheet_averages_premultiplied_colours() -> None:
    """Of images too large for it, as of the feed: red beside transparent white stays red."""
    store = InMemory(ImageSpec(256, 256, 4), 2)
    store.pixels[:] = (255, 255, 255, 0)
    store.pixels[:, ::2, ::2] = (255, 0, 0, 255)
    small = inspect._small(store, np.arange(2))  # type: ignore[arg-type]
    assert small.shape == (2, 128, 128, 4) and (small[..., :3] == (255, 0, 0)).all()


def test_scores_count_colours_by_their_alpha() -> None:
    """What is behind transparency, or nearly, must not tell real images from generated ones."""
    images = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 4), np.uint8)
    transparent = np.random.default_rng(3).random((6, 32, 32)) < 0.5
    images[transparent] = (0, 0, 0, 0)
    others, faint = images.copy(), images.copy()
    others[transparent] = (255, 255, 255, 0)
    faint[transparent] = (255, 0, 255, 1)
    assert np.array_equal(thumbnails(images), thumbnails(others))
    assert np.abs(thumbnails(images).astype(int) - thumbnails(faint)).max() <= 1
    assert swd(others, images, 0).mean == 0 < swd(faint, images, 0).mean < 10
    a, b, c = (to_float(torch.from_numpy(x)) for x in (images, others, faint))
    assert torch.equal(ms_ssim(a, b), torch.ones(6, dtype=torch.float64)) and ms_ssim(a, c).min() > 0.999
    white = to_float(torch.tensor([255, 255, 255, 255], dtype=torch.uint8).view(1, 1, 1, 4))
    assert white.flatten().tolist() == [255.0] * 4


def test_an_augmented_edge_shows_no_hidden_colour() -> None:
    """A black disc on transparent white, turned: nothing visible is paler than the disc."""
    y, x = np.mgrid[:32, :32] - 15.5
    disc = np.where((x**2 + y**2 < 100)[..., None], (0, 0, 0, 255), (255, 255, 255, 0)).astype(np.uint8)
    store = InMemory(ImageSpec(32, 32, 4), 4)
    store.pixels[:] = disc
    turned = Feed(store, 0, CPU, augment=AugmentConfig(rotation=40.0), premultiply=True).take(4).images
    colours = straight(turned)
    visible = (turned[:, 3] > -0.95)[:, None].expand(-1, 3, -1, -1)
    assert visible.any() and float(colours[:, :3][visible].max()) < -0.99
    untouched = Feed(store, 0, CPU, augment=AugmentConfig(brightness=(1.0, 1.0)), premultiply=True).take(4).images
    torch.testing.assert_close(untouched, premultiplied(as_float(store.pixels)))


def test_a_model_file_of_before_has_straight_colours(tmp_path: Path) -> None:
    class Before(UpsamplingGenerator):
        def model_dump(self, **how: Any) -> dict[str, Any]:
            fields = super().model_dump(**how)
            del fields["alpha"]
            return fields

    config = Before(width=4, latent_dim=4, alpha="straight")
    path = tmp_path / "generator.safetensors"
    write_generator(path, build_generator(config, SPEC), Card(SPEC, config, "relativistic", (), 0))
    network, card = read_generator(path)
    assert card.generator.alpha == "straight" and network.premultiplied is False


def test_a_critic_scores_real_images_as_it_was_trained_on_them(tmp_path: Path) -> None:
    """An image is worth as much as its copy with other hidden colours."""
    np.save(tmp_path / "images.npy", pixels(32))
    tiny = {"generator.width": 4, "critic.width": 4, "train.precision": "float32", "data.holdout": 0.0}
    run = kantor.train(
        tmp_path / "images.npy", images=64, batch=8, size=16, channels="rgba", runs=tmp_path / "runs", device="cpu",
        quiet=True, overrides=tiny,
    )  # fmt: skip
    assert resolve(file=run.path / "config.toml").train.augment == 1.0
    assert kantor.load(run).network.premultiplied
    scores = kantor.evaluate(run, metrics=["critic"], count=32)
    assert np.isfinite(scores["critic_t"].value)
