"""Kantor from Python."""

from __future__ import annotations

import doctest
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import kantor
from kantor import api
from kantor.api.in_memory import keep
from kantor.engine.events import Finished, Started, Tick
from kantor.sample.grid import grid

TINY = {"generator.width": 4, "critic.width": 4, "generator.latent_dim": 4, "train.precision": "float32"}
FEW: dict[str, Any] = {"size": 16, "batch": 8, "images": 64, "quiet": True, "device": "cpu"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
    images = model.generate(seeds=range(40), classes=model.class_names[3])
    assert images.shape == (40, 16, 16, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(model.generate(17, classes=3), images[17:18])
    np.testing.assert_array_equal(model.generate([17, 5], classes=[3, model.class_names[3]]), images[[17, 5]])
    np.testing.assert_array_equal(run.model().generate([3]), kantor.load("latest").generate([3]))
    way = model.walk([17, 5], frames=6, classes=3)
    np.testing.assert_array_equal(way[[0, -1]], images[[17, 5]])
    assert (model.generate([1], 0, truncation=0) == model.generate([2], 0, truncation=0)).all()


def test_a_seed_on_the_command_line_is_the_same_image(capsys: pytest.CaptureFixture[str]) -> None:
    from support.commands import exit_of

    run = kantor.train("glyphs", overrides={**TINY, "data.glyphs.count": 60}, **FEW)
    assert exit_of("generate", run.path, "--seeds", "9", "--out", "out") == 0
    np.testing.assert_array_equal(np.asarray(Image.open("out/seed-00000009.png")), run.model().generate(9)[0])


@pytest.mark.parametrize("shape", [(40, 16, 16, 3), (40, 16, 16)])
def test_images_in_memory(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    run = kantor.train(images, overrides=TINY, batch=8, images=64, quiet=True, device="cpu")
    assert run.model().spec == (16, 16, 3 if len(shape) == 4 else 1)
    again = kantor.train(resume=run.path, images=96, quiet=True, device="cpu")
    assert again.path == run.path
    assert again.metrics["images_seen"][-1] == 96


def test_classes_of_images_in_memory() -> None:
    rng = np.random.default_rng(1)
    dark = rng.integers(0, 60, (20, 16, 16), np.uint8)
    images = np.concatenate([dark, 255 - dark])
    names = ["dark"] * 20 + ["light"] * 20
    first = kantor.train(images, labels=names, conditional=True, overrides=TINY, **FEW)
    assert first.model().class_names == ("dark", "light")
    again = kantor.train(resume=first, images=72, quiet=True, device="cpu")  # a Run serves where a directory does
    assert again.path == first.path
    assert keep(images, list(np.arange(40) // 20), Path())[1] == keep(images, np.arange(40) // 20, Path())[1]
    numbers = kantor.train(images, labels=np.arange(40) // 20, conditional=True, overrides=TINY, **FEW)
    assert kantor.load(numbers).class_names == ("0", "1")
    assert "array-" in numbers.path.name and ".npy" not in numbers.path.name


@pytest.mark.parametrize("make", [list, torch.from_numpy, lambda a: torch.from_numpy(a.transpose(0, 3, 1, 2)),
                                  lambda a: [Image.fromarray(p) for p in a],
                                  lambda a: [torch.from_numpy(p.transpose(2, 0, 1)) for p in a]])  # fmt: skip
def test_lists_and_tensors_are_the_arrays_that_they_hold(make: Any, tmp_path: Path) -> None:
    images = np.random.default_rng(2).integers(0, 256, (12, 16, 16, 3), np.uint8)
    path, labels = keep(make(images), None, tmp_path)
    np.testing.assert_array_equal(np.load(path), images)
    assert labels is None
    assert path == keep(images, None, tmp_path)[0]


def test_flags_are_arguments() -> None:
    Path("images").mkdir()
    for i in range(12):
        Image.fromarray(np.full((40, 20, 3), 20 * i, np.uint8)).save(f"images/{i}.png")
    Path("images/bad.png").write_bytes(b"nothing")
    run = kantor.train(
        "images", size=(24, 16), fit="contain", channels="gray", crop=18, mirror=True, max_bad="20%", images="0.1k",
        batch=8, overrides=TINY, quiet=True, device="cpu",
    )  # fmt: skip
    assert run.model().spec == (24, 16, 1)
    text = (run.path / "config.toml").read_text()
    for line in ('fit = "contain"', "crop = 18", "mirror = true", "max_bad = 0.2", "images = 100\n"):
        assert line in text


def test_answers_to_events() -> None:
    """A function may ask for saves and an end; what it raises comes out once everything is saved."""
    fields = {**TINY, "data.glyphs.count": 60, "train.tick_images": 8, "train.snapshot_images": 10**6}
    options = {**FEW, "images": 100_000, "overrides": fields}

    def answer(event: Any) -> Any:
        if isinstance(event, Tick):
            return kantor.Stop("good enough") if event.images_seen >= 32 else [kantor.Save(), "nothing"]
        return True

    run = kantor.train("glyphs", on_event=answer, **options)
    assert run.reason == "good enough"
    assert [int(p.name) for p in sorted((run.path / "checkpoints").iterdir())][-2:] == [24, 32]

    run = kantor.train("glyphs", on_event=lambda event: kantor.Stop(""), **options)
    assert (run.reason, run.metrics["images_seen"].size) == ("stopped", 0)

    def fail(event: Any) -> None:
        if isinstance(event, Tick) and event.images_seen >= 24:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        kantor.train("glyphs", on_event=fail, **options)
    assert kantor.load("latest").images_seen >= 24


def test_images_from_latents() -> None:
    assert kantor.Model.draw is kantor.Model.from_latents  # its old name
    model = kantor.train("glyphs", overrides={**TINY, "data.glyphs.count": 60}, **FEW).model()
    np.testing.assert_array_equal(model.from_latents(model.latents([4, 9])), model.generate([4, 9]))
    assert model.generate([]).shape == (0, 16, 16, 3)
    assert repr(model) == "<Model: 16x16 RGB, 64 images seen>"
    for call, says in (
        (lambda: model.from_latents(np.zeros((2, 3))), r"their shape is \[2, 3\]"),
        (lambda: model.generate([1.5]), r"1.5 is not a seed"),  # type: ignore[list-item]
        (lambda: model.generate("0-3"), "0 is not a seed"),  # type: ignore[arg-type]
        (lambda: model.generate(-1), "-1 is not a seed"),
        (lambda: model.generate([1], classes=np.int64(3)), "without classes"),  # type: ignore[arg-type]
        (lambda: model.generate([1], classes=np.array([3])), "without classes"),  # type: ignore[arg-type]
        (lambda: model.walk(3), "two or more"),  # type: ignore[arg-type]
        (lambda: model.walk([1, 2], frames=0), "0 images"),
        (lambda: model.walk([1, 2], easing="bouncy"), "linear"),  # type: ignore[arg-type]
    ):
        with pytest.raises(kantor.ConfigError, match=says):
            call()


def test_a_walk_is_that_of_the_command_line() -> None:
    from support.commands import exit_of

    run = kantor.train("glyphs", overrides={**TINY, "data.glyphs.count": 60}, conditional=True, **FEW)
    way = run.model().walk([3, 9], frames=4, classes=["B", "K"])
    words = ["--seeds", "3,9", "--class", "B,K", "--columns", "5", "--out", "walk.png"]
    assert exit_of("walk", run.path, *words) == 0
    np.testing.assert_array_equal(np.asarray(Image.open("walk.png")), grid(way, 5))


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Python's own handler, also where a shell's "&" makes SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_before_training_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the signal was swallowed")

    monkeypatch.setattr("kantor.app.training.start.open_set", look)
    with pytest.raises(KeyboardInterrupt):
        kantor.train("glyphs", overrides=TINY, **FEW)


@pytest.mark.usefixtures("heeds_ctrl_c")
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
    assert any("packed 30 images, 16x16 RGB" in line for line in lines)
    run = kantor.train("set", overrides=TINY, batch=8, images=32, quiet=True, device="cpu")
    assert run.reason == "done"
    assert {"default", "dcgan", "wgan", "wgan-gp"} <= set(kantor.presets())


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: kantor.train("no such folder", quiet=True), kantor.DataError, "no such file"),
        (lambda: kantor.train("glyphs", preset="wgann", quiet=True), kantor.ConfigError, "wgan"),
        (lambda: kantor.train("glyphs", overrides={"critic.widht": 3}, quiet=True), kantor.ConfigError, "width"),
        (lambda: kantor.train("glyphs", time_budget="soon", quiet=True), kantor.ConfigError, "not a duration"),
        (lambda: kantor.train(np.zeros((3, 8, 8)), quiet=True), kantor.DataError, "float64"),
        (lambda: kantor.train(np.zeros((0, 8, 8), np.uint8), quiet=True), kantor.DataError, r"\[0, 8, 8\]"),
        (lambda: kantor.train([np.zeros((8, 8)), np.zeros((9, 8))], quiet=True), kantor.DataError, "differ in size"),
        (lambda: kantor.train([], quiet=True), kantor.DataError, "type list"),
        (lambda: kantor.train({1: 2}, quiet=True), kantor.DataError, "type dict"),
        (lambda: kantor.train(np.zeros((3, 8, 8), np.uint8), labels=[1], quiet=True), kantor.DataError, "1 labels for 3"),
        (lambda: kantor.train(np.zeros((2, 8, 8), np.uint8), labels=[1, .5], quiet=True), kantor.DataError, "not a class"),
        (lambda: kantor.train("glyphs", labels=[1, 2], quiet=True), kantor.ConfigError, "in memory"),
        (lambda: kantor.train("glyphs", time_budget=-5, quiet=True), kantor.ConfigError, "-5: leaves no time"),
        (lambda: kantor.train("glyphs", time_budget=0, quiet=True), kantor.ConfigError, "0: leaves no time"),
        (lambda: kantor.train("glyphs", time_budget=float("nan"), quiet=True), kantor.ConfigError, "nan: leaves no time"),
        (lambda: kantor.train(resume="latest", preset="dcgan"), kantor.ConfigError, "its own configuration"),
        (lambda: kantor.pack(np.zeros((3, 8, 8), np.uint8), "x"), kantor.ConfigError, "ndarray cannot be packed"),
        (lambda: kantor.critic("a b"), kantor.ConfigError, "'a b' is not a valid name"),
        (lambda: kantor.generator(dict), kantor.ConfigError, "the name is missing"),
        (lambda: kantor.source("x", list), kantor.ConfigError, "give an object of it"),
        (lambda: kantor.Traits(False, normalisation="BatchNorm"), kantor.ConfigError, "batch"),
        (lambda: kantor.load("nothing"), kantor.UserError, "nothing"),
        (lambda: kantor.pack("glyphs", "x", format="zip"), kantor.ConfigError, "no such format"),
    ],
)  # fmt: skip
def test_errors_are_those_of_the_command_line(call: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        call()
    assert isinstance(caught.value, kantor.UserError)
    assert caught.value.exit_code in (2, 3, 4)
