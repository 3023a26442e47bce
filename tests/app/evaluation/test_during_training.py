"""Scores during training: files, the best checkpoint, resuming, failures."""

from __future__ import annotations

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kantor
from kantor.app.evaluation.during_training import plan_scores, second_count
from kantor.app.load_model import load_model
from kantor.app.training.intervals import with_intervals
from kantor.app.write_report import write_report
from kantor.config.io import overridden, read_toml, resolve
from kantor.engine.events import Best, Event, Found, Kept, Progressed, Save, Scored, Stop, Tick
from kantor.errors import ConfigError
from kantor.metrics import extractors
from kantor.metrics.extractors import extractor
from kantor.runs import checkpoint as checkpoints
from kantor.sinks.best_model import BestScore
from kantor.sinks.metrics_csv import COLUMNS, MetricsCsv, read_metrics
from support.commands import TINY, exit_of

SCORED = [
    *TINY, "--set", "data.glyphs.count=120", "--set", "train.score_images=100", "--set", "score.count=100",
    "--set", "score.features=random", "--set", "train.tick_images=30",
]  # fmt: skip
NAMES = ("fd@random", "kid@random", "precision@random", "recall@random")


def some_recall(scores: object, name: str) -> float:
    """In place of `recall`, which is 0 in runs as short as these."""
    return 0.5


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run whose recall is taken to be above 0."""
    runs = tmp_path_factory.mktemp("trusted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kantor.sinks.best_model.recall", some_recall)
        words = (*SCORED, "--images", 400, "--runs", runs, "--cache", cache, "--set", "score.best=kid")
        assert exit_of("train", *words, "--name", "a") == 0
    return runs / "00000-a"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    runs = tmp_path_factory.mktemp("scored")
    assert exit_of("train", *SCORED, "--images", 400, "--runs", runs, "--cache", cache, "--name", "a") == 0
    return runs / "00000-a"


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


def best_of(run: Path) -> tuple[int, float]:
    scored = [(e["images_seen"], e["scores"]["kid@random"]["value"]) for e in events(run, "scored")]
    return min(scored, key=lambda pair: pair[1])


def test_scores_come_at_multiples_and_at_the_end(run: Path) -> None:
    scored = events(run, "scored")
    assert [event["images_seen"] for event in scored] == [100, 200, 300, 400]
    for event in scored:
        assert {*event["scores"]} == {*NAMES}
        low, high = event["scores"]["fd@random"]["interval"]
        assert low <= event["scores"]["fd@random"]["value"] <= high
        assert event["provenance"]["drawn"] == event["provenance"]["reals"] == 100
        assert event["provenance"]["extractor"] == "random" and len(event["provenance"]["extractor_sha256"]) == 64


def test_metrics_csv_has_scores_in_the_right_rows(run: Path) -> None:
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert tuple(rows[0]) == (*COLUMNS, *NAMES)
    assert [int(row["images_seen"]) for row in rows if row["fd@random"]] == [100, 200, 300, 400]
    found = read_metrics(run / "metrics.csv")["fd@random"]
    assert np.isfinite(found).sum() == 4
    assert found[-1] == pytest.approx(events(run, "scored")[-1]["scores"]["fd@random"]["value"])


def test_best_checkpoint_is_kept(trusted: Path) -> None:
    seen, value = best_of(trusted)
    told, kept = events(trusted, "best")[-1], events(trusted, "kept")[-1]
    assert (told["images_seen"], told["name"]) == (seen, "kid@random") and told["value"] == pytest.approx(value)
    assert (kept["moment"], kept["reason"]) == (seen, "best by kid@random (one extractor)")
    assert load_model(str(trusted), trusted.parent)[1].images_seen == seen
    checkpoint = trusted / "checkpoints" / f"{seen:09d}"
    assert checkpoints.load(checkpoint).values["counters"]["images_seen"] == seen


def test_newest_is_kept_while_recall_is_0(run: Path) -> None:
    assert {event["scores"]["recall@random"]["value"] for event in events(run, "scored")} == {0.0}
    assert not events(run, "best")
    assert [(e["moment"], e["reason"]) for e in events(run, "kept")] == [(100, "newest, because recall is 0")]
    assert load_model(str(run), run.parent)[1].images_seen == 400


def test_one_moment_is_drawn_everywhere(trusted: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen, _ = best_of(trusted)
    of_all = f"{seen} of 400" if seen < 400 else "400"
    lines = {
        trusted: f"model: best by kid@random (one extractor), after {of_all} images",
        run: "model: newest, after 400 images; recall is 0, so no score chooses",
    }
    for folder, line in lines.items():
        assert exit_of("generate", folder, "--count", 2, "--out", folder / "drawn") == 0
        assert capsys.readouterr().out.splitlines()[0] == line
        assert line in (folder / "log.txt").read_text()
        assert line.replace("model", "generator.safetensors", 1) in (folder / "report.html").read_text()
        sheet = f"fixed seeds, {seen if folder == trusted else 400} images seen"
        assert sheet in (folder / "report.html").read_text()
    assert f"After {seen} images:" in (trusted / "report.html").read_text(), "the scores of the model that is drawn"


def test_report_generates_the_sheet_of_a_moment_that_was_not_sampled(trusted: Path, tmp_path: Path) -> None:
    seen, _ = best_of(trusted)
    copy = Path(shutil.copytree(trusted, tmp_path / "00000-a"))
    for sheet in (copy / "samples" / "fixed").iterdir():
        if int(sheet.stem):  # but that of the untrained generator
            sheet.unlink()
    page = write_report(copy).read_text()
    assert f"fixed seeds, {seen} images seen" in page and "fixed seeds, 0 images seen" not in page
    (copy / "generator.safetensors").unlink()
    assert "fixed seeds, 0 images seen" in write_report(copy).read_text()


def test_report_shows_scores(trusted: Path) -> None:
    page = (trusted / "report.html").read_text()
    assert "Fréchet distance @random" in page and "95% interval" in page and "Best kid@random" in page
    assert "No score was measured" not in page


def test_resumed_run_has_the_same_scores(run: Path, cache: Path, tmp_path: Path) -> None:
    def stop(event: Event) -> Stop | None:
        return Stop("enough") if isinstance(event, Progressed) and event.images_seen >= 232 else None

    stopped = kantor.train(config=run / "config.toml", runs=tmp_path, cache=cache, quiet=True, on_event=stop)
    assert stopped.reason == "enough" and len(events(stopped.path, "scored")) == 2
    assert exit_of("train", "--resume", stopped.path, "--cache", cache) == 0
    ours, theirs = events(stopped.path, "scored"), events(run, "scored")
    assert [e["scores"] for e in ours] == [e["scores"] for e in theirs]
    assert (stopped.path / "generator.safetensors").read_bytes() == (run / "generator.safetensors").read_bytes()


def test_features_of_real_images_are_cached(run: Path, cache: Path) -> None:
    assert min(path.stat().st_size for path in (cache / "features").glob("*.safetensors")) > 100 * 128 * 4


def test_deleted_generator_is_written_by_the_next_save(run: Path, cache: Path, tmp_path: Path) -> None:
    words = [*SCORED, "--runs", tmp_path, "--cache", cache]
    assert exit_of("train", *words, "--images", 200, "--name", "c") == 0
    (tmp_path / "00000-c" / "generator.safetensors").unlink()
    assert exit_of("train", "--resume", tmp_path / "00000-c", "--cache", cache, "--images", 240) == 0
    assert load_model(str(tmp_path / "00000-c"), tmp_path)[1].images_seen in (200, 240)


@pytest.mark.parametrize(
    ("metrics", "columns"), [("none", ()), ("modes", ("modes@kantor-small", "modes_kl@kantor-small"))]
)
def test_metrics_flag_chooses_the_scores(metrics: str, columns: tuple[str, ...], cache: Path, tmp_path: Path) -> None:
    words = [*SCORED, "--set", "score.features=kantor-small", "--runs", tmp_path, "--cache", cache, "--images", 100]
    assert exit_of("train", *words, "--metrics", metrics, "--name", "d") == 0
    found = tuple(read_metrics(tmp_path / "00000-d" / "metrics.csv"))
    assert found == (*COLUMNS, *columns)
    assert load_model(str(tmp_path / "00000-d"), tmp_path)[1].images_seen == 100


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"score.metrics": ["fid50k_full"]}, "use fd"),
        ({"score.metrics": ["kidd"]}, 'did you mean "kid"'),
        (
            {"score.metrics": ["x"]},
            '^--metrics: unknown metric "x"; choose from: fd, mind, cdc, kid, is, pr, dc, swd, msssim, modes, w2, sinkhorn; or none$',
        ),
        ({"score.metrics": ["nn"]}, "not measured during training"),
        ({"score.features": "kantor-smal"}, 'did you mean "kantor-small"'),
        ({"score.features": ","}, "score.features: names no network"),
        ({"score.features": "random,lite0"}, "lacks the side"),
        ({"score.features": "inception"}, "weights are not part"),
        ({"score.best": "swd"}, "choose one of: fd, kid, precision, recall, none"),
        ({"score.metrics": ["msssim"], "score.best": "msssim"}, "cannot tell what is better"),
    ],
)
def test_invalid_score_settings_are_rejected(fields: dict[str, Any], message: str) -> None:
    import torch

    with pytest.raises(ConfigError, match=message):
        plan_scores(resolve(overrides=fields), torch.device("cpu"))


@pytest.mark.parametrize(
    ("fields", "installed", "judging", "second"),
    [
        ({}, True, (), "lite0@96"),
        ({}, False, (), ""),
        ({"score.metrics": ["kid"]}, True, ("pr", "fd"), "lite0@96"),
        ({"score.metrics": ["kid"]}, False, ("pr",), ""),
        ({"score.metrics": ["swd"], "score.features": "random"}, True, ("pr",), ""),
        ({"score.metrics": ["kid", "pr"], "score.features": "random,kantor-small"}, True, ("fd",), ""),
        ({"score.metrics": ["kid"], "score.best": "none"}, True, (), ""),
        ({"score.metrics": ["msssim"]}, True, (), ""),
    ],
)
def test_what_is_measured_to_judge_the_scores(
    fields: dict[str, Any], installed: bool, judging: tuple[str, ...], second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("kantor.app.evaluation.during_training.available", lambda name: installed)
    plan = plan_scores(resolve(overrides=fields), torch.device("cpu"))
    assert plan is not None and (plan.judging, plan.second) == (judging, second)


@pytest.mark.parametrize(("count", "few"), [(100, 40), (500, 200), (1000, 400), (5000, 500)])
def test_a_second_extractor_judges_few_images(count: int, few: int) -> None:
    assert second_count(count) == few


def test_a_second_opinion_is_measured_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of lite0@96, which is slow, the random features; recall is above 0 from the second score on."""
    recalls = iter([0.0, 0.0, 0.5, 0.5, 0.5, 0.5])
    monkeypatch.setattr("kantor.sinks.best_model.recall", lambda scores, name: next(recalls))
    monkeypatch.setattr("kantor.app.evaluation.during_training.SECOND", "random")
    monkeypatch.setattr("kantor.app.evaluation.during_training.available", lambda name: True)
    words = [*SCORED, "--set", "score.features=kantor-small", "--metrics", "kid", "--runs", tmp_path]
    words += ["--cache", tmp_path / "cache"]
    assert exit_of("train", *words, "--images", 300, "--name", "k") == 0
    run = tmp_path / "00000-k"
    first, second, _ = events(run, "scored")
    assert "fd@random" not in first["scores"] and second["scores"]["fd@random"]["interval"]
    assert {"kid@kantor-small", "fd@kantor-small", "recall@kantor-small"} <= {*first["scores"]}
    assert second["provenance"]["more_features"]["random"]["drawn"] == 40
    assert tuple(read_metrics(run / "metrics.csv")) == (*COLUMNS, "kid@kantor-small")
    assert [event["reason"] for event in events(run, "kept")][:2] == [
        "newest, because recall is 0", "best by kid@kantor-small",
    ]  # fmt: skip


