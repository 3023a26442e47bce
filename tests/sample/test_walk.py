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

import kantor
from kantor.app.class_names import split_classes
from kantor.app.sampling.walk import Film, walk_inputs
from kantor.export.weights import Card
from kantor.sample.animation import animation_bytes, shown
from kantor.sample.walk import arc, ease, loop_of_four, walk
from kantor.types import ImageSpec
from support.commands import TINY, exit_of
from support.models import write_model


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
    assert shown(np.zeros((32, 16, 1), np.uint8), 8).shape == (256, 128, 3)
    assert shown(np.zeros((300, 300, 3), np.uint8), 1).shape == (300, 300, 3)
    assert len(np.unique(shown(np.zeros((32, 32, 4), np.uint8), 1))) > 1


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
        wanted = np.asarray(Image.open(tmp_path / "g" / f"seed-{seed:08d}-B.png"))
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
        (["--seeds", "3,4", "--out", "a.jpg"], 2, "choose one of: .gif, .webp, .mp4, .png; or end it with /"),
        (["--seeds", "3,4", "--out", "there.gif"], 2, "already exists"),
        (["--seeds", "3,4", "--out", "a.gif", "--frames", "100000"], 2, "100,000 images in all"),
        (["--seeds", "0-9999", "--out", "a.png", "--columns", "64"], 2, "a smaller --columns"),
        (["--seeds", "0-99", "--out", "a.webp", "--frames", "100"], 2, "would take 4 GB of memory"),
        (["--seeds", "0-9", "--scale", "64", "--out", "a.gif", "--frames", "500"], 2, "GIF: 4,501 images of this size"),
        (["--seeds", "0-15", "--grid", "4x4", "--out", "a.gif"], 2, "name 32 seeds, such as --seeds 0-31"),
        (["--seeds", "0-4", "--grid", "2x1", "--out", "a.gif"], 2, "5 seeds cannot be shared out over 2 walks"),
        (["--seeds", "0-3", "--grid", "2x1", "--out", "a.png"], 2, "a strip has a row for each walk"),
        (["--seeds", "smooth", "--grid", "2x1", "--out", "a.gif"], 2, "smooth picks the seeds of one walk"),
        (["--seeds", "0-199", "--grid", "10x10", "--frames", "5000", "--out", "a/"], 2, "500,000 images in all"),
        (["--seeds", "3 x", "--out", "a.gif"], 2, '"x" is not a seed'),
        (["--seeds", "3,4", "--out", "frames"], 2, "or end it with / for a folder of frames"),
        (["--seeds", "3,4", "--out", ""], 2, "is the current folder"),
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


# --- films of models that nobody trained ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("drawn"), ("K", "B"))


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of images with alpha."""
    return write_model(tmp_path_factory.mktemp("clear"), spec=ImageSpec(16, 16, 4))


def frames_of(path: Path) -> list[np.ndarray]:
    images = []
    with Image.open(path) as film:
        for i in range(film.n_frames):  # type: ignore[attr-defined]
            film.seek(i)
            images.append(np.asarray(film.convert("RGBA" if path.suffix == ".webp" else "RGB")))
    return images


def pngs(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def test_frames_in_a_folder(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pixels are those of Python; a second walk replaces only frames of the same name."""
    out = f"{tmp_path / 'f'}/"
    assert exit_of("walk", drawn, "--seeds", "3 8", "--frames", 4, "--scale", 1, "--out", out) == 0
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [f"0000{i}.png" for i in range(5)]
    np.testing.assert_array_equal(pngs(tmp_path / "f"), kantor.load(drawn).walk([3, 8], frames=4))
    short = ["walk", drawn, "--seeds", "5,6", "--frames", 2, "--scale", 1, "--out", tmp_path / "f"]
    assert exit_of(*short) == 2
    assert "00000.png: already exists" in capsys.readouterr().err
    before = pngs(tmp_path / "f")
    assert exit_of(*short, "--overwrite") == 0
    assert "also holds frames of a longer walk, from 00003.png on" in capsys.readouterr().out
    after = pngs(tmp_path / "f")
    assert [bool((a == b).all()) for a, b in zip(before, after, strict=True)] == [False] * 3 + [True] * 2
    (tmp_path / "f" / "mine.jpg").write_bytes(b"x")
    assert exit_of(*short, "--overwrite") == 2
    assert "contains mine.jpg" in capsys.readouterr().err


