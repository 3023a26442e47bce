"""`kantor compose` as a user gets it: pictures, places, sheets, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kantor
from kantor.errors import ConfigError, ModelError
from kantor.types import ImageSpec
from support.commands import exit_of
from support.models import write_model

RGBA = ImageSpec(16, 16, 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("sprites"), ("cat", "dog", "fish"), RGBA)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two photographs, one of them transparent in part, and a grey one beside it."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    Image.fromarray(random.integers(0, 256, (60, 90, 3), np.uint8)).save("photos/beach.png")
    glass = random.integers(0, 256, (50, 40, 4)).astype(np.uint8)
    Image.fromarray(glass).save("photos/glass.png")
    (tmp_path / "photos" / "notes.txt").write_text("of the sea")
    Image.fromarray(random.integers(0, 256, (30, 30), np.uint8)).save("beach.png")
    return tmp_path


def image(path: Path | str) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def places(folder: Path | str) -> list[dict[str, object]]:
    pictures: list[dict[str, object]] = json.loads((Path(folder) / "places.json").read_text("utf-8"))["pictures"]
    return pictures


def test_pictures_and_places(model: Path) -> None:
    words = ["photos", "beach.png", "transparent", "#102030", "--size", "40x64", "--count", "3", "--device", "cpu"]
    assert exit_of("compose", model, *words, "--seeds", "7", "--out", "out") == 0
    made = {path.name for path in Path("out").iterdir()}
    assert made == {"beach.png", "beach-2.png", "glass.png", "transparent.png", "102030.png", "places.json"}
    shapes = {name: image(f"out/{name}").shape for name in made - {"places.json"}}
    assert shapes["beach.png"] == (60, 90, 3) and shapes["glass.png"] == (50, 40, 4)
    assert shapes["transparent.png"] == (40, 64, 4) and shapes["102030.png"] == (40, 64, 3)
    entries = places("out")
    assert [entry["file"] for entry in entries] == [
        "beach.png", "glass.png", "beach-2.png", "transparent.png", "102030.png",
    ]  # fmt: skip
    seeds = [[sprite["seed"] for sprite in entry["sprites"]] for entry in entries]  # type: ignore[attr-defined]
    assert seeds == [[7 + 3 * i, 8 + 3 * i, 9 + 3 * i] for i in range(5)]
    first = entries[0]["sprites"][0]  # type: ignore[index]
    assert first["class"] == "dog" and first["order"] == 0 and {"left", "top", "width", "height"} < first.keys()
    assert entries[0]["background"] == "photos/beach.png" and entries[0]["width"] == 90


def test_the_command_and_python_make_the_same_picture(model: Path) -> None:
    words = ["--seeds", "3,9", "--place", "0.25,0.5", "--extent", "0.4", "--class", "fish", "--haze", "0"]
    assert exit_of("compose", model, "photos/beach.png", *words, "--out", "out", "--device", "cpu") == 0
    made = kantor.load(model).compose(
        "photos/beach.png", [3, 9], places=[(0.25, 0.5)], extent=0.4, classes="fish", haze=0.0
    )
    assert np.array_equal(image("out/beach.png"), made.image)
    sprites = places("out")[0]["sprites"]
    assert [(s["left"], s["top"]) for s in sprites] == [p[:2] for p in made.placed]  # type: ignore[attr-defined]
    assert {sprite["class"] for sprite in sprites} == {"fish"}  # type: ignore[attr-defined]
    assert abs(sprites[0]["centre"][0] - 0.25) < 0.01  # type: ignore[index]
    beach = image("photos/beach.png")
    again = kantor.load(model).compose(beach, [3, 9], places=[(0.25, 0.5)], extent=0.4, classes="fish", haze=0.0)
    assert np.array_equal(again.image, made.image)
    assert not np.array_equal(made.image, beach)


def test_listed_seeds_stand_in_every_picture_and_runs_repeat(model: Path) -> None:
    for out in ("a", "b"):
        assert exit_of("compose", model, "photos", "--seeds", "5,6", "--out", out, "--device", "cpu") == 0
    assert [[s["seed"] for s in entry["sprites"]] for entry in places("a")] == [[5, 6], [5, 6]]  # type: ignore[attr-defined]
    for path in Path("a").iterdir():
        assert path.read_bytes() == (Path("b") / path.name).read_bytes()


def test_without_out_every_call_makes_a_new_folder(tmp_path: Path) -> None:
    own = write_model(tmp_path / "own", spec=RGBA)
    for _ in range(2):
        assert exit_of("compose", own, "transparent", "--size", "32", "--device", "cpu") == 0
    assert sorted(path.name for path in (tmp_path / "own" / "composed").iterdir()) == ["00000", "00001"]
    assert len(places(tmp_path / "own" / "composed" / "00001")[0]["sprites"]) == 5  # type: ignore[arg-type]


def test_atlas(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--atlas", "--seeds", "1,2,2,4", "--haze", "0", "--out", "out", "--device", "cpu"]
    assert exit_of("compose", model, *words) == 0
    assert "nothing is visible" not in capsys.readouterr().out
    table = json.loads(Path("out/atlas.json").read_text("utf-8"))
    assert list(table["frames"]) == ["seed-00000001-dog.png", "seed-00000002-fish.png", "seed-00000004-dog.png"]
    assert table["meta"]["image"] == "atlas.png" and (Path("out") / table["meta"]["image"]).exists()
    sheet = image("out/atlas.png")
    assert sheet.shape[:2] == (table["meta"]["size"]["h"], table["meta"]["size"]["w"])
    (sprite,) = kantor.load(model).generate([2])
    entry = table["frames"]["seed-00000002-fish.png"]
    frame, source = entry["frame"], entry["spriteSourceSize"]
    part = sheet[frame["y"] : frame["y"] + frame["h"], frame["x"] : frame["x"] + frame["w"]]
    wanted = sprite[source["y"] : source["y"] + source["h"], source["x"] : source["x"] + source["w"]]
    seen = wanted[:, :, 3] > 0
    assert np.array_equal(part[seen], wanted[seen]) and wanted[:, :, 3].sum() == sprite[:, :, 3].sum()


def test_sprites_that_show_nothing_are_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kantor.app.sampling.compose.cleaned", lambda sprite, haze: np.zeros_like(sprite))
    assert exit_of("compose", model, "--atlas", "--seeds", "1,2", "--out", "out", "--device", "cpu") == 0
    assert "nothing is visible of seed-00000001-dog.png and 1 more: one transparent pixel" in capsys.readouterr().out
    frames = json.loads(Path("out/atlas.json").read_text("utf-8"))["frames"].values()
    assert [(frame["frame"]["w"], frame["frame"]["h"]) for frame in frames] == [(1, 1), (1, 1)]


def test_files_are_never_lost(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compose", model, "photos/beach.png", "--out", "out", "--device", "cpu"]
    assert exit_of(*words) == 0
    before = Path("out/beach.png").read_bytes()
    assert exit_of(*words, "--seeds", "50") == 2
    assert "add --overwrite" in capsys.readouterr().err and Path("out/beach.png").read_bytes() == before
    assert exit_of(*words, "--seeds", "50", "--overwrite") == 0
    assert Path("out/beach.png").read_bytes() != before
    assert exit_of("compose", model, "beach.png", "--out", "photos", "--overwrite", "--device", "cpu") == 2
    assert "glass.png" in capsys.readouterr().err


def test_backgrounds_are_never_replaced(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("photos/beach.png").read_bytes()
    assert exit_of("compose", model, "photos", "--out", "photos", "--overwrite", "--device", "cpu") == 2
    assert "would replace photos/beach.png, which is read; choose another folder" in capsys.readouterr().err
    assert Path("photos/beach.png").read_bytes() == before


def test_a_broken_picture_of_a_folder_is_left_out(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = sorted(path.name for path in Path("photos").glob("*.png"))
    Path("photos/broken.png").write_bytes(Path("photos/beach.png").read_bytes()[:60])
    words = ["compose", model, "--count", "2", "--device", "cpu", "--out"]
    assert exit_of(*words, "some", "photos") == 0
    told = capsys.readouterr().out
    assert "left out: photos/broken.png cannot be used" in told and f"put {2 * len(kept)} sprites into" in told
    entries = json.loads(Path("some/places.json").read_text())["pictures"]
    assert [entry["file"] for entry in entries] == kept and not Path("some/broken.png").exists()
    assert exit_of(*words, "named", "photos/beach.png", "photos/broken.png") == 3  # asked for by name
    for name in kept:
        Path("photos", name).unlink()
    assert exit_of(*words, "none", "photos") == 3


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "a BACKGROUND is missing; name a picture"),
        (["lost.png"], 3, "lost.png: does not exist; name a picture"),
        (["photos/notes.txt"], 3, "notes.txt: cannot be used"),
        (["empty"], 3, "there are no pictures at its top"),
        (["#12345"], 2, 'BACKGROUND: "#12345" is not a colour'),
        (["beach.png", "--place", "0.5,1.2"], 2, "--place 0.5,1.2: lies outside the image"),
        (["beach.png", "--place", "0.5"], 2, "--place 0.5: is not a place; write X,Y"),
        (["beach.png", "--count", "1", *["--place", "0,0"] * 2], 2, "--place: 2 places for 1 sprite"),
        (["beach.png", "--count", "1000000"], 2, "--count 1000000: is out of range"),
        (["beach.png", "--count", "3", "--seeds", "1,2"], 2, "--count 3: 2 seeds are named"),
        (["beach.png", "--class", "cow"], 2, "--class cow: there is no such class"),
        (["beach.png", "--extent", "0.4-0.2"], 2, "--extent 0.4-0.2: is not an extent"),
        (["beach.png", "--extent", "7"], 2, "--extent 7: is out of range"),
        (["beach.png", "--size", "64"], 2, "--size: pictures keep their size"),
        (["transparent", "--size", "0x9"], 2, "--size 0x9: is not a size"),
        (["beach.png", "--atlas"], 2, "BACKGROUND: does not go with --atlas"),
        (["--atlas", "--place", "0,0"], 2, "--place: does not go with --atlas"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(
    model: Path, words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    assert exit_of("compose", model, *words, "--out", "out", "--device", "cpu") == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and text in error
    assert not Path("out").exists()


def test_a_model_without_transparency_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb = write_model(tmp_path / "rgb")
    assert exit_of("compose", rgb, "beach.png", "--device", "cpu") == 4
    assert "16x16 RGB images, which have no transparency; train one with --channels rgba" in capsys.readouterr().err
    assert not (tmp_path / "rgb" / "composed").exists()
    with pytest.raises(ModelError, match="no transparency"):
        kantor.load(rgb).compose("beach.png", [1])


def test_bad_arguments_in_python(model: Path) -> None:
    loaded = kantor.load(model)
    with pytest.raises(ConfigError, match="float64 of shape"):
        loaded.compose(np.zeros((4, 4, 3)), [1])
    with pytest.raises(ConfigError, match="2 places for 1"):
        loaded.compose("beach.png", [1], places=[(0, 0), (1, 1)])


def test_one_seed_in_python(model: Path) -> None:
    ground = np.zeros((40, 40, 3), np.uint8)
    one, listed = (kantor.load(model).compose(ground, seeds) for seeds in (3, [3]))
    assert np.array_equal(one.image, listed.image) and one.image.any() and one.placed == listed.placed
