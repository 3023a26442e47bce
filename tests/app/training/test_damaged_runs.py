"""Run directories that somebody has edited, renamed in, or damaged: what is wrong is named and nothing is overwritten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import kantor
from kantor.errors import ConfigError, DataError, ModelError
from kantor.nets import custom
from kantor.sinks.metrics_csv import COLUMNS
from support.commands import exit_of
from support.resume_child import train_until


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run that was stopped after 36 of 64 images, with checkpoints at 16, 32 and 36."""
    return train_until(9, "default", "float32", tmp_path_factory.mktemp("runs"), cache)[0]


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "runs" / stopped.name))


@pytest.fixture
def go_on(run: Path, cache: Path) -> Callable[..., list[str]]:
    """Resumes the run for a cycle and gives the notes; where it is refused, nothing in it has changed."""

    def resumed(cycles: int | None = 1, **more: Any) -> list[str]:
        notes: list[str] = []
        before = contents(run)
        try:
            train_until(cycles, "default", "float32", run.parent, cache, run, notes, **more)
        except Exception:
            assert contents(run) == before
            assert not any("resumed" in note for note in notes)
            raise
        return notes

    return resumed


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}


def edit(run: Path, old: str, new: str) -> None:
    text = (run / "config.toml").read_text()
    assert old in text
    (run / "config.toml").write_text(text.replace(old, new))


# --- checkpoints that are gone or bear another name -----------------------------------------------------------------


@pytest.mark.parametrize("what", ["deleted", "emptied", "a file", "deleted, and no events"])
def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(what: str, run: Path, go_on: Callable[..., Any]) -> None:
    shutil.rmtree(run / "checkpoints")
    if what == "emptied":
        (run / "checkpoints").mkdir()
        (run / "generator.safetensors").unlink()
    if what == "a file":
        (run / "checkpoints").write_text("")
    if what == "deleted, and no events":
        (run / "events.jsonl").unlink()
    with pytest.raises(ModelError, match=r"checkpoints: .*saved.*gone; restore them"):
        go_on()


def test_a_run_killed_within_its_first_save_begins_anew(run: Path, go_on: Callable[..., Any]) -> None:
    """generator.safetensors is written before the checkpoint, so it alone is no proof of a save."""
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text(lines[0])
    assert any("starts again from its first step" in note for note in go_on())


def test_a_renamed_checkpoint_is_named_and_passed_over(run: Path, go_on: Callable[..., Any]) -> None:
    folder = run / "checkpoints"
    (folder / "000000032").rename(folder / "000009999")
    notes = go_on()
    assert any("000009999" in note and "holds the state after 32 images" in note for note in notes)
    assert any("resumed at 36 images" in note for note in notes)
    assert any("resumed at 40 images" in note for note in go_on())
    assert (folder / "000009999").exists()


def test_a_checkpoint_that_bears_a_lower_number(run: Path, go_on: Callable[..., Any]) -> None:
    folder = run / "checkpoints"
    (folder / "000000036").rename(folder / "000000001")
    notes = go_on()
    assert any("000000001" in note and "holds the state after 36 images" in note for note in notes)
    assert any("resumed at 32 images" in note for note in notes)


def test_the_only_checkpoint_is_renamed(run: Path, go_on: Callable[..., Any]) -> None:
    folder = run / "checkpoints"
    for name in ("000000016", "000000032"):
        shutil.rmtree(folder / name)
    (folder / "000000036").rename(folder / "000000077")
    with pytest.raises(ModelError, match=r"000000077: .*no other checkpoint is intact; rename it to 000000036"):
        go_on()


# --- config.toml that was edited ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("batch = 4\nseed = 0", "batch = 8\nseed = 3", "train.batch: 4 -> 8, train.seed: 0 -> 3"),
        ("lr = 0.0024", "lr = 0.004", r"optimizer.critic.lr: 0.0024 -> 0.004, optimizer.generator.lr: 0.0024 -> 0.004"),
        ('size = "16"', 'size = "24"', "data.size: 16 -> 24"),
        ("latent_dim = 4", "latent_dim = 5", "generator.latent_dim: 4 -> 5"),
        ("horizon_images = 64", "horizon_images = 99", "train.horizon_images: 64 -> 99"),
        ("width = 4", "width = 8", "critic.width: 4 -> 8, generator.width: 4 -> 8"),
        ("count = 40", "count = 41", "data.glyphs.count: 40 -> 41"),
        ('precision = "float32"', 'precision = "auto"', "train.precision: float32 -> auto"),
        ('labels = "auto"\nlimit = 0', 'labels = "none"\nlimit = 7', "data.limit: 0 -> 7"),
    ],
)
def test_an_edited_configuration_is_refused(
    old: str, new: str, named: str, run: Path, go_on: Callable[..., Any]
) -> None:
    edit(run, old, new)
    with pytest.raises(ConfigError, match=rf"config\.toml: .*{named}; undo the edits"):
        go_on()


