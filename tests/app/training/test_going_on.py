"""A new run that goes on from another: with its counters, its optimizers and its place in schedules."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import kantor
from kantor.app.training.going_on import _flags, command
from kantor.app.training.options import TrainOptions
from kantor.config.io import difference, layered, overridden, override_text, parse_override, read_toml, resolve
from kantor.config.schema import Config
from kantor.runs.run_state import RunState
from support.commands import TINY, exit_of
from support.nasty import encode, photo
from support.resume_child import FIELDS, train_until
from support.run_results import assert_same, results_of

ALL = 64
LINEAR = {"kind": "linear", "hold": 0.0, "final": 0.0}
FALLING = {f"optimizer.{n}.schedule": LINEAR for n in ("generator", "critic")}
RATES = ("critic_lr", "generator_lr")


def newest(run: Path) -> RunState:
    return RunState.load(sorted((run / "checkpoints").iterdir())[-1])


def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").open()))


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run that was stopped at 32 of 64 images."""
    fields = {"overrides": FIELDS | FALLING | {"train.precision": "float32"}}
    run, reason = train_until(8, "default", "float32", tmp_path_factory.mktemp("half"), cache, **fields)
    assert reason == "signal" and newest(run).images_seen == 32
    return run


def gone_on(half: Path, runs: Path, cache: Path, notes: list[str] | None = None, **more: Any) -> Path:
    options = {"init_from": str(half), "keep_counters": True, "overrides": {}, "images": None, **more}
    run, reason = train_until(None, "default", "float32", runs, cache, None, notes, **options)
    assert reason == "done"
    return run


def test_without_a_change_it_is_the_rest_of_the_run(half: Path, tmp_path: Path, cache: Path) -> None:
    """Bit for bit: the same weights, moments, EMA, order of data and rates; metrics.csv begins where the first ends."""
    whole = Path(shutil.copytree(half, tmp_path / "whole" / half.name))
    train_until(None, "default", "float32", tmp_path / "whole", cache, whole)
    notes: list[str] = []
    run = gone_on(half, tmp_path / "runs", cache, notes)
    assert any(line.startswith("takes 100% of the generator's weights and 100% of the critic's") for line in notes)
    assert "goes on at 32 images" in notes
    mine, theirs = newest(run), newest(whole)
    assert mine.images_seen == ALL
    for kind in ("model", "optimizer"):
        for name, tensor in getattr(theirs, kind).items():
            assert torch.equal(getattr(mine, kind)[name], tensor), name
    times = ("elapsed_s", "tick_elapsed_s")
    assert {k: v for k, v in mine.counters.items() if k not in times} == {
        k: v for k, v in theirs.counters.items() if k not in times
    }
    assert mine.feed_position == theirs.feed_position
    assert [row["images_seen"] for row in rows(run)] == ["36", "48", "60"]
    assert [row[name] for row in rows(run)[1:] for name in RATES] == [
        row[name] for row in rows(whole)[-2:] for name in RATES
    ]
    assert [path.name for path in sorted((run / "samples" / "fixed").iterdir())] == [
        f"{n:09d}.png" for n in (32, 40, 60, 64)
    ]
    for path in (run / "samples" / "fixed").iterdir():
        if path.name != "000000032.png":
            assert path.read_bytes() == (whole / "samples" / "fixed" / path.name).read_bytes()
    env = json.loads((run / "environment.json").read_text())
    assert env["init_from_images"] == 32 and read_toml(run / "config.toml")["train"]["init_from"].endswith(
        "checkpoints/000000032"
    )


def test_the_same_again_is_the_same_and_so_is_one_that_was_stopped(half: Path, tmp_path: Path, cache: Path) -> None:
    changes = {"overrides": {"train.batch": 8, "optimizer.critic.lr": 1e-4}}
    run = gone_on(half, tmp_path / "one", cache, **changes)
    assert_same(gone_on(half, tmp_path / "two", cache, **changes), results_of(run))
    options = {"init_from": str(half), "keep_counters": True, "images": None, **changes}
    stopped, reason = train_until(2, "default", "float32", tmp_path / "three", cache, None, **options)
    assert reason == "signal"
    train_until(None, "default", "float32", tmp_path / "three", cache, stopped)
    assert_same(stopped, results_of(run))
    killed = Path(shutil.copytree(stopped, tmp_path / "four" / stopped.name))  # before its first save
    shutil.rmtree(killed / "checkpoints")
    (killed / "checkpoints").mkdir()
    (killed / "generator.safetensors").unlink()
    (killed / "events.jsonl").unlink()
    train_until(None, "default", "float32", tmp_path / "four", cache, killed)
    assert newest(killed).images_seen == ALL and rows(killed)[0]["images_seen"] == "40"
    assert torch.equal(newest(killed).model["generator/base.weight"], newest(run).model["generator/base.weight"])