def test_nvidia_metric_names_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("train", *TINY, "--metrics", "fid50k_full", "--runs", tmp_path) == 2
    assert "use fd" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("images", "score_images", "count"),
    [
        (64, 0, 500),
        (4999, 0, 500),
        (16_000, 5000, 500),
        (130_000, 10_000, 500),
        (10**6, 100_000, 5000),
        (10**8, 500_000, 5000),
    ],
)
def test_intervals_that_cost_little(images: int, score_images: int, count: int) -> None:
    config = with_intervals(overridden(resolve(), {"train.images": images}))
    assert (config.train.score_images, config.score.count) == (score_images, count)


def test_no_scores_without_metrics() -> None:
    config = with_intervals(overridden(resolve(), {"train.images": 10**6, "score.metrics": []}))
    assert config.train.score_images == 0


def scored(seen: int, value: float, name: str = "fd@x", **told: Any) -> Scored:
    return Scored(seen, {name: value}, {}, {"n": 1, **told}, 0.1)


def test_the_best_is_the_lowest_or_the_highest() -> None:
    lowest = BestScore("fd@x")
    kept = Kept(1, 1, "best by fd@x (one extractor)")
    assert list(lowest.on(scored(1, 5.0)) or ()) == [Best(1, "fd@x", 5.0), kept, Save()]
    assert lowest.on(scored(2, 6.0)) is None and lowest.moment(2) == 1
    assert lowest.on(scored(3, float("nan"))) is None
    assert lowest.on(scored(4, 4.0)) and lowest.moment(5) == lowest.best_images == 4
    highest = BestScore("recall@x")
    assert highest.on(scored(1, 0.1, "recall@x")) and highest.on(scored(2, 0.2, "recall@x"))
    assert highest.on(scored(3, 0.1, "recall@x")) is None


