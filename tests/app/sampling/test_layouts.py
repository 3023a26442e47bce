"""Layouts: pictures packed as silhouettes, places read back from them, `kantor compose --layout`."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("skimage", reason="the extra `edges` is not installed")

from kantor.app.dataset.options import PackOptions
from kantor.app.dataset.pack import pack_source
from kantor.app.sampling.layouts import make_layouts
from kantor.data.loading.store import Store
from kantor.export.weights import read_generator
from kantor.progress import silent
from kantor.sample.compose import premultiplied
from kantor.sample.layout import MOST, Place, find_places, sprite_seeds, stand
from kantor.types import ImageSpec
from support.commands import exit_of
from support.models import write_model
from support.paths import ROOT

Box = tuple[int, int, int, int]  # left, top, right, bottom


def boxes(seed: int) -> list[Box]:
    """Up to five boxes in 128x128, in columns of their own, the lower the larger."""
    random = np.random.default_rng(seed)
    found = []
    for column in range(1 + seed % 5):
        bottom = int(random.integers(50, 125))
        height, width = round(bottom * random.uniform(0.12, 0.2)), round(bottom * random.uniform(0.08, 0.15))
        left = 4 + 25 * column + int(random.integers(0, 4))
        found.append((left, bottom - height, left + width, bottom))
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Scenes of ellipses as layouts at half their size: on white, on nothing; one picture without an object."""
    folder, out = tmp_path_factory.mktemp("scenes"), tmp_path_factory.mktemp("packed") / "layouts"
    for seed in range(20):
        clear = seed >= 10
        scene = Image.new("RGBA" if clear else "RGB", (128, 128), (0, 0, 0, 0) if clear else "white")
        for left, top, right, bottom in boxes(seed):
            ImageDraw.Draw(scene).ellipse((left, top, right - 1, bottom - 1), fill=(200, 30 * seed % 200, 60))
        scene.save(folder / f"{seed:02}.png")
    Image.new("RGB", (128, 128), "white").save(folder / "empty.png")
    words = {"sources": [str(folder)], "out": out, "objects": "layout", "size": "64"}
    lines = pack_source(PackOptions.from_words({**words, "overrides": {"data.objects_smallest": 0.001}}), silent)
    assert "60 objects in 20 images: 20 by parts; no object in 1 image" in lines
    assert any("silhouettes are grey" in line for line in lines)
    return Store.open(out)


def test_scenes_become_layouts_and_these_become_places(store: Store) -> None:
    """The true boxes come back within a pixel of the layout, from back to front."""
    layouts = store.images(np.arange(store.count))
    assert layouts.shape == (20, 64, 64, 1)
    for name, layout in zip(store.names(), layouts, strict=True):
        places = find_places(layout, smallest=0.001)
        wanted = sorted(boxes(int(name[:2])), key=lambda box: box[3])
        assert len(places) == len(wanted), name
        assert [place.base for place in places] == sorted(place.base for place in places)
        for left, top, right, bottom in wanted:
            centre = ((left + right) / 2 / 128, (top + bottom) / 2 / 128)
            near = min(places, key=lambda place: abs(place.centre[0] - centre[0]))
            assert np.abs(np.subtract(near.centre, centre)).max() <= 1 / 64
            assert abs(near.extent - max(bottom - top, right - left) / 128) <= 2 / 64, "each edge within a pixel"
            assert abs(near.base - bottom / 128) <= 1 / 64


def test_what_has_alpha_is_as_opaque_in_its_layout(tmp_path: Path) -> None:
    sprite = np.zeros((64, 64, 4), np.uint8)
    sprite[20:40, 10:50] = (250, 10, 10, 180)
    Image.fromarray(sprite).save(tmp_path / "glass.png")
    words = {"sources": [str(tmp_path / "glass.png")], "out": tmp_path / "out", "objects": "layout", "size": "64"}
    pack_source(PackOptions.from_words(words), silent)
    (layout,) = Store.open(tmp_path / "out").images(np.arange(1))
    np.testing.assert_array_equal(layout[:, :, 0], np.where(sprite[:, :, 3] > 0, 180, 0))


def test_other_shapes_are_padded_with_black(tmp_path: Path) -> None:
    wide = Image.new("RGB", (100, 50), "white")
    ImageDraw.Draw(wide).rectangle((40, 20, 59, 39), fill="navy")
    wide.save(tmp_path / "wide.png")
    words = {"sources": [str(tmp_path / "wide.png")], "out": tmp_path / "out", "objects": "layout", "size": "100"}
    pack_source(PackOptions.from_words({**words, "fit": "contain"}), silent)
    (layout,) = Store.open(tmp_path / "out").images(np.arange(1))
    assert (layout > 127).sum() == 400 and find_places(layout) == [Place((0.5, 0.55), 0.2, 0.65)]