def test_an_empty_configuration_is_refused_in_a_short_line(run: Path, go_on: Callable[..., Any]) -> None:
    (run / "config.toml").write_text("")
    with pytest.raises(
        ConfigError, match=r"config\.toml: .*critic\.width: 4 -> .* and \d+ more; undo the edits"
    ) as error:
        go_on()
    assert len(str(error.value)) < 600


def test_what_may_change_may_be_edited(run: Path, go_on: Callable[..., Any]) -> None:
    edit(run, "tick_images = 12", "tick_images = 8")
    edit(run, "\nimages = 64", "\nimages = 72")
    go_on(None)
    assert [line.split(",")[2] for line in (run / "metrics.csv").read_text().splitlines()][-2:] == ["64", "72"]


def test_a_length_of_auto(run: Path, go_on: Callable[..., Any]) -> None:
    edit(run, "\nimages = 64", '\nimages = "auto"')
    with pytest.raises(ConfigError, match=r'config\.toml: train\.images is "auto".*; write images = 64'):
        go_on()
    shutil.rmtree(run / "checkpoints")
    for name in ("generator.safetensors", "events.jsonl"):
        (run / name).unlink()
    with pytest.raises(ConfigError, match=r'config\.toml: train\.images is "auto"'):
        go_on()


def test_only_what_is_refused_is_listed(run: Path, go_on: Callable[..., Any], tmp_path: Path) -> None:
    differs = {"train.batch": 8, "train.tick_images": 9, "data.source": str(tmp_path), "train.init_from": "other"}
    with pytest.raises(ConfigError, match=r"this differs: train.batch: 4 -> 8, train.init_from: \(none\) -> other;"):
        go_on(overrides=differs)


# --- files beside the checkpoints -----------------------------------------------------------------------------------