def test_schedules_and_totals_count_both_runs(half: Path, tmp_path: Path, cache: Path) -> None:
    run = gone_on(half, tmp_path, cache, images=96)
    train = read_toml(run / "config.toml")["train"]
    assert train["images"] == train["horizon_images"] == 96
    lr = read_toml(run / "config.toml")["optimizer"]["critic"]["lr"]
    expected = {n: lr * (1 - (n - 4) / 96) for n in (36, 48, 96)}  # in the last cycle of a tick
    assert {
        n: float(row["critic_lr"]) for row in rows(run) if (n := int(row["images_seen"])) in expected
    } == pytest.approx(expected)


def test_the_optimizer_of_another_kind_starts_anew(half: Path, tmp_path: Path, cache: Path) -> None:
    notes: list[str] = []
    still = {"optimizer.generator.lr": 1e-30, "optimizer.critic": {"kind": "adam", "lr": 1e-30}}
    run = gone_on(half, tmp_path, cache, notes, images=36, overrides=still)
    assert "the critic's optimizer is another (shampoo -> adam), so it starts anew" in notes
    saved = newest(run)
    steps = {name: float(value) for name, value in saved.optimizer.items() if name.endswith("/step")}
    assert {value for name, value in steps.items() if name.startswith("critic/")} == {1.0}
    assert all(name in newest(half).optimizer for name in saved.optimizer if name.startswith("generator/"))


def test_moments_of_new_layers_start_anew(half: Path, tmp_path: Path, cache: Path) -> None:
    notes: list[str] = []
    adam = {f"optimizer.{n}": {"kind": "adam", "lr": 1e-30} for n in ("generator", "critic")}
    first = gone_on(half, tmp_path, cache, images=36, overrides=adam)
    run = gone_on(first, tmp_path, cache, notes, images=40, size="32")
    steps = {name: float(value) for name, value in newest(run).optimizer.items() if name.endswith("/step")}
    assert steps["critic/layers.0.weight/step"] == 2.0 and steps["critic/layers.2.weight/step"] == 1.0
    assert steps["generator/picture.weight/step"] == 2.0 and steps["generator/base.weight/step"] == 1.0
    assert kantor.load(run).generate([1]).shape == (1, 32, 32, 3)


def test_a_budget_counts_from_here(half: Path, tmp_path: Path, cache: Path) -> None:
    """A run that has reached its length gets another one, as long as the budget; one that has not keeps its own."""
    done = gone_on(half, tmp_path, cache, images=36)
    longer, _ = train_until(
        3, "default", "float32", tmp_path, cache, init_from=str(done), keep_counters=True, images=None, overrides={}, budget_s=30.0
    )  # fmt: skip
    train = read_toml(longer / "config.toml")["train"]
    assert train["images"] == train["horizon_images"] > 100
    same, _ = train_until(
        3, "default", "float32", tmp_path, cache, init_from=str(half), keep_counters=True, images=None, overrides={}, budget_s=30.0
    )  # fmt: skip
    assert read_toml(same / "config.toml")["train"]["images"] == ALL


