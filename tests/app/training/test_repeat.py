"""Lengths and intervals in epochs, and the offer to go on with a run that is there already."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from kantor.app.decisions import Decisions
from kantor.app.training.intervals import with_intervals
from kantor.app.training.length import choose_resumed_length
from kantor.app.training.options import TrainOptions
from kantor.app.training.start import train
from kantor.app.training.terminal import Terminal
from kantor.app.training.trial import Trial
from kantor.config.io import overridden, read_toml, resolve
from support.engine_fakes import feed, parts
from support.resume_child import FIELDS, Quiet


class Told:
    """A terminal that keeps what it is told and gives one answer to everything."""

    def __init__(self, answer: bool = False, preset: str = "wgan-gp") -> None:
        self.preset = preset
        self.notes: list[str] = []
        self.asked: list[str] = []
        self.answer = answer

    def train(self, tmp_path: Path, fields: dict[str, Any] | None = None, **more: Any) -> Path:
        terminal = Terminal(self.notes.append, lambda *_: None, lambda _: Quiet(), lambda: "", self._ask)  # type: ignore[arg-type,return-value]
        overrides = FIELDS | {"train.precision": "float32"} | (fields or {})
        options = TrainOptions(
            preset=self.preset,
            overrides=overrides,
            device="cpu",
            runs=tmp_path / "runs",
            **more,
        )
        with (
            mock.patch("kantor.report.losses_png.losses_png", lambda *_: b"a plot"),
            mock.patch("kantor.app.write_report.curve_svg", lambda *_: "<svg></svg>"),
        ):
            return train(options, terminal)[0]

    def _ask(self, question: str) -> bool:
        self.asked.append(question)
        return self.answer


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has seen 40 images."""
    return Told().train(tmp_path_factory.mktemp("trained"), images=40)