def test_places_of_a_layout_made_by_hand() -> None:
    """Grey is no object, specks are none, parts that touch at a corner are one; the largest 64 count."""
    layout = np.zeros((32, 64, 1), np.uint8)
    layout[2:6, 4:8] = 255
    layout[20:30, 30:34] = 200
    layout[10:14, 50:52] = 127
    layout[16:18, 60:62] = 255
    layout[18:22, 62:64] = 255
    layout[0, 20:23] = 255
    near, back = Place((32 / 64, 25 / 32), 10 / 32, 30 / 32), Place((6 / 64, 4 / 32), 4 / 32, 6 / 32)
    assert find_places(layout) == [back, Place((62 / 64, 19 / 32), 6 / 32, 22 / 32), near]
    assert find_places(layout, smallest=0.01) == [near]
    assert len(find_places(layout, smallest=0.001)) == 4
    assert find_places(np.zeros((32, 32, 1), np.uint8)) == []
    dots = np.zeros((64, 64, 1), np.uint8)
    dots[::4, ::4] = 255
    assert len(find_places(dots, smallest=0.0001)) == MOST


def test_sprites_stand_on_the_lower_edge() -> None:
    """Of a wide sprite, with room around it, in a place that was high; in a picture of another shape."""
    sprite = np.zeros((16, 16, 4), np.uint8)
    sprite[6:10, 2:14] = 255
    placed = stand(premultiplied(sprite), Place((0.25, 0.5), 0.5, 0.7), (100, 200))
    assert (placed.width, placed.height) == (50, 17) and placed.left == 25 and placed.top + placed.height == 70


def test_scenes_of_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`scripts/scenes.py`, whose rule docs/compose.md measures: what stands lower is larger, and nothing touches."""
    (tmp_path / "sprites").mkdir()
    Image.new("RGBA", (64, 64), (90, 0, 0, 255)).save(tmp_path / "sprites" / "a.png")
    script = str(ROOT / "scripts" / "scenes.py")
    monkeypatch.setattr("sys.argv", [script, str(tmp_path / "sprites"), str(tmp_path), "--count", "12"])
    runpy.run_path(script, run_name="__main__")
    assert len(list((tmp_path / "grounds").iterdir())) == 12
    places = []
    for path in sorted((tmp_path / "scenes").iterdir()):
        with Image.open(path) as scene:
            sprites = np.asarray(scene)[:, :, 1:2] == 0
        places += find_places(np.where(sprites, np.uint8(255), np.uint8(0)))
    assert len(places) > 24
    for place in places:
        assert abs(place.extent - (0.1 + 0.16 * (place.base - 0.45) / 0.47)) < 0.01


def test_seeds_of_sprites() -> None:
    assert sprite_seeds(3, 4) == [192, 193, 194, 195] and sprite_seeds(0, 0) == []
    assert all(0 <= seed < 2**64 for seed in sprite_seeds(2**64 - 1, 64))


# --- compose -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "sprites", (), ImageSpec(16, 16, 4))
    write_model(folder / "layouts", (), ImageSpec(32, 32, 1))
    write_model(folder / "rgb")
    return folder


def test_compose_by_layout(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture has the layout of its seed: as many sprites, of its own seeds, on the lower edges; twice the same."""
    monkeypatch.chdir(models)
    words = ["#88aacc", "transparent", "--size", "64", "--layout", "layouts/generator.safetensors", "--seeds", 5]
    for out in ("a", "b"):
        assert exit_of("compose", "sprites/generator.safetensors", *words, "--out", tmp_path / out) == 0
    written = json.loads((tmp_path / "a" / "places.json").read_text("utf-8"))["pictures"]
    assert [entry["layout"] for entry in written] == [5, 6]
    network, card = read_generator(models / "layouts" / "generator.safetensors")
    layouts = make_layouts(network, card, [5, 6], 1.0)
    assert sum(len(layout.places) for layout in layouts) > 0
    for entry, layout in zip(written, layouts, strict=True):
        assert [sprite["seed"] for sprite in entry["sprites"]] == sprite_seeds(layout.seed, len(layout.places))
        for sprite, place in zip(entry["sprites"], layout.places, strict=True):
            assert sprite["top"] + sprite["height"] == round(place.base * 64)
    assert (tmp_path / "a" / "88aacc.png").read_bytes() == (tmp_path / "b" / "88aacc.png").read_bytes()


def test_an_empty_layout_is_an_empty_picture(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kantor.app.sampling.layouts.find_places", lambda image, smallest: [])
    monkeypatch.chdir(models)
    words = ["sprites/generator.safetensors", "#102030", "--layout", "layouts/generator.safetensors", "--size", "16"]
    assert exit_of("compose", *words, "--out", tmp_path / "out") == 0
    assert "the layout of seed 0 is empty: no sprite stands in its picture" in capsys.readouterr().out
    assert (np.asarray(Image.open(tmp_path / "out" / "102030.png")) == (0x10, 0x20, 0x30)).all()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["--layout", "rgb/generator.safetensors"],
            4,
            "generates 16x16 RGB images, but layouts are grey; name one that was",
        ),
        (["--layout", "nothing"], 4, "nothing"),
        (["--place", "0.5,0.5"], 2, "--place: does not go with --layout, which says where and how many; leave one out"),
        (["--count", "3"], 2, "--count: does not go with --layout"),
        (["--seeds", "1-3"], 2, "--seeds: 3 seeds are named, and with --layout one seed says all; name the first one"),
    ],
)
def test_refused(
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(models)
    layout = [] if "--layout" in words else ["--layout", "layouts/generator.safetensors"]
    assert exit_of("compose", "sprites/generator.safetensors", "#102030", *layout, *words, "--out", "out") == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
