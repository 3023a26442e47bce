"""The command line as a user meets it: exit codes, one line for each error, images by seed."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kantor import __version__
from kantor.cli.main import main
from kantor.config.io import preset_names
from support import nasty
from support.commands import TINY

GLYPHS = ["train", "glyphs", *TINY, "--set", "data.glyphs.count=40", "--images", "8"]
Result = tuple[int, str, str]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Commands run in an empty folder and leave the signals as they were."""
    monkeypatch.chdir(tmp_path)
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


@pytest.fixture
def kantor(capfd: pytest.CaptureFixture[str]) -> Any:
    def run(*words: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        return int(exit_.value.code or 0), out, err

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    with pytest.raises(SystemExit) as exit_:
        main([*GLYPHS, "--runs", str(runs), "--conditional"])
    assert exit_.value.code == 0
    return next(runs.glob("00000-*"))


def refused(result: Result, code: int, *parts: str) -> None:
    """One line `error: WHERE: what; do` on stderr with `parts` in it, no traceback, nothing trained."""
    got, _, err = result
    assert re.fullmatch(r"error: [^\n]+: [^\n]+; [^\n]+\n", err), err
    assert got == code, err
    for part in parts:
        assert part in err, err
    assert not Path("runs").exists()


def images(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        (folder / f"{i}.png").write_bytes(nasty.encode(nasty.photo(seed=i), "PNG"))
    return folder


# --- data -----------------------------------------------------------------------------------------------------------


def test_data_that_is_not_there(kantor: Any, tmp_path: Path) -> None:
    refused(kantor("train", "no/such/folder"), 3, "no/such/folder")
    Path("empty").mkdir()
    refused(kantor("train", "empty"), 3, "empty")
    Path("text.txt").write_text("hello")
    refused(kantor("train", "text.txt"), 3, "text.txt")
    refused(kantor("train", images(tmp_path / "one", 1), *TINY, "--images", 64), 3, "one image is not enough")
    result = kantor("train", images(tmp_path / "ten", 10), *TINY, "--batch", 64, "--images", 64)
    assert result[0] == 0, result[2]
    assert "has 10 images, fewer than the batch of 64" in result[1]


def test_data_that_is_no_good(kantor: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    for i in range(6):
        (bad / f"cut{i}.jpg").write_bytes(nasty.truncated_jpeg())
        (bad / f"page{i}.jpg").write_bytes(nasty.html())
    refused(kantor("train", bad, *TINY, "--images", 8), 3, "bad")
    refused(kantor("pack", bad, "--out", "set"), 3, "bad")
    assert not Path("set").exists()
    bomb = images(tmp_path / "bomb", 20)
    (bomb / "bomb.png").write_bytes(nasty.bomb_png())
    refused(kantor("train", bomb, *TINY, "--images", 8, "--max-bad", "0"), 3, "bomb.png", "1 of 21", "--max-bad")
    for i in range(3):
        (bomb / f"bomb{i}.png").write_bytes(nasty.bomb_png())
    refused(kantor("train", bomb, *TINY, "--images", 8), 3, "bomb.png", "4 of 24", "--max-bad")  # three would pass
    code, out, _ = kantor("train", bomb, *TINY, "--images", 8, "--max-bad", "20%")
    assert code == 0
    assert "packed 20 images" in out


def test_a_messy_folder_trains(kantor: Any, tmp_path: Path) -> None:
    names = nasty.messy_folder(tmp_path / "messy", 24)
    code, out, err = kantor("train", tmp_path / "messy", *TINY, "--images", 8, "--max-bad", "50%")
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    usable = names["good"] | names["odd"]
    assert f"packed {len(usable)} images, 16x16 RGB" in out
    rejected = re.search(r"rejected (\d+) files, listed with the reason in (/.*/rejected\.jsonl)\n", out)
    assert rejected
    lines = [json.loads(line) for line in next(Path("runs").glob("*/rejected.jsonl")).read_text("utf-8").splitlines()]
    assert lines == [json.loads(line) for line in Path(rejected[2]).read_text("utf-8").splitlines()]
    assert len(lines) == int(rejected[1])
    listed = {Path(line["name"]).name for line in lines}
    assert names["broken"] <= listed
    assert not listed & names["good"]
    assert (next(Path("runs").iterdir()) / "generator.safetensors").exists()


def test_pack_then_train(kantor: Any, tmp_path: Path) -> None:
    images(tmp_path / "in", 8)
    code, out, _ = kantor("pack", "in", "--out", "set", "--size", "16x24")
    assert code == 0
    assert "packed 8 images, 16x24 RGB" in out
    refused(kantor("pack", "in", "--out", "set", "--size", "16"), 2, "set")
    others = [word for word in TINY if word not in ("--size", "16")]
    refused(kantor("train", "set", *TINY, "--images", 8), 2, "data.size", "16 ", "16x24", "set")
    assert kantor("train", "set", *others, "--images", 8)[0] == 0
    assert json.loads(Path("set/manifest.json").read_text())["count"] == 8
    with Image.open(next(Path("runs").glob("*/samples/reals.png"))) as sheet:
        assert sheet.width > sheet.height * 0.5


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["train", "--preset", "wgangp"], ["--preset wgangp", 'did you mean "wgan-gp"?']),
        (["train", "--set", "critic.widht=32"], ["critic.widht", 'did you mean "critic.width"?']),
        (["train", "--set", "critc.width=32"], ["critc", 'did you mean "critic.width"?']),
        (["train", "--set", "critic.width"], ["SECTION.FIELD=VALUE"]),
        (["train", "--set", "critic.width=wide"], ["critic.width", "'wide'", "integer"]),
        (["train", "--set", "critic.width=3"], ["critic.width", "greater than or equal to 4"]),
        (["train", "--set", "optimizer.critic.lr=nan"], ["optimizer.critic.lr"]),
        (["train", "--set", "objective.kind=hinged"], ["objective.kind", 'did you mean "hinge"?']),
        (["train", "--batch", "-4"], ["--batch -4", "at least 2"]),
        (["train", "--batch", "many"], ["--batch many", "not a whole number"]),
        (["train", "--seed", "-1"], ["--seed -1", "choose a number from 0 to"]),
        (["train", "--size", "7"], ["--size 7", "between 8 and 1024"]),
        (["train", "--time-budget", "soon"], ["--time-budget soon", "10m"]),
        (["train", "--time-budget", "0s"], ["--time-budget 0s", "no time"]),
        (["train", "--images", "lots"], ["--images lots", "200k"]),
        (["train", "--images", "0"], ["--images 0"]),
        (["train", "--images", "8", "--epochs", "2"], ["--images and --epochs: both set the length; give only one"]),
        (["train", "--kimg", "8", "--epochs", "2"], ["--kimg and --epochs: both set the length; give only one"]),
        (["train", "--device", "gpu"], ["--device gpu", "choose auto, cpu, cuda, cuda:1, or mps (on a Mac)"]),
        (["train", "--bacth", "4"], ['--bacth: no such option; did you mean "--batch"?']),
        (["train", "--zzz"], ["--zzz: no such option; see kantor train --help"]),
        (["presets", "--hepl"], ['--hepl: no such option; did you mean "--help"?']),
        (["train", "a", "b"], ['unexpected argument "b"; ', "combine them first: kantor pack A B --out AB"]),
        (["generate", "a", "9"], ['kantor generate: unexpected argument "9"; write lists without spaces']),
        (["doctor", "x"], ['kantor doctor: unexpected argument "x"; see kantor doctor --help']),
        (["train", "--gamma=10"], ["--gamma", "r1.weight"]),
        (["train", "--resume", "latest", "--preset", "wgan"], ["--preset"]),
        (["trian"], ['trian: no such command; did you mean "train"?']),
        (["./fish"], ["./fish: no such command; see kantor --help"]),
        (["presets", "wgna"], ["wgna", 'did you mean "wgan"?']),
    ],
)
def test_wrong_words(kantor: Any, words: list[str], parts: list[str]) -> None:
    refused(kantor(*words), 2, *parts)


