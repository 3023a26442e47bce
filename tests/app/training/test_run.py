"""What happens around a run: lengths, changes on resume, the cache, the average's clock, devices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import absolute_source, open_set
from kantor.app.environment import read
from kantor.app.training.build import build
from kantor.app.units import duration_s
from kantor.config.io import read_toml, resolve
from kantor.config.optimizer import AdamConfig
from kantor.engine import ema, optimizers
from kantor.errors import ConfigError
from support.commands import TINY, exit_of
from support.engine_fakes import CPU, InMemory, feed, parts
from support.resume_child import FIELDS, train_until


def test_a_finished_run_is_lengthened_only_when_asked(tmp_path: Path, cache: Path) -> None:
    run, reason = train_until(None, "default", "float32", tmp_path / "runs", cache)
    assert reason == "done"

    def resumed(**more: Any) -> str:
        return train_until(None, "default", "float32", tmp_path / "runs", cache, run, **more)[1]

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    for more in ({}, {"images": 64}, {"budget_s": 60.0}, {"epochs": 1.6}):  # a restart loop has to end
        assert resumed(**more) == "done"
        assert before == {path: path.read_bytes() for path in before}
    with pytest.raises(ConfigError, match="--images 10: the run has already seen 64 images; choose more"):
        resumed(images=10)
    assert resumed(images=72) == "done"
    assert read_toml(run / "config.toml")["train"]["images"] == 72
    assert resumed(images=96, overrides={"train.tick_images": 4}) == "done"  # what is logged may change
    rows = (run / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[2] for row in rows[-6:]] == ["76", "80", "84", "88", "92", "96"]
    with pytest.raises(ConfigError, match=r"train\.batch: 4 -> 8"):
        resumed(images=128, overrides={"train.batch": 8})
    with pytest.raises(ConfigError, match="give only one"):
        resumed(images=128, epochs=9)


def test_a_damaged_cache_heals(tmp_path: Path) -> None:
    config = resolve(overrides=FIELDS)
    notes: list[str] = []
    store, _, _ = open_set(config, 16, DatasetCache(tmp_path, note=notes.append))
    (images,) = tmp_path.rglob("images-00000.npy")
    whole = images.read_bytes()
    images.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again, _, _ = open_set(config, 16, DatasetCache(tmp_path, note=notes.append))
    assert any("damaged" in note and "packing them again" in note for note in notes)
    assert images.read_bytes() == whole
    assert again.fingerprint == store.fingerprint


def test_paths_are_kept_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glyphs").mkdir()  # must not stand for the built-in set
    (tmp_path / "auto").write_text("")
    (tmp_path / "fish").mkdir()
    (tmp_path / "labels.csv").write_text("")
    assert absolute_source(resolve()).data.source == "glyphs"
    assert absolute_source(resolve()).data.labels == "auto"
    data = absolute_source(resolve(overrides={"data.source": "fish", "data.labels": "labels.csv"})).data
    assert (data.source, data.labels) == (str(tmp_path / "fish"), str(tmp_path / "labels.csv"))


def test_the_average_counts_images_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three critic steps of 4 images for each of 2 generator steps: 6 images a step of the average."""
    counted: list[tuple[float, int]] = []
    monkeypatch.setattr(ema, "decay", lambda config, images, seen: counted.append((images, seen)) or 0.5)
    state, steps = parts("wgan-gp", {"cycle.critic_steps": 3, "cycle.generator_steps": 2})
    steps.cycle(state, feed())
    assert counted == [(6.0, 12), (6.0, 12)]


def test_every_moment_goes_to_the_device_of_its_parameter() -> None:
    network = nn.Linear(3, 2)
    optimizer = optimizers.build_optimizer(AdamConfig(), network)
    optimizers.apply(optimizer, [torch.ones_like(p) for p in network.parameters()])
    stored = dict(optimizers.state_tensors(optimizer, network))
    assert all(value.device == CPU for value in stored.values())
    other = nn.Linear(3, 2, device="meta")
    moved = torch.optim.Adam(other.parameters())
    optimizers.load_state_tensors(moved, other, stored)
    assert {value.device.type for moments in moved.state.values() for value in moments.values()} == {"meta"}


def test_a_repeated_configuration_takes_the_threads_of_its_run(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers depend on them: the same again is the same only with as many."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run, _ = train_until(None, "default", "float32", tmp_path / "runs", cache)
        assert read(run / "environment.json")["threads"] == 1
        torch.set_num_threads(2)
        words = ["train", "--config", run / "config.toml", "--runs", tmp_path / "again"]
        assert exit_of(*words, "--device", "cpu") == 0
        assert re.search(rf"^threads +1 +as in {re.escape(str(run))}$", capsys.readouterr().out, re.MULTILINE)
        (again,) = (tmp_path / "again").iterdir()
        assert (again / "generator.safetensors").read_bytes() == (run / "generator.safetensors").read_bytes()
    finally:
        torch.set_num_threads(before)


def test_a_run_is_named_by_the_preset_that_its_configuration_extends(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "mnist64-dcgan"\n[data.glyphs]\ncount = 40\n')
    assert exit_of("train", "glyphs", "--config", file, *TINY, "--images", "8", "--runs", tmp_path / "runs") == 0
    preset = ["--preset", "mnist64-dcgan", "--set", "data.glyphs.count=30"]
    assert exit_of("train", "glyphs", *preset, *TINY, "--images", "8", "--runs", tmp_path / "runs") == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["00000-glyphs-mnist64-dcgan", "00001-glyphs-mnist64-dcgan"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5min", 300), ("5 min", 300), ("1hr30m", 5400), ("20sec", 20), ("2d", 172800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text, "--time-budget") == seconds


@pytest.mark.parametrize("text", ["5", "min", "5 minutes or so", "m5", "1h-3m", "9" * 20 + "s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ConfigError):
        duration_s(text, "--time-budget")


def test_clipped_weights_are_not_scaled() -> None:
    config = resolve("wgan", overrides={"critic.equalised": True})
    config = config.model_copy(update={"data": config.data.model_copy(update={"size": "16"})})
    with pytest.raises(ConfigError, match=r"critic\.equalised: scales the weights that clipping has just bounded"):
        build(config, InMemory(labelled=False), CPU)
