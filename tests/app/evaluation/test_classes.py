"""Classes in `kantor evaluate`: one that a folder holds, named ones, each against its own; and scores as they come."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import kantor
from kantor.data.sources.glyphs import Glyphs, render
from kantor.errors import ConfigError
from kantor.metrics.evaluate import METRICS
from kantor.metrics.score import Scores
from support.commands import TINY, exit_of

FAST = ["--features", "random", "--count", 40]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the classes "0", "1" and "few" of a folder, in a folder with a cache."""
    home = tmp_path_factory.mktemp("classes")
    source = Glyphs(100, 3)
    for i in range(70):
        folder = home / "shapes" / ("few" if i < 5 else str(i % 2))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(source.parameters(i), 16, 16)).save(folder / f"{i}.png")
    words = [home / "shapes", *TINY, "--conditional", "--images", 60, "--runs", home / "runs"]
    assert exit_of("train", *words, "--cache", home / "cache", "--name", "c") == 0
    return home


@pytest.fixture(autouse=True)
def _here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("KANTOR_CACHE", str(home / "cache"))


def evaluated(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, dict[str, Any]]:
    """What is shown, and scores.json."""
    capsys.readouterr()
    assert exit_of("evaluate", "c", *words, "--out", "o", "--overwrite") == 0
    return capsys.readouterr().out, json.loads(Path("o/scores.json").read_text())