@pytest.fixture
def first(trained: Path, tmp_path: Path) -> Path:
    """The same among the runs of a test."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


def test_a_run_gives_its_threads_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with mock.patch("kantor.app.training.start.choose_threads", lambda *_: torch.set_num_threads(1)):
            Told().train(tmp_path, images=40)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_same_configuration_again_offers_to_go_on(tmp_path: Path) -> None:
    first = Told()
    run = first.train(tmp_path, images=40)
    assert not first.asked
    again = Told()
    other = again.train(tmp_path, images=60)  # a length of its own is no other configuration
    assert other != run
    assert again.asked == [f"resume {run} (y), or start a new run (N)?"]
    (line,) = [line for line in again.notes if "with these settings" in line]
    assert (
        f"has seen 40 images; to train that one on instead of a new one: kantor train --resume {run} --images 60"
        in line
    )
    going_on = Told(answer=True)
    assert going_on.train(tmp_path, images=80) == other  # the newest
    assert read_toml(other / "config.toml")["train"]["images"] == 80
    assert any("resum" in line or "goes on" in line for line in going_on.notes)


def test_a_run_with_decided_fields_is_recognised(tmp_path: Path) -> None:
    """Its config.toml has the decisions, the new configuration "auto"."""
    first, again = Told(preset="default"), Told(preset="default")
    run = first.train(tmp_path, {"train.precision": "auto"}, images=40)
    train = read_toml(run / "config.toml")["train"]
    assert train["augment"] == 1.0 and train["precision"] != "auto"
    again.train(tmp_path, {"train.precision": "auto"}, images=60)
    assert again.asked == [f"resume {run} (y), or start a new run (N)?"]


def test_a_run_with_decided_fields_is_resumed(tmp_path: Path) -> None:
    """What the user wrote, "auto" or another name of the same weights, is not a change of what was decided."""
    words = {"train.precision": "auto", "train.augment": "auto"}
    weights = Told().train(tmp_path, {"train.seed": 9}, images=40)
    first, going_on = Told(), Told(answer=True)
    run = first.train(tmp_path, words, images=40, init_from=str(weights), channels="auto")
    assert going_on.train(tmp_path, words, images=60, init_from=weights.name, channels="auto") == run
    assert read_toml(run / "config.toml")["train"]["images"] == 60


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({"fields": {"train.images": 80}}, 80),
        ({"fields": {"train.epochs": 3}}, 120),
        ({"epochs": 2}, 80),
        ({"images": 40}, None),  # it is as long already: no question
        ({"fields": {"train.images": 20}}, None),
    ],
)
def test_going_on_to_the_length_that_is_asked_for(
    first: Path, tmp_path: Path, more: dict[str, Any], seen: int | None
) -> None:
    going_on = Told(answer=True)
    found = going_on.train(tmp_path, **more)
    assert (found == first) == (seen is not None) == bool(going_on.asked)
    if seen is not None:
        assert read_toml(first / "config.toml")["train"]["images"] == seen


@pytest.mark.parametrize("fields", [{"train.seed": 1}, {"critic.width": 5}, {"data.glyphs.seed": 3}])
@pytest.mark.usefixtures("first")
def test_another_configuration_is_another_run(tmp_path: Path, fields: dict[str, Any]) -> None:
    other = Told()
    other.train(tmp_path, fields, images=40)
    assert not other.asked
    assert not any("with these settings" in line for line in other.notes)


def test_a_run_that_cannot_be_read_is_passed_over(first: Path, tmp_path: Path) -> None:
    (first / "config.toml").write_text("what = [")
    other = Told()
    other.train(tmp_path, images=40)
    assert not other.asked


def test_a_length_in_epochs_from_the_configuration(tmp_path: Path) -> None:
    """Forty images, two and a half times; a length from the command line goes before it."""
    fields = {"train.epochs": 2.5, "train.sample_images": "epoch", "train.snapshot_images": "epoch"}
    train_section = read_toml(Told().train(tmp_path, fields) / "config.toml")["train"]
    assert train_section["images"] == 100
    assert train_section["sample_images"] == train_section["snapshot_images"] == 40
    assert train_section["tick_images"] == 12  # as asked for
    assert read_toml(Told().train(tmp_path, fields, images=20) / "config.toml")["train"]["images"] == 20
    assert read_toml(Told().train(tmp_path, fields, epochs=1) / "config.toml")["train"]["images"] == 40


def test_sheets_of_an_epoch_are_one_an_epoch(tmp_path: Path) -> None:
    run = Told().train(tmp_path, {"train.sample_images": "epoch"}, epochs=3)
    names = sorted(path.stem for path in (run / "samples" / "fixed").glob("*.png"))
    assert [int(name) for name in names] == [0, 40, 80, 120]


def test_an_epoch_is_at_least_a_batch() -> None:
    config = overridden(resolve(), {"train.images": 10_000, "train.tick_images": "epoch", "train.batch": 64})
    assert with_intervals(config, images=10).train.tick_images == 64
    assert with_intervals(config, images=700).train.tick_images == 700


def test_a_rate_is_measured_in_ordinary_cycles() -> None:
    """An overdose may take longer than all that there is time for."""
    state, steps = parts("wgan", {"cycle": {"kind": "overdose", "critic_steps": 2, "overdose_steps": 10_000}})
    stream, taken = feed(), []
    take = stream.take
    with mock.patch.object(stream, "take", lambda n: (taken.append(n), take(n))[1]):
        run: Any = SimpleNamespace(feed=stream, state=lambda: state, steps=lambda note: steps)
        with Trial(run) as trial:
            assert trial.images_per_second(0.01) > 0
            assert stream.position > 0
    assert stream.position == 0  # rewound
    assert 0 < len(taken) < 10_000
    assert steps.config.cycle.overdose_steps == 10_000  # type: ignore[union-attr]


def test_the_rate_of_a_resumed_run_is_that_of_the_steps_decided() -> None:
    """With `train.compile` decided, the length that a budget allows is measured on compiled steps."""
    measured: list[Any] = []
    run: Any = SimpleNamespace(store=SimpleNamespace(count=10))
    run.with_config = lambda config: measured.append(config) or SimpleNamespace()
    config = overridden(resolve(), {"train.images": 100, "train.compile": True})
    with mock.patch("kantor.app.training.length._measured_rate", lambda parts: 1000.0):
        choose_resumed_length(Decisions(config), run, TrainOptions(budget_s=10.0), 100, None)
    assert [one.train.compile for one in measured] == [True]