def test_presets_doctor_version(kantor: Any) -> None:
    assert kantor("--version")[:2] == (0, f"kantor {__version__}\n")
    code, out, _ = kantor("presets")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == preset_names()
    assert 'kind = "rmsprop"' in kantor("presets", "wgan")[1]
    code, out, _ = kantor("doctor", "--device", "cpu")
    assert code == 0
    assert out.count("weights change and stay finite") == 2
    assert "BAD" not in out


# --- generate -------------------------------------------------------------------------------------------------------


def image(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_generate(kantor: Any, model: Path) -> None:
    """Seed 17 is the same image alone and among others, from the run and from the file. Class 0 is the letter 1."""
    assert kantor("generate", model, "--seeds", "0-63", "--class", "0", "--out", "many")[0] == 0
    assert kantor("generate", model / "generator.safetensors", "--seeds", 17, "--class", 0, "--out", "one")[0] == 0
    assert len(list(Path("many").glob("seed-*.png"))) == 64
    assert (image(Path("many/seed-00000017-1.png")) == image(Path("one/seed-00000017-1.png"))).all()
    assert image(Path("one/seed-00000017-1.png")).shape == (16, 16, 3)
    distinct = {path.read_bytes() for path in Path("many").glob("seed-*.png")}
    assert len(distinct) == 64
    assert kantor("generate", model, "--grid", "4x2", "--gutter", 3, "--out", "grid")[0] == 0
    assert len(list(Path("grid").glob("seed-*.png"))) == 8
    height, width, _ = image(Path("grid/sheet.png")).shape
    assert (width - 3 * 5) * 2 == (height - 3 * 3) * 4
    assert kantor("generate", model, "--count", 3, "--truncation", 0, "--class", 0, "--out", "mean")[0] == 0
    mean = [image(path) for path in sorted(Path("mean").glob("seed-*.png"))]
    assert len(mean) == 3
    assert all((image == mean[0]).all() for image in mean)
    code, out, _ = kantor("generate", model, "--count", 2, "--raw", "--checkpoint", 8, "--out", "raw")
    assert (code, "wrote 2 images to raw" in out) == (0, True)


def test_a_sheet_on_paper_of_another_colour(kantor: Any, tmp_path: Path) -> None:
    """16 x 4 images of 64 pixels with gutters of 10 are 16 x 74 + 10 by 4 x 74 + 10 pixels."""
    train = ["train", "glyphs", *TINY, "--size", "64", "--set", "data.glyphs.count=8", "--images", "4"]
    assert kantor(*train, "--runs", tmp_path / "large")[0] == 0
    run = next((tmp_path / "large").glob("00000-*"))
    ask = ["generate", run, "--grid", "16x4", "--gutter", 10, "--scale", 1]
    assert kantor(*ask, "--paper", "#ffffff", "--out", "white")[0] == 0
    white = image(Path("white/sheet.png"))
    assert white.shape == (306, 1194, 3)
    for row in range(5):
        assert (white[74 * row : 74 * row + 10] == 255).all()
    for column in range(17):
        assert (white[:, 74 * column : 74 * column + 10] == 255).all()
    assert (white[10:74, 84:148] == image(Path("white/seed-00000001.png"))).all()
    assert kantor(*ask, "--out", "warm")[0] == 0
    warm = image(Path("warm/sheet.png"))
    assert (warm[0] == (0xEC, 0xEB, 0xE7)).all() and (warm[10:74, 84:148] == white[10:74, 84:148]).all()


def test_generate_refuses(kantor: Any, model: Path) -> None:
    assert kantor("generate", model, "--count", 2, "--out", "here")[0] == 0
    before = Path("here/sheet.png").read_bytes()
    refused(kantor("generate", model, "--count", 2, "--out", "here"), 2, "here", "already exists", "--overwrite")
    assert kantor("generate", model, "--seeds", "5,6", "--out", "here", "--overwrite")[0] == 0
    assert Path("here/sheet.png").read_bytes() != before
    for words, parts in (
        (["--class", "nobody"], ["--class nobody"]),
        (["--class", "999"], ["--class 999"]),
        (["--seeds", "5-1"], ["backwards", "1-5"]),
        (["--seeds", "x"], ["--seeds"]),
        (["--seeds", "1", "--count", "2"], ["--seeds", "--count"]),
        (["--grid", "4by4"], ["--grid", "16x4"]),
        (["--paper", "white"], ["--paper", '"white"', "#rrggbb"]),
        (["--paper", "#fff"], ["--paper"]),
        (["--paper", "#ffffff\n"], ["--paper"]),
        (["--grid", "2x2", "--count", "9"], ["4 of 9"]),
        (["--truncation", "9"], ["--truncation"]),
    ):
        refused(kantor("generate", model, *words, "--out", "none"), 2, *parts)
    assert not Path("none").exists()
    refused(kantor("generate", "here"), 4, "here", "is a folder of images, not a model")
    refused(kantor("generate", ""), 4, '""', "is no name")
    refused(kantor("generate", "here/sheet.png"), 4, "here/sheet.png", "is an image, not a model")
    refused(kantor("generate", "99"), 4, "99", "no run of this number in runs", "train one first")
    refused(kantor("train", "--resume", "nothing"), 4, "--resume nothing: no run of this name in runs; train one first")
    refused(kantor("generate", "99", "--runs", model.parent), 4, "99", f"choose one of: {model.name}")
    refused(kantor("generate", "a" * 300 + ".safetensors"), 4, "name too long", "check the path")
    refused(kantor("generate", "latest"), 4, "latest: no runs in runs; train one with kantor train")
    refused(kantor("generate", "nothing.safetensors"), 4, "nothing.safetensors", "does not exist")
    refused(kantor("generate", model, "--checkpoint", 9, "--out", "none"), 4, "--checkpoint 9", "8")
    good = (model / "generator.safetensors").read_bytes()
    for name, data in {
        "cut": good[:-7], "flip": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], "empty": b"", "text": b"hello" * 99,
        "pickle": b"PK\x03\x04" + good, "header": good[:20] + b"\xff" + good[21:],
    }.items():  # fmt: skip
        Path(f"{name}.safetensors").write_bytes(data)
        refused(kantor("generate", f"{name}.safetensors"), 4, f"{name}.safetensors")