@pytest.mark.parametrize("how", ["place", "name", "images"])
def test_a_folder_that_is_one_class_is_compared_with_that_class(
    how: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    against = Path("shapes/1")
    if how != "place":
        against = tmp_path / ("1" if how == "name" else "renamed")
        shutil.copytree(home / "shapes" / "1", against)
    out, found = evaluated(capsys, "--against", against, *FAST, "--metrics", "fd")
    assert f"generates class 1, that of {against}" in out and "40 generated of class 1" in out
    assert found["provenance"]["classes"] == ["1"]
    _, named = evaluated(capsys, "--against", against, "--class", "1", *FAST, "--metrics", "fd")
    assert named == found
    out, whole = evaluated(capsys, "--against", against, "--class", "all", *FAST, "--metrics", "fd")
    assert "40 generated of all classes, equally many" in out and "classes" not in whole["provenance"]
    assert whole["metrics"] != found["metrics"]


def test_named_classes_are_compared_with_real_images_of_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    _, one = evaluated(capsys, "--class", "1", *FAST, "--metrics", "fd,nn")
    assert one["provenance"]["classes"] == ["1"] and one["provenance"]["reals"] == 33
    out, both = evaluated(capsys, "--class", "0, 1", *FAST, "--metrics", "fd")
    assert "40 generated of classes 0, 1, 40 real images" in out
    assert both["provenance"]["classes"] == ["0", "1"] and both["provenance"]["reals"] == 40
    scores = kantor.evaluate("c", classes=["1"], features="random", count=40, metrics=["fd"])
    assert scores["fd"].value == one["metrics"]["fd@random"]["value"]
    for same in ("1", 1):
        found = kantor.evaluate("c", classes=same, features="random", count=40, metrics=["fd"])
        assert found.as_json()["provenance"] == scores.as_json()["provenance"]
    with pytest.raises(ConfigError, match="classes: "):
        Scores.from_json(one).compare(Scores.from_json(both))


def test_scores_of_raw_weights_say_so_and_may_be_compared(capsys: pytest.CaptureFixture[str]) -> None:
    _, average = evaluated(capsys, *FAST, "--metrics", "fd")
    _, raw = evaluated(capsys, *FAST, "--metrics", "fd", "--raw")
    assert raw["provenance"] == {**average["provenance"], "raw": True}
    assert Scores.from_json(raw).compare(Scores.from_json(average))["fd"].verdict


def test_each_class_against_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    out, found = evaluated(capsys, "--per-class", *FAST, "--metrics", "fd,pr")
    assert "not scored, for want of 12 real images: few (5)" in out and "mean over 2 classes:" in out
    of_each = found["per_class"]
    assert list(of_each) == ["0", "1"]
    values = [one["metrics"]["fd@random"]["value"] for one in of_each.values()]
    mean = found["metrics"]["intra_fd@random"]
    assert mean["value"] == pytest.approx(sum(values) / 2)
    assert mean["interval"][0] < mean["value"] < mean["interval"][1]
    assert found["provenance"]["per_class"] and found["provenance"]["classes"] == ["0", "1"]
    assert Scores.from_json(found).as_json() == found
    out, _ = evaluated(capsys, "--metrics", "fd", "--compare", self_copy(found))
    assert "--per-class" in out and "intra_fd@random" in out.split("minus earlier.json")[1]
    refused = ["evaluate", "c", "--class", "0", "--compare", "earlier.json"]
    assert exit_of(*refused) == 2
    assert "--class: earlier.json was measured with each class by itself, not 0;" in capsys.readouterr().err
    _, alone = evaluated(capsys, "--class", "0", "--features", "random", "--count", 13, "--metrics", "fd")
    assert alone["metrics"]["fd@random"] == of_each["0"]["metrics"]["fd@random"]


def self_copy(found: dict[str, Any]) -> Path:
    path = Path("earlier.json")
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize(
    ("code", "words", "message"),
    [
        (2, ("--class", "7"), "--class 7: there is no such class"),
        (2, ("--class", ""), '--class "": there is no such class'),
        (2, ("--class", "0", "--per-class"), "scores every class"),
        (2, ("--per-class", "--metrics", "fd,nn"), "is not measured class by class"),
        (2, ("--per-class", "--count", "5"), "too small"),
    ],
)
def test_mistakes_with_classes(
    code: int, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of("evaluate", "c", *words) == code
    assert message in capsys.readouterr().err


def test_compare_measures_as_the_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    _, found = evaluated(capsys, "--class", "1", *FAST, "--metrics", "fd,kid", "--seed", 3)
    found["provenance"]["pictures"] = found["provenance"].pop("images")  # as earlier versions called it
    earlier = self_copy(found)
    out, again = evaluated(capsys, "--compare", earlier)
    assert "as in earlier.json: --count 40 --metrics fd,kid --features random --seed 3 --class 1" in out
    assert again["metrics"] == found["metrics"] and "no clear difference" in out
    assert exit_of("evaluate", "c", "--metrics", "fd,is", "--compare", earlier, "--out", "o", "--overwrite") == 2
    assert "--metrics is: " in capsys.readouterr().err, "a metric that the user names is not left out silently"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--count", "30"), "--count: earlier.json was measured with 40, not 30"),
        (("--features", "kantor-small"), "--features: earlier.json was measured with random, not kantor-small"),
        (("--class", "0"), "cannot be compared"),
        (("--against", "glyphs", "--class", "1"), "cannot be compared"),
    ],
)
def test_contradictions_are_refused_before_any_image_is_generated(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found = evaluated(capsys, "--class", "1", *FAST, "--metrics", "fd")
    earlier = self_copy(found)
    monkeypatch.setattr("kantor.app.evaluation.image_sets.generate_images", lambda *_: pytest.fail("generated"))
    monkeypatch.setattr("kantor.app.evaluation.image_sets.extract", lambda *_: pytest.fail("extracted"))
    few = lambda count, *more, **named: Glyphs(60, *more, **named)  # noqa: E731
    monkeypatch.setattr("kantor.data.sources.recognise.Glyphs", few)
    assert exit_of("evaluate", "c", *words, "--compare", earlier) == 2
    assert message in capsys.readouterr().err


def test_scores_are_written_as_they_come(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    shutil.rmtree("half", ignore_errors=True)
    monkeypatch.setitem(METRICS, "kid", METRICS["kid"]._replace(measure=interrupted))
    assert exit_of("evaluate", "c", *FAST, "--metrics", "fd,kid,pr", "--out", "half") == 130
    assert "what was measured is in half/scores.json" in capsys.readouterr().out
    half = json.loads(Path("half/scores.json").read_text())
    assert half["complete"] is False and list(half["metrics"]) == ["fd@random"]
    assert Scores.read("half/scores.json")["fd"].value > 0


def test_a_custom_critic_that_is_not_at_hand_is_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ConfigError("critic.name", "mine is neither built in nor registered", "import the module")

    monkeypatch.setattr("kantor.app.evaluation.critic.build_critic", missing)
    out, found = evaluated(capsys, *FAST, "--metrics", "fd,critic")
    assert "critic is left out: critic.name: mine is neither built in nor registered; import the module" in out
    assert list(found["metrics"]) == ["fd@random"]
    assert exit_of("evaluate", "c", *FAST, "--metrics", "critic") == 4
    assert "its critic cannot be used" in capsys.readouterr().err


def test_a_custom_generator_that_is_not_at_hand_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ConfigError("generator.name", "mine is neither built in nor registered", "import the module first")

    monkeypatch.setattr("kantor.export.weights.build_generator", missing)
    assert exit_of("evaluate", "c", *FAST) == 4
    assert "mine is neither built in nor registered; import the module first" in capsys.readouterr().err


def test_features_of_a_part_of_the_training_set_are_those_extracted_alone(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--metrics", "fd,pr,swd", "--features", "random", "--count", 40]
    _, alone = evaluated(capsys, *words, "--cache", tmp_path / "a")
    _, part = evaluated(capsys, "--metrics", "fd,pr,swd,nn", *words[2:], "--cache", tmp_path / "b")
    assert alone["provenance"] == part["provenance"]
    assert {name: part["metrics"][name] for name in alone["metrics"]} == alone["metrics"]
