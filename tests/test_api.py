"""Kantor from Python."""

from __future__ import annotations

import doctest
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kantor
from kantor import api
from kantor.engine.events import Finished, Started, Tick

TINY = {"generator.width": 4, "critic.width": 4, "generator.latent_dim": 4, "train.precision": "float32"}
FEW: dict[str, Any] = {"size": 16, "batch": 8, "images": 64, "quiet": True, "device": "cpu"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KANTOR_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("module", [kantor, api, api.training])
def test_examples_in_docstrings(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_importing_is_quick() -> None:
    code = "import kantor, sys; dir(kantor); print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_train_load_generate(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Any] = []
    tiny = {**TINY, "data.glyphs.count": 60}
    run = kantor.train("glyphs", overrides=tiny, conditional=True, on_event=events.append, **FEW)
    assert capsys.readouterr().out == ""
    assert run.path.is_dir()
    assert run.metrics["images_seen"][-1] == 64
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Tick) for event in events)
    model = kantor.load(run.path)
    assert model.images_seen == 64
    pictures = model.generate(seeds=range(40), classes=model.class_names[3])
    assert pictures.shape == (40, 16, 16, 3)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(model.generate(17, classes=3), pictures[17:18])
    np.testing.assert_array_equal(model.generate([17, 5], classes=[3, model.class_names[3]]), pictures[[17, 5]])
    np.testing.assert_array_equal(run.model().generate([3]), kantor.load("latest").generate([3]))
    way = model.walk([17, 5], frames=6, classes=3)
    np.testing.assert_array_equal(way[[0, -1]], pictures[[17, 5]])
    assert (model.generate([1], truncation=0) == model.generate([2], truncation=0)).all()


def test_a_seed_on_the_command_line_is_the_same_picture(capsys: pytest.CaptureFixture[str]) -> None:
    from commands import exit_of

    run = kantor.train("glyphs", overrides={**TINY, "data.glyphs.count": 60}, **FEW)
    assert exit_of("generate", run.path, "--seeds", "9", "--out", "out") == 0
    np.testing.assert_array_equal(np.asarray(Image.open("out/seed-00000009.png")), run.model().generate(9)[0])


@pytest.mark.parametrize("shape", [(40, 16, 16, 3), (40, 16, 16)])
def test_pictures_in_memory(shape: tuple[int, ...]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    run = kantor.train(pictures, overrides=TINY, batch=8, images=64, quiet=True, device="cpu")
    assert run.model().spec == (16, 16, 3 if len(shape) == 4 else 1)
    again = kantor.train(resume=run.path, images=96, quiet=True, device="cpu")
    assert again.path == run.path
    assert again.metrics["images_seen"][-1] == 96


def test_ctrl_c_saves_and_returns() -> None:
    def interrupt(event: Any) -> None:
        if isinstance(event, Tick):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    overrides = {**TINY, "data.glyphs.count": 60, "train.tick_images": 8}
    run = kantor.train("glyphs", overrides=overrides, on_event=interrupt, **{**FEW, "images": 100_000})
    assert run.reason == "signal"
    assert signal.getsignal(signal.SIGINT) is before
    assert list((run.path / "checkpoints").iterdir())
    assert run.model().images_seen < 100


def test_pack_and_presets() -> None:
    lines = kantor.pack("glyphs", "set", size="16", limit=30)
    assert any("packed 30 pictures, 16x16 RGB" in line for line in lines)
    run = kantor.train("set", overrides=TINY, batch=8, images=32, quiet=True, device="cpu")
    assert run.reason == "done"
    assert {"default", "dcgan", "wgan", "wgan-gp"} <= set(kantor.presets())


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: kantor.train("no such folder", quiet=True), kantor.DataError, "there is no such file"),
        (lambda: kantor.train("glyphs", preset="wgann", quiet=True), kantor.ConfigError, "wgan"),
        (lambda: kantor.train("glyphs", overrides={"critic.widht": 3}, quiet=True), kantor.ConfigError, "width"),
        (lambda: kantor.train("glyphs", time_budget="soon", quiet=True), kantor.ConfigError, "not a duration"),
        (lambda: kantor.train(np.zeros((3, 8, 8)), quiet=True), kantor.DataError, "float64"),
        (lambda: kantor.load("nothing"), kantor.UserError, "nothing"),
        (lambda: kantor.pack("glyphs", "x", format="zip"), kantor.ConfigError, "no such format"),
    ],
)  # fmt: skip
def test_errors_are_those_of_the_command_line(call: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        call()
    assert isinstance(caught.value, kantor.UserError)
    assert caught.value.exit_code in (2, 3, 4)
