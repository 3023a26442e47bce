"""`data.objects`: pictures packed as their objects, with places; the split by picture; what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("skimage", reason="the extra `edges` is not installed")

from kantor.app.dataset.options import PackOptions
from kantor.app.dataset.pack import pack_source
from kantor.data.loading.holdout import split
from kantor.data.loading.objects import object_places
from kantor.data.loading.store import Store
from kantor.data.sources.packed import Packed
from kantor.data.sources.source import Item
from kantor.errors import ConfigError, DataError, ResourceError
from kantor.progress import silent
from support.commands import exit_of

COLOURS = ["red", "navy", "green", "black"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures in two folders: each a few squares on white; an empty one; one that is damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(30):
        picture = Image.new("RGB", (120, 90), "white")
        draw = ImageDraw.Draw(picture)
        for i in range(1 + number % 3):
            left, side = 8 + 38 * i, 12 + (number + 7 * i) % 13
            draw.rectangle((left, 20 + i, left + side, 20 + i + side), fill=COLOURS[(number + i) % 4])
        place = folder / ("even" if number % 2 == 0 else "odd")
        place.mkdir(exist_ok=True)
        picture.save(place / f"{number:02d}.png")
    Image.new("RGB", (50, 50), "white").save(folder / "odd" / "nothing.png")
    (folder / "odd" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nthis is cut")
    return folder


def packed(source: Path, out: Path, **fields: object) -> list[str]:
    words = {"sources": [str(source)], "out": out, "max_bad": "10%"}
    overrides = {f"data.{name}": value for name, value in {"objects": "auto", **fields}.items()}
    return pack_source(PackOptions.from_words({**words, "overrides": overrides}), silent)


@pytest.fixture(scope="module")
def store(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    out = tmp_path_factory.mktemp("packed") / "objects"
    lines = packed(pictures, out, size="16", objects_margin=0.2)
    assert "60 objects in 30 images: 30 by parts; no object in 1 image" in lines
    assert any("objects are cut out of their ground" in line for line in lines)
    assert any("odd/damaged.png" in line for line in lines)
    return Store.open(out)


def test_objects_are_images_with_transparency(store: Store) -> None:
    images = store.images(np.arange(store.count))
    assert images.shape == (60, 16, 16, 4)
    assert (images[:, 8, 8, 3] == 255).all() and (images[:, 0, 0, 3] == 0).all()
    assert store.class_names == ["even", "odd"]
    assert store.manifest["duplicates"] < store.count / 2, "objects of one picture are no copies of each other"


def test_places_are_read_by_picture(store: Store) -> None:
    places = object_places(store)
    assert len(places) == 30 and sum(map(len, places.values())) == 60
    assert "odd/nothing.png" not in places
    names = store.names()
    assert names[:1] == ["even/00#0000.png"] and len(set(names)) == 60
    third = places["even/02.png"]
    assert len(third) == 3 and {place.method for place in third} == {"parts"}
    sides = [14, 21, 15]
    boxes = {
        ((8 + 38 * i) / 120, (20 + i) / 90, (8 + 38 * i + side + 1) / 120, (20 + i + side + 1) / 90)
        for i, side in enumerate(sides)
    }
    assert {tuple(np.round(box, 5)) for box in boxes} == {tuple(np.round(place.box, 5)) for place in third}
    assert [place.extent for place in third] == sorted((place.extent for place in third), reverse=True)
    assert third[0].extent == pytest.approx(22 / 90, abs=1e-5)


def test_all_objects_of_a_picture_are_held_out_or_none(store: Store) -> None:
    training, held_out = split(store, 0.3)
    assert training.count + held_out.count == 60 and min(training.count, held_out.count) > 5
    pictures = np.array([source["object"]["picture"] for source in store.sources()])
    sides = [set(pictures[part._rows]) for part in (training, held_out)]
    assert not sides[0] & sides[1]


def test_objects_of_a_picture_are_other_images_to_what_reads_the_packed_ones(store: Store) -> None:
    """Whatever is made of them is known by these numbers: other objects of the same pictures must not be taken for them."""
    states = {item.mtime_ns for item in Packed(str(store.path)).items() if isinstance(item, Item)}
    assert len(states) == store.count


def test_images_that_are_no_objects_have_no_places(pictures: Path, tmp_path: Path) -> None:
    packed(pictures, tmp_path / "whole", size="16", objects="none", labels="none")
    assert object_places(Store.open(tmp_path / "whole")) == {}


def test_a_set_that_was_packed_whole_has_no_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8))
    assert exit_of("pack", tmp_path / "x.npy", "--out", tmp_path / "whole") == 0
    capsys.readouterr()
    words = ["--objects", "auto", "--time-budget", "1s", "--runs", tmp_path / "runs", "--device", "cpu"]
    assert exit_of("train", tmp_path / "whole", *words) == 2
    assert "was packed whole; pack the images again with --objects" in capsys.readouterr().err


def test_settings_that_make_other_images_are_refused(pictures: Path, tmp_path: Path) -> None:
    for other in ({"tile": 16}, {"frames": "all"}, {"stack": 10}):
        with pytest.raises(ConfigError, match="does not go with data"):
            packed(pictures, tmp_path / "out", **other)


def test_pictures_without_any_object_are_said(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (40, 40), "white").save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match=r"no object is found in its 3 images; lower data\.objects_smallest"):
        packed(tmp_path, tmp_path.parent / "out-of-nothing")


def test_without_scikit_image(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "skimage" else find(name, *a))
    with pytest.raises(ResourceError, match=r"objects need scikit-image; pip install 'kantor\[edges\]'"):
        packed(pictures, tmp_path / "out")
