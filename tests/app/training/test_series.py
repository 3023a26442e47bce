"""Repeats with several seeds: each once, each with its own seed, and the same command goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from kantor.app.training.options import TrainOptions
from kantor.app.training.series import Series, compare_line, train_series
from kantor.app.training.terminal import Terminal
from kantor.config.io import read_toml
from kantor.errors import ConfigError, DivergedError
from kantor.sinks.events_log import read_events
from support.resume_child import FIELDS, Quiet
from support.run_results import results_of


def repeat(runs: Path, notes: list[str] | None = None, stop_after: int | None = None, **more: Any) -> Series:
    """Trains with seeds 5 and 9; a signal is pretended after so many cycles of all."""
    looks = iter(range(10_000))
    terminal = Terminal(
        ([] if notes is None else notes).append,
        lambda *_: None,
        lambda _: Quiet(),  # type: ignore[arg-type,return-value]
        lambda: "SIGINT" if stop_after is not None and next(looks) >= stop_after else "",
    )
    asked = {
        "preset": "dcgan",
        "device": "cpu",
        "seeds": [5, 9],
        "images": 24,
        "overrides": FIELDS | {"train.precision": "float32"},
    }
    with (
        mock.patch("kantor.report.losses_png.losses_png", lambda *_: b"a plot"),
        mock.patch("kantor.app.write_report.curve_svg", lambda *_: "<svg></svg>"),
    ):
        return train_series(TrainOptions(runs=runs, **asked | more), terminal)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("whole")
    assert repeat(runs).reason == "done"
    return runs


def test_one_run_for_each_seed(whole: Path) -> None:
    runs = sorted(whole.iterdir())
    assert [run.name for run in runs] == ["00000-glyphs-dcgan-seed5", "00001-glyphs-dcgan-seed9"]
    assert [read_toml(run / "config.toml")["train"]["seed"] for run in runs] == [5, 9]
    assert results_of(runs[0])["generator.safetensors"] != results_of(runs[1])["generator.safetensors"]


def test_what_is_done_is_skipped(whole: Path) -> None:
    notes: list[str] = []
    found = repeat(whole, notes)
    assert len(list(whole.iterdir())) == 2 and [run.name for run in found.runs] == [
        run.name for run in sorted(whole.iterdir())
    ]
    assert [note for note in notes if note.endswith("is this run, and done")] and "run 2 of 2: seed 9" in notes


def test_the_same_command_goes_on_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    stopped = repeat(tmp_path, notes, stop_after=2)
    assert (stopped.reason, len(stopped.runs)) == ("SIGINT", 1)
    assert notes[-1] == "stopped in run 1 of 2; the same command goes on, and skips the runs that are done"
    assert repeat(tmp_path).reason == "done"
    resumed, unbroken = sorted(tmp_path.iterdir()), sorted(whole.iterdir())
    assert [run.name for run in resumed] == [run.name for run in unbroken]
    for mine, other in zip(resumed, unbroken, strict=True):
        assert results_of(mine)["generator.safetensors"] == results_of(other)["generator.safetensors"]
    assert [event["resumed"] for event in read_events(resumed[0] / "events.jsonl") if event["event"] == "started"] == [
        False,
        True,
    ]


def test_more_images_lengthen_a_run_that_is_done(tmp_path: Path) -> None:
    for images in (8, 12):
        repeat(tmp_path, images=images, seeds=[5])
    (run,) = tmp_path.iterdir()
    assert max(int(path.name) for path in run.glob("checkpoints/*")) == 12


def test_slim_auto_is_decided_once(tmp_path: Path) -> None:
    """The second seed takes the widths of the first, and the same command knows both runs again."""
    with mock.patch("kantor.app.training.choose_slim.widest", side_effect=[(4, "measured"), (2, "measured")]) as asked:
        repeat(tmp_path, slim="auto")
        assert asked.call_count == 1
        notes: list[str] = []
        assert len(repeat(tmp_path, notes, slim="auto").runs) == 2
    configs = [read_toml(run / "config.toml") for run in sorted(tmp_path.iterdir())]
    assert [(config["generator"]["slim"], config["critic"]["slim"]) for config in configs] == [(4, 4), (4, 4)]
    assert len([note for note in notes if note.endswith("is this run, and done")]) == 2


def test_a_stopped_run_of_slim_auto_goes_on(tmp_path: Path) -> None:
    with mock.patch("kantor.app.training.choose_slim.widest", side_effect=[(4, "measured")]):
        assert repeat(tmp_path, stop_after=2, slim="auto").reason == "SIGINT"
        assert repeat(tmp_path, slim="auto").reason == "done"
    assert len(list(tmp_path.iterdir())) == 2


def test_another_name_is_another_series(tmp_path: Path) -> None:
    for name in ("a", "b"):
        repeat(tmp_path, name=name, seeds=[5], images=4)
    assert [run.name for run in sorted(tmp_path.iterdir())] == ["00000-a-seed5", "00001-b-seed5"]


def test_a_run_that_diverges_does_not_keep_the_next_from_training(tmp_path: Path) -> None:
    results: list[Any] = [
        DivergedError("step 3", "no finite gradients", "lower the rates"),
        (tmp_path / "00001-x", "done"),
    ]
    with mock.patch("kantor.app.training.series.train", side_effect=results):
        found = repeat(tmp_path)
    assert found.runs == (tmp_path / "00001-x",) and isinstance(found.diverged, DivergedError)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"seed": 1}, "with --seed;"),
        ({"resume": "0"}, "with --resume;"),
        ({"overrides": {"train.seed": 3}}, "with --set train.seed"),
        ({"seeds": [1, 1]}, "twice"),
        ({"seeds": list(range(65))}, "more than 64"),
        ({"seeds": [2**63]}, "too large"),
    ],
)
def test_what_cannot_be_a_series(more: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        TrainOptions(**{"seeds": [1, 2]} | more)
    assert caught.value.exit_code == 2


def test_the_line_that_compares_them() -> None:
    runs = [Path("runs/00003-a-seed1"), Path("runs/00004-a-seed2")]
    assert compare_line(runs, Path("runs")) == "compare 3 4"
    assert compare_line(runs, Path("my runs")) == "compare 3 4 --runs 'my runs'"