def test_scores_of_different_provenance_start_anew() -> None:
    best = BestScore("fd@x")
    best.on(scored(1, 1.0))
    again = BestScore("fd@x")
    again.load(json.loads(json.dumps(best.state())))
    assert again.on(scored(2, 2.0)) is None
    assert again.on(scored(3, 2.0, n=2)) and again.moment(4) == 3


def test_a_best_score_that_other_features_contradict_is_noted() -> None:
    def both(seen: int, own: float, other: float) -> Scored:
        values = {"fd@x": own, "fd@y@96": other}
        details = {name: {"value": v, "interval": [v - 0.1, v + 0.1]} for name, v in values.items()}
        return Scored(seen, values, details, {"more_features": {"y@96": {"drawn": 5}}}, 0.0)

    best = BestScore("fd@x")
    assert len(list(best.on(both(1, 5.0, 5.0)) or ())) == 3
    again = BestScore("fd@x")
    again.load(json.loads(json.dumps(best.state())))
    assert again.state() == best.state()
    told, kept, _ = again.on(both(2, 4.0, 4.0)) or ()  # both agree
    assert told == Best(2, "fd@x", 4.0) and kept == Kept(2, 2, "best by fd@x")
    note, kept, save = again.on(both(3, 3.0, 6.0)) or ()
    assert isinstance(note, Found) and isinstance(save, Save)
    assert note.name == "features-disagree" and "fd is lower with x, higher with y@96 now" in note.message
    assert kept == Kept(3, 3, "newest, because two extractors disagree")
    assert again.moment(4) == 4 and again.best_images == 2, "the best stays, to compare with and for --best"
    _, save = again.on(both(5, 5.0, 6.0)) or ()
    assert isinstance(save, Save) and again.moment(5) == 2, "both prefer the earlier one, which is kept again"


