"""`pack --inspect`: everything about a set, and nothing done to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kantor.data.packing.pool import Pool
from support import nasty
from support.commands import exit_of


def image(number: int, height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """6 square and 3 wide images in two classes; a copy, a blank, a broken one and a text."""
    path = tmp_path / "in"
    for kind in ("a", "b"):
        (path / kind).mkdir(parents=True)
    for i in range(9):
        image(i, 40, 40 if i < 6 else 90).save(path / ("a" if i % 2 else "b") / f"{i}.png")
    shutil.copy(path / "a" / "1.png", path / "a" / "copy.png")
    Image.new("L", (50, 50), 128).save(path / "b" / "flat.png")
    (path / "b" / "broken.png").write_bytes(nasty.encode(nasty.photo(), "PNG")[:50])
    (path / "a" / "notes.txt").write_text("hello")
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.real_figures
def test_findings(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(folder)
    out = tmp_path / "new" / "look"
    assert exit_of("pack", folder, "--inspect", "--out", out) == 0
    assert snapshot(folder) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    found = json.loads((out / "inspect.json").read_text("utf-8"))
    assert found["images"] == 11
    assert found["sizes"] == {
        "40x40": 7,
        "40x90": 3,
        "50x50": 1,
    }  # not the broken one, whose header is whole
    assert found["kinds"] == {"colour": 10, "grey": 1}
    assert found["classes"] == {"a": 5, "b": 6}
    assert found["duplicates"] == [["a/1.png", "a/copy.png"]]
    assert found["near_constant"] == ["b/flat.png"]
    assert found["rejected"] == 2
    assert set(found["rejected_because"]) == {
        "not an image (.txt)",
        *(r for r in found["rejected_because"] if "trunc" in r),
    }
    rejected = [json.loads(line)["name"] for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert sorted(rejected) == ["a/notes.txt", "b/broken.png"]
    for name in ("contact-sheet.png", "duplicates.png", "near-constant.png", "figures.png"):
        with Image.open(out / name) as opened:
            opened.load()
            assert min(opened.size) > 60
    text = capsys.readouterr().out
    assert "11 images can be used" in text
    assert "image headers: 10 colour, 1 grey; shorter side 40 to 50 pixels" in text
    assert "2 files rejected: " in text and "not an image (.txt) (1)" in text
    assert "exact copies of other images: 1, see duplicates.png; first: a/1.png = a/copy.png" in text
    assert "--size 32" in text


def test_arrays_and_packed_datasets(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (30, 12, 10), np.uint8))
    assert exit_of("pack", tmp_path / "x.npy", "--inspect", "--out", tmp_path / "a") == 0
    assert exit_of("pack", tmp_path / "x.npy", "--out", tmp_path / "set") == 0
    assert exit_of("pack", tmp_path / "set", "--inspect", "--out", tmp_path / "b") == 0
    one, two = (json.loads((tmp_path / name / "inspect.json").read_text()) for name in "ab")
    assert one["sizes"] == two["sizes"] == {"12x10": 30}
    assert one["kinds"] == two["kinds"] == {"grey": 30}
    assert not (tmp_path / "a" / "duplicates.png").exists()


def test_nothing_is_replaced_without_overwrite(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "look"
    assert exit_of("pack", folder, "--inspect", "--out", out) == 0
    capsys.readouterr()
    assert exit_of("pack", folder, "--inspect", "--out", out) == 2
    assert "already exists" in capsys.readouterr().err
    assert exit_of("pack", folder, "--inspect", "--out", out, "--overwrite") == 0
    (out / "my-notes.txt").write_text("mine")
    assert exit_of("pack", folder, "--inspect", "--out", out, "--overwrite") == 2
    assert (out / "my-notes.txt").exists()


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda p: p.mkdir(), 3, "no images"),
        (lambda p: None, 3, "no such file"),
        (lambda p: p.write_bytes(b""), 3, "empty file"),
        (lambda p: (p.mkdir(), (p / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")), 3, "a.png"),
    ],
)
def test_bad_input(make: Any, code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "in")
    assert exit_of("pack", tmp_path / "in", "--inspect", "--out", tmp_path / "out") == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_not_inside_the_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("pack", folder, "--inspect", "--out", folder / "look") == 2
    assert "lies inside the folder of images" in capsys.readouterr().err


def test_rejected_files_are_reported_and_listed_in_the_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--size", "16", "--batch", "4", "--images", "8", "--runs", tmp_path / "r", "--cache", tmp_path / "c"]
    small = ["--set", "generator.width=4", "--set", "critic.width=4", "--device", "cpu"]
    assert exit_of("train", folder, *words, *small) == 0
    out = capsys.readouterr().out
    assert "rejected 2 files" in out
    assert "  a/notes.txt: not an image (.txt)\n" in out
    (kept,) = (tmp_path / "r").glob("*/rejected.jsonl")
    assert {json.loads(line)["name"] for line in kept.read_text().splitlines()} == {"a/notes.txt", "b/broken.png"}
    assert exit_of("train", folder, "--runs", folder / "runs") == 2
    assert "add --runs ../runs" in capsys.readouterr().err


def test_what_an_inspection_decoded_is_kept_for_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decoded: list[int] = []
    original = Pool.decode

    def counting(self: Pool, entries: Iterable[Any], chunk: int = 128) -> Iterator[Any]:
        for outcomes in original(self, entries, chunk):
            decoded.append(len(outcomes))
            yield outcomes

    monkeypatch.setattr(Pool, "decode", counting)
    cache = ["--cache", tmp_path / "cache"]
    shared = ["--set", "data.max_bad=0.5", *cache]
    train = ["train", folder, "--images", "8", "--batch", "4", "--device", "cpu", "--runs", tmp_path / "r", "--dry-run"]
    train += ["--set", "generator.width=4", "--set", "critic.width=4", *shared]
    assert exit_of("pack", folder, "--inspect", "--size", "32", "--out", tmp_path / "look", *cache) == 0
    assert sum(decoded) == 13, "each file once"
    found = json.loads((tmp_path / "look" / "inspect.json").read_text())
    assert exit_of(*train, "--size", "32") == 0
    assert sum(decoded) == 13, "and never again"
    assert "packed earlier; 2 files rejected then" in capsys.readouterr().out
    assert exit_of(*train, "--size", "16") == 0
    assert sum(decoded) == 26, "another size is another decoding"
    assert exit_of("pack", folder, "--inspect", "--size", "16", "--out", tmp_path / "again", *cache) == 0
    assert sum(decoded) == 26, "what a run has packed is inspected as it is"
    again = json.loads((tmp_path / "again" / "inspect.json").read_text())
    assert {**again, "cut_by_a_third": found["cut_by_a_third"]} == found


def test_more_bad_images_than_training_takes_are_still_refused_there(folder: Path, tmp_path: Path) -> None:
    for i in range(4):
        (folder / "b" / f"broken{i}.png").write_bytes(nasty.encode(nasty.photo(), "PNG")[:50])
    cache = ["--size", "32", "--cache", tmp_path / "cache"]
    assert exit_of("pack", folder, "--inspect", "--out", tmp_path / "look", *cache) == 0
    assert exit_of("train", folder, "--images", "8", "--runs", tmp_path / "r", *cache) == 3


def test_a_set_that_shows_nothing_can_be_inspected_and_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(12):
        Image.new("L", (20, 20), 200).save(tmp_path / "in" / f"{i}.png")
    cache = ["--size", "16", "--cache", tmp_path / "cache"]
    assert exit_of("pack", tmp_path / "in", "--inspect", "--out", tmp_path / "look", *cache) == 0
    assert json.loads((tmp_path / "look" / "inspect.json").read_text())["images"] == 12
    assert exit_of("train", tmp_path / "in", "--images", "8", "--runs", tmp_path / "r", *cache) == 3


def test_transparency_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, alphas in (("some", (0, 255, 255)), ("one", (0,)), ("none", (255, 255))):
        (tmp_path / name).mkdir()
        for i in range(12):
            picture = image(i, 20, 20).convert("RGBA")
            if i < len(alphas):
                picture.putpixel((3, 3), (9, 9, 9, alphas[i]))
            picture.save(tmp_path / name / f"{i}.png")

    def told(name: str, *words: str) -> str:
        out = tmp_path / f"look-{name}{len(words)}"
        assert exit_of("pack", tmp_path / name, "--inspect", "--size", "16", "--out", out, *words) == 0
        return capsys.readouterr().out

    assert "1 image has transparency; --channels rgba keeps it, otherwise it becomes white" in told("some")
    assert "otherwise it becomes #202020" in told("one", "--set", "data.background=#202020")
    assert "1 image has transparency, which is kept" in told("some", "--channels", "rgba")
    assert "--channels" not in told("none"), "an alpha channel, and nothing transparent"
    opaque = "no image has transparency; --channels rgb would train faster"
    assert opaque in told("none", "--channels", "rgba")
    train = [
        "--size",
        "16",
        "--channels",
        "rgba",
        "--images",
        "8",
        "--batch",
        "4",
        "--dry-run",
        "--runs",
        tmp_path / "r",
    ]
    for name, noted in (("none", True), ("some", False)):
        assert exit_of("train", tmp_path / name, *train) == 0
        assert (opaque in capsys.readouterr().out) == noted
