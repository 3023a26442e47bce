"""Walks: the maths of the way, and animations and strips as a user gets them."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kantor.app.sampling.generate import split_classes
from kantor.app.sampling.walk import walk_inputs
from kantor.export.weights import Card
from kantor.sample.animation import animation_bytes, shown
from kantor.sample.walk import arc, ease, loop_of_four, walk
from kantor.types import ImageSpec
from support.commands import TINY, exit_of


def points(count: int, dim: int = 5) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, dim)).astype(np.float32)


def test_arc_between_orthogonal_directions() -> None:
    """Closed form: cos and sin of the angle, the length going evenly from 2 to 4."""
    t = np.linspace(0, 1, 7)[:, None]
    got = arc(np.array([2.0, 0, 0]), np.array([0, 4.0, 0]), t)
    wanted = (2 + 2 * t) * np.concatenate([np.cos(t * np.pi / 2), np.sin(t * np.pi / 2), 0 * t], axis=1)
    np.testing.assert_allclose(got, wanted, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 64])
def test_the_angle_of_an_arc_grows_evenly(dim: int) -> None:
    a, b = points(2, dim).astype(np.float64)
    way = arc(a, b, np.linspace(0, 1, 11)[:, None])
    unit = way / np.linalg.norm(way, axis=1, keepdims=True)
    turned = np.arccos(np.clip((unit[1:] * unit[:-1]).sum(1), -1, 1))
    np.testing.assert_allclose(turned, turned[0], rtol=1e-6)
    np.testing.assert_allclose(np.diff(np.linalg.norm(way, axis=1), 2), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("a", "b"),
    [([1.0, 2, 3], [1.0, 2, 3]), ([1.0, 2, 3], [-1.0, -2, -3]), ([0.0, 0, 0], [1.0, 0, 0]), ([1.0], [-2.0]), ([1.0, 2, 3], [2.0, 4, 6])],
)  # fmt: skip
def test_arcs_between_special_points_are_finite_and_arrive(a: list[float], b: list[float]) -> None:
    way = arc(np.array(a), np.array(b), np.linspace(0, 1, 9)[:, None])
    assert np.isfinite(way).all()
    np.testing.assert_allclose(way[[0, -1]], [a, b], atol=1e-6)
    if len(a) > 1 and np.allclose(a, [-x for x in b]):  # to the opposite point it goes round, not through the middle
        np.testing.assert_allclose(np.linalg.norm(way, axis=1), np.linalg.norm(a))


def test_easing() -> None:
    t = np.linspace(0, 1, 5)
    np.testing.assert_allclose(ease(t, "smooth"), [0, 0.15625, 0.5, 0.84375, 1])
    np.testing.assert_array_equal(ease(t, "linear"), t)


@pytest.mark.parametrize("straight", [True, False])
def test_a_walk_passes_its_points_and_a_loop_closes_without_a_pause(straight: bool) -> None:
    stops = points(3)
    way = walk(stops, 4, straight)
    assert way.shape == (9, 5)
    np.testing.assert_array_equal(way[[0, 4, 8]], stops)
    ring = walk(stops, 4, straight, loop=True)
    assert ring.shape == (12, 5)
    np.testing.assert_array_equal(ring[:9], way)
    assert not (ring[-1] == ring[0]).all()
    if straight:
        np.testing.assert_allclose(way[1], stops[0] + (stops[1] - stops[0]) / 4, rtol=1e-5, atol=1e-6)


def frames(count: int, side: tuple[int, int] = (9, 11)) -> Any:
    return (np.full((*side, 3), 20 * i % 256, np.uint8) for i in range(count))


@pytest.mark.parametrize("kind", [".gif", ".webp"])
def test_animations_have_all_their_frames(kind: str) -> None:
    """More than the 200 that an animation of a run keeps."""
    animation = Image.open(io.BytesIO(animation_bytes(frames(12 if kind == ".webp" else 230), kind, 20, loop=True)))
    assert animation.n_frames == (12 if kind == ".webp" else 230)  # type: ignore[attr-defined]
    assert animation.size == (11, 9)
    animation.seek(5)
    animation.load()
    assert animation.info["duration"] == 50
    assert animation.info["loop"] == 0


def test_mp4_plays() -> None:
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    with av.open(io.BytesIO(animation_bytes(frames(10), ".mp4", 12.5, loop=False))) as animation:
        images = [f.to_ndarray(format="rgb24") for f in animation.decode(video=0)]
        assert float(animation.streams.video[0].average_rate) == 12.5
    assert len(images) == 10
    assert images[0].shape == (10, 12, 3)  # padded to even sides
    assert all(abs(float(p.mean()) - 20 * i) < 4 for i, p in enumerate(images))


def test_small_images_are_enlarged_and_transparent_ones_laid_on_a_checkerboard() -> None:
    assert shown(np.zeros((32, 16, 1), np.uint8)).shape == (256, 128, 3)
    assert shown(np.zeros((300, 300, 3), np.uint8)).shape == (300, 300, 3)
    assert len(np.unique(shown(np.zeros((32, 32, 4), np.uint8)))) > 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    few = ["--set", "data.glyphs.count=40", "--images", "8", "--conditional"]
    assert exit_of("train", "glyphs", *TINY, *few, "--runs", folder) == 0
    return next(folder.glob("00000-*"))


def test_a_strip_shows_the_images_of_its_seeds(model: Path, tmp_path: Path) -> None:
    """Rows are legs with both ends in them; the ends are those that generate draws, pixel for pixel."""
    assert exit_of("generate", model, "--seeds", "3,9,12", "--out", tmp_path / "g", "--class", "B") == 0
    strip = tmp_path / "strip.png"
    assert exit_of("walk", model, "--seeds", "3,9,12", "--class", "B", "--columns", 5, "--out", strip) == 0
    sheet = np.asarray(Image.open(strip))
    scale = (sheet.shape[0] - 6) // 2 // 16
    places = {(0, 0): 3, (0, 4): 9, (1, 0): 9, (1, 4): 12}
    for (row, column), seed in places.items():
        top, left = 2 + row * (16 * scale + 2), 2 + column * (16 * scale + 2)
        seen = sheet[top : top + 16 * scale : scale, left : left + 16 * scale : scale]
        wanted = np.asarray(Image.open(tmp_path / "g" / f"seed-{seed:08d}.png"))
        np.testing.assert_array_equal(seen, wanted)


def test_the_shortest_and_the_longest_round_trip() -> None:
    """Against all round trips of four of seven points, in every order."""
    points = np.random.default_rng(3).normal(size=(7, 2))
    lengths = np.linalg.norm(points[:, None] - points[None], axis=2)

    def total(trip: Any) -> float:
        return float(sum(lengths[trip[i], trip[(i + 1) % 4]] for i in range(4)))

    every = [total(trip) for trip in itertools.permutations(range(7), 4)]
    assert total(loop_of_four(lengths, False)) == pytest.approx(min(every))
    assert total(loop_of_four(lengths, True)) == pytest.approx(max(every))


def test_smooth_and_rough_ways(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for trip in ("smooth", "rough"):
        strip = tmp_path / f"{trip}.png"
        assert exit_of("walk", model, "--seeds", trip, "--class", "B", "--columns", 6, "--loop", "--out", strip) == 0
        out = capsys.readouterr().out
        seeds = re.search(rf"the {trip} walk passes seeds (\d+,\d+,\d+,\d+)", out)
        assert seeds, out
        again = tmp_path / f"{trip}-again.png"
        assert (
            exit_of("walk", model, "--seeds", seeds[1], "--class", "B", "--columns", 6, "--loop", "--out", again) == 0
        )
        assert again.read_bytes() == strip.read_bytes()
    assert exit_of("walk", model, "--seeds", "smooth", "--out", tmp_path / "no.png") == 2
    assert "name a --class" in capsys.readouterr().err


def test_a_animation_of_classes(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "walk.webp"
    words = ["--seeds", "3,3", "--class", "K", "--class", "B", "--frames", 4, "--loop", "--easing", "smooth"]
    assert exit_of("walk", model, *words, "--out", out) == 0
    animation = Image.open(out)
    assert animation.size == (256, 256)
    lasts = 0
    for i in range(animation.n_frames):  # type: ignore[attr-defined]
        animation.seek(i)
        animation.load()
        lasts += animation.info["duration"]
    assert lasts == 8 * 40  # frames that are equal are stored once and last longer


def test_classes_between_commas(model: Path, tmp_path: Path) -> None:
    """As good as given one by one; a class whose own name has a comma stays whole."""
    once, apart = tmp_path / "once.png", tmp_path / "apart.png"
    assert exit_of("walk", model, "--seeds", "3,4", "--class", "K,B", "--out", once) == 0
    assert exit_of("walk", model, "--seeds", "3,4", "--class", "K", "--class", "B", "--out", apart) == 0
    assert once.read_bytes() == apart.read_bytes()
    generator = SimpleNamespace(latent_dim=3, latent="normal")
    card = Card(ImageSpec(8, 8, 1), generator, "hinge", ("cats", "cats, sitting"), 0)
    assert split_classes(["cats, sitting"], card) == ["cats, sitting"]
    assert split_classes(["cats,birds"], card) == ["cats", "birds"]
    _, shares = walk_inputs(card, [1, 2], ["cats", 1], 2, False, False, "linear", 1.0)
    np.testing.assert_array_equal(shares, [[1, 0], [0.5, 0.5], [0, 1]])


def test_a_class_with_a_comma_in_its_name_is_found_in_a_list_and_without_its_blank() -> None:
    generator = SimpleNamespace(latent_dim=3, latent="normal")
    names = ("tench, Tinca tinca", "goldfish", "Smiling, Male", "Smiling, not Male")
    card = Card(ImageSpec(8, 8, 1), generator, "hinge", names, 0)
    assert split_classes(["Smiling,Male"], card) == ["Smiling, Male"]
    assert split_classes(["goldfish,tench,Tinca tinca,Smiling, not Male"], card) == [
        "goldfish", "tench, Tinca tinca", "Smiling, not Male",
    ]  # fmt: skip
    assert split_classes(["Smiling,goldfish"], card) == ["Smiling", "goldfish"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--seeds", "3", "--out", "a.gif"], 2, "a walk needs two or more seeds"),
        (["--seeds", "3,x", "--out", "a.gif"], 2, '"x" is not a seed'),
        (["--seeds", "3,4", "--out", "a.jpg"], 2, "choose one of: .gif, .webp, .mp4, .png"),
        (["--seeds", "3,4", "--out", "there.gif"], 2, "already exists"),
        (["--seeds", "3,4", "--out", "a.gif", "--frames", "100000"], 2, "100,000 images in all"),
        (["--seeds", "0-9999", "--out", "a.png", "--columns", "64"], 2, "a smaller --columns"),
        (["--seeds", "0-99", "--out", "a.webp", "--frames", "100"], 2, "would take 4 GB of memory"),
        (["--seeds", "3,4", "--out", "a.gif", "--class", "Ä"], 2, "no such class"),
        (["--seeds", "3,4,5", "--out", "a.gif", "--class", "K", "--class", "B"], 2, "2 classes for 3 seeds"),
        (["--seeds", "3,4,5", "--out", "a.gif", "--class", "K,B"], 2, "2 classes for 3 seeds"),
        (["--seeds", "3,4", "--out", "a.gif", "--class", "K,"], 2, "no such class"),
        (["--seeds", "3,4", "--out", "a.gif", "--easing", "bouncy"], 2, "easing"),
        (["--seeds", "3,4", "--out", "there.gif/a.gif"], 5, "there.gif"),
    ],
)
def test_bad_input(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], code: int, says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("there.gif").write_bytes(b"x")
    assert exit_of("walk", model, *words) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["there.gif"]


def test_a_image_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert exit_of("walk", tmp_path / "a.png", "--seeds", "1,2", "--out", tmp_path / "w.gif") == 4
    assert "is an image, not a model" in capsys.readouterr().err


def test_mp4_without_its_package(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert exit_of("walk", model, "--seeds", "1,2", "--out", tmp_path / "w.mp4") == 5
    assert "pip install 'kantor[video]'" in capsys.readouterr().err