def test_states_of_the_first_version_are_read() -> None:
    best = BestScore("fd@x")
    best.load({"value": 5.0, "images_seen": 7, "provenance": {"n": 1, "name": "fd@x"}})
    assert best.moment(9) == 7 and best.on(scored(8, 6.0)) is None and best.on(scored(9, 4.0))
    details = {"fd@x": {"value": 5.0, "interval": [4, 6]}, "fd@y": {"value": 5.0, "interval": [4, 6]}}
    provenance = {"more_features": {"y": {"drawn": 5}}, "name": "fd@x"}
    best.load({"value": 5.0, "images_seen": 7, "provenance": provenance, "details": details})
    assert best.choice.best and best.choice.best.distances == {"x": (5.0, (4.0, 6.0)), "y": (5.0, (4.0, 6.0))}
    best.load({"value": None, "images_seen": None, "provenance": {}})
    assert best.moment(9) == 9 and best.best_images is None


def test_two_networks_score_during_training(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one's name holds an @, as lite0@96 does: columns, events, the report and the best checkpoint know it."""
    twin = lambda device: replace(extractor("random", device), name="twin@32")  # noqa: E731
    monkeypatch.setitem(extractors.REGISTERED, "twin@32", twin)
    monkeypatch.setattr("kantor.sinks.best_model.recall", some_recall)
    words = [
        *SCORED,
        "--set",
        "score.features=random,twin@32",
        "--metrics",
        "fd,mind,cdc,swd",
        "--set",
        "score.best=mind@twin@32",
    ]
    assert exit_of("train", *words, "--images", 200, "--runs", tmp_path, "--cache", cache, "--name", "two") == 0
    run = tmp_path / "00000-two"
    names = ["fd", "mind", "clipped_density", "clipped_coverage"]
    columns = [*(f"{n}@random" for n in names), "swd@pixels", *(f"{n}@twin@32" for n in names)]
    assert tuple(read_metrics(run / "metrics.csv")) == (*COLUMNS, *columns)
    last = events(run, "scored")[-1]
    assert {*columns} - {*last["scores"]} == set()
    for name in names:
        assert last["scores"][f"{name}@random"] == last["scores"][f"{name}@twin@32"]
    assert last["provenance"]["more_features"]["twin@32"]["drawn"] == 100
    assert {event["name"] for event in events(run, "best")} == {"mind@twin@32"}
    page = (run / "report.html").read_text()
    assert "Fréchet distance @twin@32" in page and "Best mind@twin@32" in page and "Clipped coverage @random" in page


def test_without_a_name_the_newest_generator_is_kept() -> None:
    best = BestScore("")
    best.load({"value": 1.0, "images_seen": 7, "provenance": {}})
    assert best.on(scored(1, 1.0)) is None and best.moment(1) == 1 and best.moment(2) == 2


def tick(seen: int) -> Tick:
    return Tick(seen, 0, 0.0, 1.0, 1.0, {})


def test_score_before_its_row_survives_a_resume(tmp_path: Path) -> None:
    from kantor.engine.events import Started

    first = MetricsCsv(tmp_path / "m.csv", ["fd@x"])
    first.on(Started(0, 10, 5, np.zeros((0, 8, 8, 3), np.uint8)))
    first.on(tick(1))
    first.on(scored(2, 7.0))
    state = json.loads(json.dumps(first.state()))
    first.close()
    second = MetricsCsv(tmp_path / "m.csv", ["fd@x", "kid@x"])  # more is measured now: the file keeps its columns
    second.load(state)
    second.on(Started(2, 10, 5, np.zeros((0, 8, 8, 3), np.uint8), resumed=True))
    second.on(tick(3))
    second.on(tick(4))
    second.close()
    found = read_metrics(tmp_path / "m.csv")
    assert found["fd@x"].tolist()[1] == 7.0 and np.isnan(found["fd@x"][[0, 2]]).all() and "kid@x" not in found


def test_failing_score_does_not_stop_the_run(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ConfigError("extractor random", "gives features that are not finite", "check its weights")

    monkeypatch.setattr("kantor.app.evaluation.during_training.evaluate", fails)
    words = [*SCORED, "--runs", tmp_path, "--cache", cache, "--images", 200]
    assert exit_of("train", *words, "--name", "e") == 0
    out = capsys.readouterr().out
    assert "no score was measured: extractor random: gives features that are not finite" in out
    assert [e["name"] for e in events(tmp_path / "00000-e", "found")] == ["score-failed"] * 2
    assert load_model(str(tmp_path / "00000-e"), tmp_path)[1].images_seen == 200


def test_metrics_may_change_on_resume(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kantor.sinks.best_model.recall", some_recall)
    words = [*SCORED, "--runs", tmp_path, "--cache", cache]
    assert exit_of("train", *words, "--images", 100, "--name", "f") == 0
    run = tmp_path / "00000-f"
    more = ["--metrics", "fd,dc", "--set", "score.best=coverage", "--images", 200]
    assert exit_of("train", "--resume", run, "--cache", cache, *more) == 0
    assert read_toml(run / "config.toml")["score"]["best"] == "coverage"
    assert events(run, "best")[-1]["name"] == "coverage@random"


def test_newest_generator_is_kept_without_best_or_metrics(cache: Path, tmp_path: Path) -> None:
    words = [*SCORED, "--runs", tmp_path, "--cache", cache]
    assert exit_of("train", *words, "--images", 200, "--name", "g") == 0
    run = tmp_path / "00000-g"
    assert exit_of("train", "--resume", run, "--cache", cache, "--images", 300, "--set", "score.best=none") == 0
    assert load_model(str(run), tmp_path)[1].images_seen == 300
    assert exit_of("train", "--resume", run, "--cache", cache, "--images", 340, "--metrics", "none") == 0
    assert load_model(str(run), tmp_path)[1].images_seen == 340


def test_short_run_is_scored_once_on_request(cache: Path, tmp_path: Path) -> None:
    words = [*TINY, "--set", "data.glyphs.count=120", "--set", "score.features=random", "--set", "score.count=100",
             "--runs", tmp_path, "--cache", cache]  # fmt: skip
    assert exit_of("train", *words, "--images", 40, "--name", "h") == 0
    run = tmp_path / "00000-h"
    assert events(run, "scored") == []
    assert exit_of("train", "--resume", run, "--cache", cache, "--images", 80, "--metrics", "fd") == 0
    assert [event["images_seen"] for event in events(run, "scored")] == [80]
    assert exit_of("train", *words, "--images", 40, "--metrics", "kid", "--name", "i") == 0
    assert [event["images_seen"] for event in events(tmp_path / "00001-i", "scored")] == [40]


def test_best_score_that_could_not_be_written_is_forgotten() -> None:
    best = BestScore("fd@x")
    best.on(scored(5, 1.0))
    best.lost()
    assert best.moment(9) == 9 and best.on(scored(10, 2.0)) and best.moment(11) == 10
    best.on(scored(20, 1.5))
    best.lost()  # that of 10 is still on the disk
    assert best.moment(21) == 10 and best.on(scored(30, 1.9))


def test_a_newest_that_could_not_be_written_leaves_an_earlier_choice_as_it_is() -> None:
    best = BestScore("fd@x")
    for seen, near, far in ((10, 2.0, 2.0), (20, 1.0, 3.0)):
        details = {f"fd@{name}": {"value": v, "interval": [v, v]} for name, v in (("x", near), ("y", far))}
        best.on(Scored(seen, {"fd@x": near}, details, {"n": 1}, 0.1))
        best.written()
    best.lost()  # at 30, say, where the two extractors still disagree
    assert (best.moment(30), best.choice.reason) == (30, "newest, because two extractors disagree")


def test_provenance_of_other_scores_does_not_matter() -> None:
    best = BestScore("fd@x")
    best.on(scored(1, 10.0))
    assert best.on(scored(2, 50.0, modes="letter x hue")) is None
    of_modes = BestScore("modes@x")
    of_modes.on(scored(1, 50.0, "modes@x", modes="class"))
    assert of_modes.on(scored(2, 10.0, "modes@x", modes="letter x hue"))


@pytest.mark.parametrize(("given", "count"), [([], 5000), (["--set", "score.count=110"], 110)])
def test_lengthened_run_has_the_intervals_of_its_new_length(
    cache: Path, tmp_path: Path, given: list[str], count: int
) -> None:
    """Those that the user set stay."""

    def stop(event: Event) -> Stop | None:
        return Stop("enough") if isinstance(event, Progressed) and event.images_seen > 60 else None

    words = [*TINY, "--set", "data.glyphs.count=120", "--runs", tmp_path, "--cache", cache, "--images", 40]
    assert exit_of("train", *words, *given, "--name", "j") == 0
    kantor.train(resume=tmp_path / "00000-j", images=10**6, cache=cache, quiet=True, on_event=stop)
    config = read_toml(tmp_path / "00000-j" / "config.toml")
    assert (config["train"]["score_images"], config["score"]["count"]) == (100_000, count)


def test_scores_during_training_use_separate_seeds(run: Path) -> None:
    """They choose the best checkpoint, which must not be evaluated on the same images."""
    from kantor.app.evaluation.image_sets import FIRST_TRAINING_SEED, SEED_BLOCK

    assert FIRST_TRAINING_SEED > 10**6 * SEED_BLOCK


def test_number_of_sample_grids() -> None:
    def sheets(images: int, budget_s: float = math.inf) -> tuple[int, float]:
        every = with_intervals(overridden(resolve(), {"train.images": images}), False, budget_s).train.sample_images
        assert isinstance(every, int)
        return every, images / every

    assert sheets(10_000) == (500, 20)
    assert sheets(200_000) == (5000, 40)
    assert sheets(200_000, 300) == (5000, 40)
    assert sheets(60_000, 90) == (5000, 12)
    assert sheets(10_000, 10) == (1000, 10)
    assert sheets(25_000_000) == (100_000, 250)
    for images in range(30_000, 6_000_000, 77_777):
        assert 24 <= sheets(images)[1] <= 60
