"""Names and places that no command expects: each is one line and the right exit code, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.app.dataset import inspect as inspecting
from kantor.app.dataset import pack as packing
from support.commands import TINY, exit_of

LONG = "x" * 300
QUICK = [*TINY, "--images", "16"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KANTOR_CACHE", str(tmp_path / "cache"))
    for folder in ("fish", os.fsdecode(b"caf\xe9/M\xfcnchen"), os.fsdecode(b"caf\xe9/K\xf6ln")):
        Path(folder).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(np.random.default_rng(i).integers(0, 255, (20, 20, 3), np.uint8)).save(f"{folder}/{i}.png")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["pack", "fish", "--out", LONG], 5, "the name is too long"),
        (["pack", "fish", "--out", LONG, "--inspect"], 5, "the name is too long"),
        (["pack", "fish", "--out", LONG, "--format", "tfrecord"], 5, "the name is too long"),
        (["train", "fish", "--cache", LONG, *QUICK], 5, "the name is too long"),
        (["train", "fish", "--init-from", LONG, *QUICK], 5, "the name is too long"),
        (["report", "x", "--runs", LONG], 5, "the name is too long"),
        (["pack", "fish", "--out", "/"], 2, "cannot be created"),
        (["pack", "fish", "--out", ".", "--format", "tfrecord", "--overwrite"], 2, "holds"),
        (["pack", "fish", "--out", "link/inside"], 2, "lies inside the folder of images"),
        (["pack", "link", "--out", "fish/inside"], 2, "lies inside the folder of images"),
        (["pack", "fish", "--out", "none/../fish/inside"], 2, "lies inside the folder of images"),
        (["pack", "fish", "--inspect", "--out", "link/inside"], 2, "lies inside the folder of images"),
        (["train", "fish", "--runs", "link/runs", *QUICK], 2, "lies inside the folder of images"),
        (["train", "fish", *QUICK, "--seed", "-1"], 2, "--seed"),
        (["train", "fish", *TINY, "--epochs", "9999999999999999"], 2, "--epochs 9999999999999999: "),
        (["train", "fish", *TINY, "--time-budget", "99999999999999h"], 2, "is more than ten years"),
        (["generate", "", "--out", "o"], 4, 'error: "": '),
        (["report", ""], 4, 'error: "": '),
    ],
)
def test_refusals(words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("link").symlink_to("fish")
    before = sorted(map(str, Path("fish").rglob("*")))
    assert exit_of(*words) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert sorted(map(str, Path("fish").rglob("*"))) == before
    assert not Path("runs").exists()


def test_what_the_cache_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    for name, folder in (("~/kept", "kept/packs"), ("", "packs")):
        monkeypatch.setenv("KANTOR_CACHE", name)
        monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd() / "xdg"))
        assert exit_of("train", "fish", *QUICK) == 0
        assert Path(folder).exists() is bool(name)
    monkeypatch.setenv("KANTOR_CACHE_LIMIT", "abc")
    assert exit_of("train", "fish", *QUICK) == 2
    assert "KANTOR_CACHE_LIMIT=abc: is not a size" in capsys.readouterr().err


def test_names_that_are_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of classes may be any bytes; that of the data must be written into a configuration."""
    os.rename(os.fsdecode(b"caf\xe9"), "cafe")  # noqa: PTH104
    assert exit_of("train", "cafe", *QUICK, "--conditional", "--name", "cafe") == 0
    assert exit_of("generate", "cafe", "--count", "2", "--out", "drawn") == 0
    assert exit_of("pack", "cafe", "--format", "tfrecord", "--out", "records", "--size", "16") == 0
    assert exit_of("pack", "records", "--out", "again", "--size", "16") == 0
    assert exit_of("pack", "cafe", "--inspect", "--out", "look") == 0
    Path("look/inspect.json").read_text("utf-8")
    capsys.readouterr()
    os.rename("cafe", os.fsdecode(b"caf\xe9"))  # noqa: PTH104
    assert exit_of("train", os.fsdecode(b"caf\xe9"), *QUICK) == 3
    assert "rename that file or folder" in capsys.readouterr().err
    assert len(list(Path("runs").iterdir())) == 1