ENVIRONMENTS = [
    '{"versions": [1, 2]}', '{"versions": {"torch": [1]}}', '"x"', "null", "[[1, 2]]", "[" * 200_000,
    '{"threads": "x"}', '{"threads": 0}', '{"threads": -3}', '{"threads": null}', '{"threads": 1e99}',
    '{"device": "\\ud800", "platform": {"a": []}, "data_fingerprint": 7}', "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("text", ENVIRONMENTS, ids=range(len(ENVIRONMENTS)))
def test_any_environment(text: str, run: Path, go_on: Callable[..., Any]) -> None:
    if text.startswith("{"):
        value = json.loads((run / "environment.json").read_text()) | json.loads(text)
        text = json.dumps(value)
    (run / "environment.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    notes = go_on()
    assert not any("None" in note for note in notes)
    assert exit_of("report", run) == 0


EVENTS = [
    '{"event": "started", "resumed": true, "images_seen": "x"}', '{"event": "finished", "images_seen": null}',
    '{"event": "started", "resumed": true}', '{"event": "finished", "images_seen": 1e400}', "[" * 200_000,
    '{"event": "finished", "images_seen": 12, "reason": [[]]}', '{"event": "finished", "images_seen": 1, "reason": "\\ud800"}',
     '{"event": [], "images_seen": ' + "9" * 4000 + "}",
    '{"event": "started", "images_seen": 1, "epoch_images": "x"}', "\x00" * 99, "null",
]  # fmt: skip


@pytest.mark.parametrize("line", EVENTS, ids=range(len(EVENTS)))
def test_any_event(line: str, run: Path, go_on: Callable[..., Any]) -> None:
    text = (run / "events.jsonl").read_text()
    (run / "events.jsonl").write_text(f"{line}\n{text}{line}\n")
    assert exit_of("report", run) == 0
    go_on()


@pytest.mark.parametrize("name", ["metrics.csv", "events.jsonl"])
def test_a_folder_in_the_place_of_a_file(
    name: str, run: Path, go_on: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (run / name).unlink()
    (run / name).mkdir()
    for words in ("report", run), ("report", run, "--table"):
        wanted = 0 if name == "events.jsonl" and "--table" in words else 3
        assert exit_of(*words) == wanted
        assert not wanted or f"{name}: is a folder" in capsys.readouterr().err
    with pytest.raises(DataError, match=f"{name}: is a folder"):
        go_on()


def test_random_bytes_for_the_measurements(
    run: Path, go_on: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "metrics.csv").write_bytes(bytes(range(256)) * 12)
    with pytest.raises(DataError, match=r"metrics\.csv: line 1 is not a header"):
        go_on()
    assert exit_of("report", run) == 3
    assert "line 1 is not a header" in capsys.readouterr().err
    (run / "metrics.csv").unlink()
    go_on()
    assert exit_of("report", run) == 0


def test_a_header_that_is_missing(run: Path, go_on: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(lines[1:]))
    for words in ("report", run), ("report", run, "--table"):
        assert exit_of(*words) == 3
        assert f"the header is missing; insert this line at the top: {','.join(COLUMNS)}" in capsys.readouterr().err
    with pytest.raises(DataError, match="the header is missing"):
        go_on()


@pytest.mark.parametrize("header", ["images_seen,epoch", "images_seen,images_seen", "attempt,epoch,seen\x00", ""])
def test_a_header_that_is_damaged(header: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, rest = (run / "metrics.csv").read_text().split("\n", 1)
    (run / "metrics.csv").write_text(f"{header}\n{rest}")
    assert exit_of("report", run) == 3
    error = capsys.readouterr().err
    assert "line 1 is not a header" in error
    assert f"replace it with: {','.join(COLUMNS)}" in error


def test_what_a_killed_run_wrote_behind_its_checkpoint_is_no_damage(run: Path, go_on: Callable[..., Any]) -> None:
    with (run / "metrics.csv").open("ab") as file:
        file.write(b"\x00" * 100 + b"\n")
    go_on()
    assert exit_of("report", run) == 0


def test_a_line_that_was_deleted_costs_no_other(run: Path, go_on: Callable[..., Any]) -> None:
    """The file is cut at the end of a line, though the checkpoint knows another length."""
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    del lines[1]
    (run / "metrics.csv").write_text("".join(lines) + lines[-1] * 3)
    go_on(None)
    assert exit_of("report", run) == 0
    seen = [line.split(",")[2] for line in (run / "metrics.csv").read_text().splitlines()]
    assert seen[:3] == ["images_seen", "24", "36"] and seen[-2:] == ["48", "60"]


# --- networks of one's own ------------------------------------------------------------------------------------------


def test_an_own_network_that_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch has to say of it is many lines long."""
    monkeypatch.setitem(custom.REGISTERED["critic"], "mine", None)  # so that it is gone afterwards

    def register(hidden: int) -> None:
        del custom.REGISTERED["critic"]["mine"]

        @kantor.critic("mine")
        class Mine(torch.nn.Module):
            traits = kantor.Traits(mixes_batch=False)

            def __init__(self, config: Any, spec: Any, classes: int) -> None:
                super().__init__()
                self.one = torch.nn.Linear(spec.channels * spec.height * spec.width, hidden)
                self.two, self.three = torch.nn.Linear(hidden, hidden), torch.nn.Linear(hidden, 1)

            def forward(self, x: Any, labels: Any = None, condition: Any = None) -> Any:
                return self.three(self.two(self.one(x.flatten(1)).relu()).relu()).flatten()

    register(6)
    own = {"critic.kind": "custom", "critic.name": "mine", "generator.width": 4, "data.glyphs.count": 40}
    options: dict[str, Any] = {"device": "cpu", "quiet": True, "runs": tmp_path / "runs", "cache": tmp_path / "cache"}
    run = kantor.train("glyphs", size=16, batch=8, images=32, overrides=own, **options)
    register(7)
    with pytest.raises(
        ModelError, match=r"critic/one.bias is \[6\] in the checkpoint and \[7\] in the network"
    ) as error:
        kantor.train(resume=run.path, images=64, **options)
    text = str(error.value)
    assert len(text) < 400 and "and 3 more; use the code that the run began with" in text