def test_refusals(half: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ["--runs", tmp_path / "r", "--cache", cache]

    def refused(*words: object, code: int = 2) -> str:
        assert exit_of("train", *words, *shared) == code
        return capsys.readouterr().err

    assert refused("--keep-counters") == "error: --keep-counters: needs a run to go on from; add --init-from RUN\n"
    assert "a model file has no counters; name the run" in refused(
        "--keep-counters", "--init-from", half / "generator.safetensors"
    )
    text = refused("--keep-counters", "--init-from", half, "--images", "32")
    assert text == (
        "error: --images 32: the length is of both runs together, and the first has seen 32 images; choose more, for example --images 64\n"
    )
    assert not (tmp_path / "r").exists()


# --- the line that a refusal prints ---------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, cache: Path) -> tuple[Path, Path]:
    """A folder of images with an odd name, and a run on them that is not finished."""
    folder = tmp_path / "it's $HOME; fish"
    folder.mkdir()
    for i in range(12):
        (folder / f"{i}.png").write_bytes(encode(photo(seed=i), "PNG"))
    fields = {"overrides": FIELDS | {"data.source": str(folder), "train.precision": "float32", "train.batch": 4}}
    return folder, train_until(4, "default", "float32", tmp_path / "my runs", cache, **fields)[0]


def printed(words: list[object], code: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The command in the refusal, as a shell splits it."""
    assert exit_of("train", *words) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "go on from it as a new run: kantor train " in error
    return shlex.split(error.partition("go on from it as a new run: ")[2])[1:]


CHANGES: list[tuple[list[str], dict[str, Any]]] = [
    (["--batch", "8"], {"train.batch": 8}),
    (["--batch", "8", "--size", "32", "--seed", "7"], {"train.batch": 8, "data.size": "32", "train.seed": 7}),
    (["--set", "optimizer.critic.lr=1e-4", "--set", "optimizer.generator.kind=rmsprop"], {"optimizer.critic.lr": 1e-4, "optimizer.generator.kind": "rmsprop"}),
    (["--mirror", "--metrics", "none", "--set", 'data.background="#00ff00"'], {"data.mirror": True, "score.metrics": [], "data.background": "#00ff00"}),
    (["--set", "ema.half_life_images=500", "--images", "90", "--name", "a b"], {"ema.half_life_images": 500, "train.images": 90}),
    (["--set", "data.augment.zoom=[0.8,1.2]", "--epochs", "6"], {"data.augment.zoom": (0.8, 1.2), "train.images": 72}),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "fields"), CHANGES, ids=str)
def test_the_line_works_as_it_is_printed(
    flags: list[str], fields: dict[str, Any], own: tuple[Path, Path], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = own
    line = printed(["--resume", run, "--runs", run.parent, "--cache", cache, "--device", "cpu", *flags], 2, capsys)
    assert line[:5] == ["train", str(folder), "--init-from", str(run), "--keep-counters"]
    assert exit_of(*line) == 0
    other = sorted(run.parent.iterdir())[-1]
    assert other != run
    config = layered(Config(), read_toml(other / "config.toml"), "it")
    expected = overridden(layered(Config(), read_toml(run / "config.toml"), "it"), fields)
    assert config.optimizer == expected.optimizer and config.data == expected.data and config.ema == expected.ema
    assert config.score.metrics == expected.score.metrics and config.critic == expected.critic
    for name in ("batch", "seed", "images", "augment", "precision"):
        assert getattr(config.train, name) == getattr(expected.train, name)
    assert newest(other).images_seen >= expected.train.images and int(rows(other)[0]["images_seen"]) > 16  # type: ignore[operator]


def test_one_picture_more(own: tuple[Path, Path], cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, run = own
    (folder / "more.png").write_bytes(encode(photo(seed=99), "PNG"))
    line = printed(["--resume", run, "--runs", run.parent, "--cache", cache, "--device", "cpu"], 3, capsys)
    assert exit_of(*line) == 0
    assert newest(sorted(run.parent.iterdir())[-1]).images_seen == ALL


def test_an_edited_configuration(own: tuple[Path, Path], cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, run = own
    config = run / "config.toml"
    config.write_text(config.read_text().replace("batch = 4", "batch = 6"))
    line = printed(["--resume", run, "--runs", run.parent, "--cache", cache], 2, capsys)
    assert exit_of(*line) == 0
    assert read_toml(sorted(run.parent.iterdir())[-1] / "config.toml")["train"]["batch"] == 6


def test_a_finished_run_is_made_longer(
    half: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = gone_on(half, tmp_path / "runs", cache, images=36)
    line = printed(["--resume", done, "--batch", "8", "--runs", done.parent, "--cache", cache], 2, capsys)
    assert line[-2:] == ["--images", "72"]
    assert exit_of(*line) == 0
    assert printed(["--resume", done, "--batch", "auto", "--cache", cache], 2, capsys)[5:7] == ["--batch", "auto"]


def test_no_line_where_weights_do_not_fit(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other widths have no layer in common, and a stack has one size; a run that was killed before it saved has no weights."""
    run, _ = train_until(1, "wgan-gp", "float32", tmp_path, cache)
    stack = {
        "generator.kind": "stack",
        "generator.base": (4, 4, 4),
        "generator.layers": [{"width": 4, "upsample": True}] * 2 + [{}],
    }
    fixed, _ = train_until(1, "wgan-gp", "float32", tmp_path, cache, overrides=FIELDS | stack)
    for words in ([run, "--set", "generator.width=8"], [fixed, "--size", "32"]):
        assert exit_of("train", "--resume", *words, "--cache", cache) == 2
        assert capsys.readouterr().err.endswith("; leave that out, or start a new run\n")
    shutil.rmtree(run / "checkpoints")
    for name in ("generator.safetensors", "events.jsonl"):
        (run / name).unlink()
    assert exit_of("train", "--resume", run, "--batch", "8", "--cache", cache) == 2
    assert capsys.readouterr().err.endswith("; leave that out, or start a new run\n")


def test_options_are_repeated_as_they_were_given(half: Path) -> None:
    asked = TrainOptions(
        resume=str(half), budget_s=5400.0, device="cuda:1", tensorboard=True, overrides={"train.seed": 3}
    )
    config = layered(Config(), read_toml(half / "config.toml"), "it")
    words = shlex.split(command(half, asked, overridden(config, {"train.seed": 3}), 32))
    assert words[2:] == [
        config.data.source, "--init-from", str(half), "--keep-counters", "--seed", "3",
        "--time-budget", "5400s", "--tensorboard", "--device", "cuda:1",
    ]  # fmt: skip
    again = TrainOptions.from_words(
        {"init_from": words[4], "keep_counters": True, "time_budget": words[9], "seed": "3"}, as_flags=True
    )
    assert again.budget_s == 5400.0


@pytest.mark.parametrize(("controls", "word"), [(["place", "extent"], "place,extent"), ([], "")])
def test_lists_are_written_as_flags_take_them(controls: list[str], word: str) -> None:
    config = overridden(Config(), {"guide.controls": ["colour"]})
    changed = overridden(config, {"guide.controls": controls})
    flags = _flags({name: new for name, (_, new) in difference(config, changed).items()})
    assert flags == ["--guide", word]
    asked = TrainOptions.from_words({"data": "glyphs", "guide": word}, as_flags=True)
    assert list(resolve("default", None, asked.fields).guide.controls) == controls


@pytest.mark.parametrize(
    "value",
    [
        3,
        1e-4,
        True,
        "cover",
        "32",
        "true",
        "it's",
        "#fff",
        [0.5, 2.0],
        ["fd", "kid"],
        [],
        {"kind": "linear", "hold": 0.5},
        [{"width": 4}],
        ['\U0001f600 "é" \x7f'],
        float("inf"),
    ],
)
def test_overrides_are_read_as_they_are_written(value: Any) -> None:
    assert parse_override(override_text("a.b", value)) == ("a.b", value)


def test_a_run_that_did_not_know_of_counters_keeps_none() -> None:
    tree = resolve().model_dump(mode="json")
    del tree["train"]["keep_counters"], tree["critic"]["freeze"]
    config = layered(Config(), tree, "the checkpoint")
    assert (config.train.keep_counters, config.critic.freeze) == (False, 0)


def test_frozen_layers_come_from_the_other_run(
    half: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes: list[str] = []
    run = gone_on(half, tmp_path / "a", cache, notes, overrides={"critic.freeze": 2})
    mine, theirs = newest(run).model, newest(half).model
    for layer in ("layers.0", "layers.1"):
        assert torch.equal(mine[f"critic/{layer}.weight"], theirs[f"critic/{layer}.weight"])
    assert not torch.equal(mine["critic/score.weight"], theirs["critic/score.weight"])
    assert not any("critic.freeze" in line for line in notes)
    gone_on(half, tmp_path / "b", cache, notes, images=36, overrides={"critic.freeze": 3}, size="32")
    assert "critic.freeze keeps layers that no model has trained: layers.2.weight, layers.2.bias" in notes
    words = ["train", "glyphs", *TINY, "--images", "8", "--set", "data.glyphs.count=40", "--runs", tmp_path / "c"]
    assert exit_of(*words, "--set", "critic.freeze=1") == 0
    assert "critic.freeze keeps layers that no model has trained; it is for --init-from" in capsys.readouterr().out
    assert exit_of(*words, "--set", "critic.freeze=9") == 2
    assert "critic.freeze = 9: this critic has 2 layers before its score; choose at most 2" in capsys.readouterr().err


def test_the_numbers_of_both_runs_are_one_curve(half: Path, tmp_path: Path, cache: Path) -> None:
    """Python gives it the same keywords."""
    run = kantor.train(
        init_from=half, keep_counters=True, batch=8, runs=tmp_path, quiet=True, device="cpu", cache=cache
    )
    assert run.metrics["images_seen"][0] == 40 and np.all(np.diff(run.metrics["images_seen"]) > 0)
    assert load_file(run.path / "generator.safetensors")
