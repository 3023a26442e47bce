"""Which moment of a run is loaded, and what is said about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import kantor
from kantor.app.flags import Moment
from kantor.app.load_model import from_checkpoint, load_model
from kantor.errors import ConfigError, ModelError
from support.commands import TINY, exit_of

WORDS = [
    *TINY, "--set", "data.glyphs.count=120", "--set", "train.score_images=40", "--set", "score.count=100",
    "--set", "score.features=random", "--metrics", "fd,pr", "--set", "train.snapshot_images=40",
]  # fmt: skip


def train(runs: Path, cache: Path, recalls: list[float], *words: object) -> None:
    """Trains for 40 images between two recalls, which stand for those that are measured."""
    told = iter(recalls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kantor.sinks.best_model.recall", lambda scores, name: next(told))
        assert exit_of("train", *words, "--cache", cache, "--runs", runs) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The best was after 40 images; later the generator collapsed."""
    runs = tmp_path_factory.mktemp("moments")
    train(runs, cache, [0.5, 0.0, 0.0], *WORDS, "--images", 120, "--name", "a")
    return runs / "00000-a"


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    runs = tmp_path_factory.mktemp("noise")
    train(runs, cache, [0.0], *WORDS, "--images", 40, "--name", "b")
    return runs / "00000-b"


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("moment", "seen", "line"),
    [
        (None, 40, "model: best by fd@random (one extractor), after 40 of 120 images"),
        ("best", 40, "model: best by fd@random (one extractor), after 40 of 120 images"),
        ("newest", 120, "model: newest, after 120 images"),
        (80, 80, "model: after 80 of 120 images"),
    ],
)
def test_moments(run: Path, moment: Moment, seen: int, line: str) -> None:
    lines: list[str] = []
    average, card, home = load_model(str(run), run.parent, False, moment, lines.append)
    raw, raw_card, _ = load_model(str(run), run.parent, True, moment, lines.append)
    assert card.images_seen == raw_card.images_seen == seen and home == run
    assert lines == [line, f"{line}, raw weights"]
    checkpoint = run / "checkpoints" / f"{seen:09d}"
    assert same(average, from_checkpoint(checkpoint, raw=False)[0])
    assert same(raw, from_checkpoint(checkpoint, raw=True)[0]) and not same(raw, average)


def test_without_a_best(untrusted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    assert load_model(str(untrusted), untrusted.parent, note=lines.append)[1].images_seen == 40
    assert lines == ["model: newest, after 40 images; recall is 0, so no score chooses"]
    assert exit_of("generate", untrusted, "--best", "--out", untrusted / "x") == 4
    line = "error: --best: no checkpoint of this run is the best: recall is 0; use --newest, or --checkpoint IMAGES\n"
    assert capsys.readouterr().err == line


def test_one_moment_at_a_time(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["generate", run], ["walk", run, "--seeds", "1,2", "--out", run / "x.gif"], ["evaluate", run]):
        assert exit_of(*command, "--newest", "--best") == 2
        assert capsys.readouterr().err == "error: --newest: cannot be combined with --best; give one of them\n"
    assert exit_of("generate", run, "--best", "--checkpoint", 80) == 2
    with pytest.raises(ConfigError, match="--best: cannot be combined with --checkpoint"):
        kantor.load(run, best=True, checkpoint=80)


def test_python_loads_the_same_moments(run: Path) -> None:
    seen = [
        kantor.load(run, **words).images_seen for words in ({}, {"newest": True}, {"best": True}, {"checkpoint": 80})
    ]  # type: ignore[arg-type]
    assert seen == [40, 120, 40, 80]


def test_a_file_or_a_checkpoint_holds_one_moment(run: Path) -> None:
    file, checkpoint = run / "generator.safetensors", run / "checkpoints" / "000000080"
    for path in (file, checkpoint):
        for moment, flag in (("newest", "--newest"), ("best", "--best"), (80, "--checkpoint")):
            with pytest.raises(ConfigError, match=f"{flag}: needs a run directory, not a"):
                load_model(str(path), run.parent, moment=moment)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--raw: needs a run directory, not a file"):
        load_model(str(file), run.parent, raw=True)
    assert load_model(str(checkpoint), run.parent, raw=True)[1].images_seen == 80


def test_a_checkpoint_that_is_gone(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "00000-a"))
    shutil.rmtree(copy / "checkpoints" / "000000040")
    with pytest.raises(
        ModelError, match=r"^--raw: the checkpoint after 40 images, whose EMA generator.safetensors holds, is gone; "
    ):
        load_model(str(copy), tmp_path, raw=True)
    assert load_model(str(copy), tmp_path, moment="best")[1].images_seen == 40
    shutil.rmtree(copy / "checkpoints")
    lines: list[str] = []
    assert load_model(str(copy), tmp_path, note=lines.append)[1].images_seen == 40
    assert lines == ["model: after 40 images"]


def test_a_lost_model_file_is_written_again_from_its_checkpoint(run: Path, cache: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "00000-a"))
    before = (copy / "generator.safetensors").read_bytes()
    (copy / "generator.safetensors").unlink()
    train(tmp_path, cache, [0.0], "--resume", copy, "--images", 160)
    assert (copy / "generator.safetensors").read_bytes() == before
    shutil.rmtree(copy / "checkpoints" / "000000040")
    (copy / "generator.safetensors").unlink()
    train(tmp_path, cache, [0.0], "--resume", copy, "--images", 200)
    lines: list[str] = []
    assert load_model(str(copy), tmp_path, note=lines.append)[1].images_seen == 200, "there is no best any more"
    assert lines[0].startswith("model: newest, after 200 images")


def test_as_many_checkpoints_as_wanted(
    run: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "00000-a"))
    train(tmp_path, cache, [0.0, 0.0], "--resume", copy, "--images", 200, "--set", "train.keep=2")
    assert sorted(path.name for path in (copy / "checkpoints").iterdir()) == ["000000040", "000000160", "000000200"]
    assert exit_of("train", *WORDS, "--set", "train.keep=1", "--runs", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "train.keep" in error
    assert "so the two newest always stay" in error and error.count("\n") == 1