@pytest.mark.parametrize("words", [["--inspect"], ["--format", "tfrecord"], ["--format", "webdataset"]])
def test_what_appears_meanwhile_stays(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking and writing take long: --out is looked at once more before it is given its name."""
    checked = packing.require_free

    def once(out: Path, overwrite: bool, ours: str) -> None:
        checked(out, overwrite, ours)
        if not out.exists():
            out.mkdir()
            (out / "thesis.txt").write_text("years of work")

    for module in (packing, inspecting):
        monkeypatch.setattr(module, "require_free", once)
    assert exit_of("pack", "fish", "--out", "out", "--size", "16", *words) == 2
    assert "already exists" in capsys.readouterr().err
    assert [p.name for p in Path("out").iterdir()] == ["thesis.txt"]
    assert not [p.name for p in Path().iterdir() if p.name.startswith(".")]


def test_links_to_nowhere_are_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("train", "fish", *QUICK, "--name", "one") == 0
    Path("film.gif").symlink_to("nowhere")
    Path("drawn").mkdir()
    Path("drawn/sheet.png").symlink_to("nowhere")
    assert exit_of("walk", "one", "--seeds", "1,2", "--frames", "2", "--out", "film.gif") == 2
    assert exit_of("generate", "one", "--count", "2", "--out", "drawn") == 2
    assert Path("film.gif").is_symlink()
    assert exit_of("generate", "one", "--class", "²") == 2
    assert exit_of("generate", "one", "--checkpoint", "77", "--out", "x") == 4
    assert exit_of("generate", "runs/00000-one/checkpoints/²", "--out", "x") == 4
    assert "choose one of: 16" in capsys.readouterr().err


def test_a_name_that_leads_astray(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs, their images and what is drawn often have one name; what is mistyped is not taken for moved images."""
    for name in ("3", "latest"):
        assert exit_of("train", "fish", *QUICK, "--name", name) == 2
        assert "choose a name with letters in it" in capsys.readouterr().err
    assert exit_of("train", "fish", *QUICK, "--name", "fish") == 0
    before = sorted(map(str, Path("fish").rglob("*")))
    assert exit_of("generate", "fish", "--count", "2", "--out", "fish") == 2
    assert "choose a new folder" in capsys.readouterr().err
    assert sorted(map(str, Path("fish").rglob("*"))) == before
    text = Path("runs/00000-fish/config.toml").read_text()
    assert exit_of("train", "fihs", "--resume", "fish", "--images", "32") == 3
    assert "fihs: no such file or folder" in capsys.readouterr().err
    assert Path("runs/00000-fish/config.toml").read_text() == text


def test_a_class_for_each_image(capsys: pytest.CaptureFixture[str]) -> None:
    os.rename(os.fsdecode(b"caf\xe9"), "cafe")  # noqa: PTH104
    for old, new in zip(sorted(Path("cafe").iterdir()), ("blue", "red"), strict=True):
        old.rename(old.with_name(new))
    assert exit_of("train", "cafe", *QUICK, "--conditional", "--name", "one") == 0
    assert exit_of("generate", "one", "--seeds", "1,2", "--class", "red,blue", "--out", "a") == 0
    assert exit_of("generate", "one", "--seeds", "1,2", "--class", "red", "--class", "blue", "--out", "b") == 0
    assert exit_of("generate", "one", "--seeds", "1", "--class", "red", "--out", "c") == 0
    images = [Path(f"{folder}/seed-00000001-red.png").read_bytes() for folder in "abc"]
    assert images[0] == images[1] == images[2]
    assert exit_of("generate", "one", "--count", "3", "--class", "red,blue", "--out", "d") == 2
    assert "2 classes for 3 seeds" in capsys.readouterr().err
