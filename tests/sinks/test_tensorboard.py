"""A run in TensorBoard, read back with its own reader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from kantor.sinks.metrics_csv import read_metrics
from support.commands import TINY, exit_of


def test_tensorboard_holds_the_numbers_of_metrics_csv(tmp_path: Path) -> None:
    """After a resume too: nothing twice, nothing missing."""
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra `tensorboard` is not installed"
    )
    words = ["--set", "train.tick_images=8", "--set", "train.sample_images=16", "--set", "data.glyphs.count=40"]
    shared = ["--runs", tmp_path / "r", "--tensorboard"]
    assert exit_of("train", "glyphs", *TINY, *words, *shared, "--images", "64") == 0
    run = next((tmp_path / "r").glob("00000-*"))
    assert exit_of("train", "--resume", run, "--images", "96", *shared[2:]) == 0
    found = reader.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    metrics = read_metrics(run / "metrics.csv")
    scalars = found.Scalars("critic/critic_gap")
    assert [s.step for s in scalars] == metrics["images_seen"].astype(int).tolist()
    assert [s.value for s in scalars] == pytest.approx(metrics["critic_gap"].tolist(), rel=1e-6)
    assert found.Images("samples/fixed")[-1].step == 96


def test_training_survives_a_writer_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    import torch.utils.tensorboard as board

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(board, "SummaryWriter", full)
    shared = ["--runs", tmp_path / "r", "--tensorboard"]
    assert exit_of("train", "glyphs", *TINY, "--set", "data.glyphs.count=30", "--images", "16", *shared) == 0
    assert capsys.readouterr().out.count("tensorboard could not be written") == 1


def test_tensorboard_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    assert exit_of("train", "glyphs", "--tensorboard", "--runs", tmp_path / "r") == 5
    assert "pip install 'kantor[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_resumed_run_goes_on_logging(tmp_path: Path) -> None:
    """Without being told again: it has a folder tensorboard/."""
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra `tensorboard` is not installed"
    )
    words = ["--set", "train.tick_images=8", "--set", "data.glyphs.count=40", "--runs", tmp_path / "r"]
    assert exit_of("train", "glyphs", *TINY, *words, "--tensorboard", "--images", "32") == 0
    run = next((tmp_path / "r").glob("00000-*"))
    assert exit_of("train", "--resume", run, "--images", "64") == 0
    found = reader.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    assert [s.step for s in found.Scalars("critic/critic_gap")] == [8, 16, 24, 32, 40, 48, 56, 64]


def test_a_resumed_run_does_without_where_the_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--set", "data.glyphs.count=40", "--runs", tmp_path / "r"]
    assert exit_of("train", "glyphs", *TINY, *words, "--images", "16") == 0
    run = next((tmp_path / "r").glob("00000-*"))
    (run / "tensorboard").mkdir()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert exit_of("train", "--resume", run, "--images", "32") == 0
    out = capsys.readouterr().out
    assert f"{run / 'tensorboard'} does not go on: this needs one more package (tensorboard); pip install" in out
    assert not list((run / "tensorboard").iterdir())