def test_alpha_is_kept_in_frames_and_webp(clear: Path, tmp_path: Path) -> None:
    """GIF and MP4 show a checkerboard in its place."""
    words = ["--seeds", "3,8", "--frames", 3, "--scale", 2]
    for out in ("f/", "a.webp", "a.gif"):
        assert exit_of("walk", clear, *words, "--out", f"{tmp_path}/{out}") == 0
    frames, film = pngs(tmp_path / "f"), frames_of(tmp_path / "a.webp")
    assert frames[0].shape == film[0].shape == (32, 32, 4)
    assert len(np.unique(frames[0][..., 3])) > 2
    assert np.abs(film[0][..., 3].astype(int) - frames[0][..., 3]).max() <= 2
    assert frames_of(tmp_path / "a.gif")[0].shape == (32, 32, 3)


def test_a_grid_of_walks_is_each_walk_in_its_cell(drawn: Path, tmp_path: Path) -> None:
    """Four seeds in two cells: the left one walks from 1 to 2, the right one from 7 to 4; classes go with seeds."""
    words = ["--frames", 3, "--scale", 1]
    both = ["--seeds", "1,2,7,4", "--class", "K,K,B,K", "--grid", "2x1", "--out", f"{tmp_path}/both/"]
    assert exit_of("walk", drawn, *words, *both) == 0
    for name, seeds, classes in (("left", "1,2", "K,K"), ("right", "7,4", "B,K")):
        assert exit_of("walk", drawn, *words, "--seeds", seeds, "--class", classes, "--out", f"{tmp_path}/{name}/") == 0
    together = np.stack(pngs(tmp_path / "both"))
    assert together.shape == (4, 20, 2 + 2 * 18, 3)
    np.testing.assert_array_equal(together[:, 2:18, 2:18], pngs(tmp_path / "left"))
    np.testing.assert_array_equal(together[:, 2:18, 20:36], pngs(tmp_path / "right"))


def test_a_gif_has_the_size_that_was_asked_for(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gif"
    assert exit_of("walk", drawn, "--seeds", "3,8", "--frames", 1, "--scale", 41, "--smooth", "--out", out) == 0
    assert frames_of(out)[0].shape == (656, 656, 3)
    assert exit_of("walk", drawn, "--seeds", "0-31", "--grid", "4x4", "--frames", 1, "--out", tmp_path / "b.gif") == 0
    assert max(frames_of(tmp_path / "b.gif")[0].shape) <= 640


def test_captions_of_films_and_strips(drawn: Path, tmp_path: Path) -> None:
    """A film has a line of text below, at one height; a strip names its ends."""
    assert exit_of("walk", drawn, "--seeds", "3,8", "--frames", 2, "--captions", "--out", f"{tmp_path}/f/") == 0
    frames = pngs(tmp_path / "f")
    assert len({frame.shape for frame in frames}) == 1
    assert [(frame[260:].max(2) < 150).any() for frame in frames] == [True] * 3
    np.testing.assert_array_equal(frames[0][260:], frames[1][260:])
    assert (frames[2][260:] != frames[1][260:]).any()
    strip = tmp_path / "s.png"
    assert exit_of("walk", drawn, "--seeds", "3,8", "--columns", 4, "--captions", "--out", strip) == 0
    below = np.asarray(Image.open(strip))[98:].max(2) < 150
    assert [below[:, 98 * i : 98 * i + 98].any() for i in range(4)] == [True, False, False, True]


def test_what_a_film_says() -> None:
    film = Film([[3, 9], [4, 4]], [[0, 1], [1, 1]], ("K", "B"), 2, loop=False)
    assert film.captions(0) == ["seed 3 → 9, K → B"] * 2 + ["seed 9, B"]
    assert film.captions(1) == ["seed 4 → 4, B"] * 2 + ["seed 4, B"]
    assert Film([[3, 9]], None, (), 1, loop=True).captions(0) == ["seed 3 → 9", "seed 9 → 3"]
