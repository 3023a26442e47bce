"""--batch auto: the smallest batch that is nearly as fast as any, and a refusal where the batch matters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kantor.app.training.measured_choices import fastest_batch
from kantor.app.training.trial import Trial
from kantor.errors import ResourceError
from support.commands import exit_of

GLYPHS = ["train", "glyphs", "--size", "16", "--channels", "rgb", "--images", "64", "--device", "cpu"]
GLYPHS += ["--set", "data.glyphs.count=70"]
SMALL = ["--set", "generator.width=4", "--set", "critic.width=4"]


@pytest.mark.parametrize(
    ("rates", "most", "chosen"),
    [
        ({16: 100, 32: 180, 64: 300, 128: 310, 256: 312}, 10**6, 64),
        ({16: 100, 32: 200, 64: 400, 128: 800, 256: 1600, 512: 3200, 1024: 6400}, 10**6, 1024),
        ({16: 100, 32: 200, 64: 400}, 100, 64),
        ({16: 100, 32: 90, 64: 80, 128: 1000}, 10**6, 16),
        ({16: 50}, 3, 16),
    ],
)
def test_the_knee(rates: dict[int, float], most: int, chosen: int) -> None:
    batch, why = fastest_batch(lambda b: rates.get(b, 300), most, 30)
    assert batch == chosen
    assert f"at {chosen}" in why
    assert "rates stay as they are" in why


def test_what_does_not_fit() -> None:
    def rate_of(batch: int) -> float:
        if batch > 32:
            raise MemoryError
        return batch

    batch, why = fastest_batch(rate_of, 10**6, 30)
    assert batch == 32
    assert "64 does not fit" in why
    with pytest.raises(ResourceError, match="even a batch of 16"):
        fastest_batch(lambda b: (_ for _ in ()).throw(MemoryError), 100, 30)


def test_none_is_tried_that_takes_too_long() -> None:
    """Trials take 1, 2, 4 ... seconds: the fifth would end at 31."""
    now_s = [0.0]

    def rate_of(batch: int) -> float:
        now_s[0] += batch / 16
        return batch

    batch, why = fastest_batch(rate_of, 10**6, 30, lambda: now_s[0])
    assert batch == 128
    assert "larger ones would have taken too long" in why
    assert "taken too long" not in fastest_batch(rate_of, 10**6, 1000, lambda: now_s[0])[1]


@pytest.mark.parametrize("error", [RuntimeError("MPS backend out of memory (...)"), MemoryError()])
def test_out_of_memory_ends_the_search_and_not_the_run(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DefaultCPUAllocator and Apple's GPUs raise plain RuntimeErrors."""
    measured = []

    def rate(trial: Trial, seconds: float) -> float:
        measured.append(trial.steps.config.train.batch)
        if trial.steps.config.train.batch > 16:
            raise error
        return 100.0

    monkeypatch.setattr(Trial, "images_per_second", rate)
    shared = [*GLYPHS, *SMALL, "--runs", tmp_path / "r"]
    assert exit_of(*shared, "--batch", "auto") == 0
    said = r"^train\.batch +16 +measured 100 images a second at 16; 32 does not fit"
    assert re.search(said, capsys.readouterr().out, re.MULTILINE)
    assert measured == [16, 32]


def test_a_batch_that_the_cycle_excludes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with shared images and another batch of the generator could not be resumed."""
    monkeypatch.setattr(Trial, "images_per_second", lambda trial, seconds: 100.0)
    shared = [*GLYPHS, *SMALL, "--runs", tmp_path / "r", "--set", "cycle.generator_batch=64"]
    assert exit_of(*shared, "--batch", "auto") == 2
    assert "add --set cycle.shared_images=false" in capsys.readouterr().err
    assert not list((tmp_path / "r").glob("*"))


def test_a_run_with_it_is_the_run_with_that_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = Trial.images_per_second
    monkeypatch.setattr(Trial, "images_per_second", lambda trial, seconds: measure(trial, 0.1))
    shared = [*GLYPHS, *SMALL, "--runs", tmp_path / "r"]
    assert exit_of(*shared, "--batch", "auto") == 0
    out = capsys.readouterr().out
    batch = re.search(r"^train\.batch +(\d+) +measured", out, re.MULTILINE)
    assert batch
    assert f"batch = {batch[1]}\n" in next((tmp_path / "r").glob("00000-*/config.toml")).read_text()
    assert exit_of(*shared, "--batch", batch[1]) == 0
    models = [path.read_bytes() for path in sorted((tmp_path / "r").glob("*/generator.safetensors"))]
    assert len(models) == 2
    assert models[0] == models[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--batch", "auto", "--set", "generator.norm=batch"],
            "the generator mixes the images of a batch (batch norm)",
        ),
        (["--batch", "auto", "--set", "critic.minibatch_stddev=batch"], "(minibatch stddev)"),
        (["--batch", "many"], "is not a whole number of at least 2"),
        (["--batch", "0"], "is not a whole number of at least 2"),
        (["--batch", "-4"], "is not a whole number of at least 2"),
    ],
)
def test_refusals(words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(*GLYPHS, *SMALL, "--runs", tmp_path / "r", *words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()
