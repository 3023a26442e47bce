"""The list of runs, whatever state they are in, and the best of those that can be compared."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from kantor import lock
from kantor.app.run_list.listing import size_text, summaries, table
from kantor.app.run_list.ranking import alike, best_lines, in_order, usual_score
from kantor.app.run_list.summary import summarize
from kantor.errors import ConfigError, ModelError
from support.made_runs import made_run


def test_a_run_in_a_line(tmp_path: Path) -> None:
    run = made_run(tmp_path, fd=12.34567)
    (run / "note.txt").write_text("wider\nthan before")
    (head, line) = table(summaries(tmp_path), None)
    for words in (
        "00000-fish",
        "wgan-gp",
        "glyphs",
        "1,000",
        "finished",
        "fd@kantor-small 12.35",
        "10 s",
        "wider than before",
    ):
        assert words in line
    assert head.split() == ["run", "objective", "data", "images", "state", "score", "time", "size", "began", "note"]


@pytest.mark.parametrize(
    ("end", "images", "env", "state"),
    [
        ("done", 1000, {}, "finished"),
        ("time-budget", 500, {}, "stopped"),
        ("time-budget", 990, {"length_from_budget": True}, "finished"),
        ("SIGINT", 500, {}, "stopped"),
        ("exploding-scores", 500, {}, "diverged"),
        (None, 500, {}, "killed"),
    ],
)
def test_states(tmp_path: Path, end: str | None, images: int, env: dict[str, bool], state: str) -> None:
    assert summarize(made_run(tmp_path, end=end, images=images, env=env)).state == state


def test_a_run_that_diverged(tmp_path: Path) -> None:
    run = made_run(tmp_path, end=None)
    with (run / "events.jsonl").open("a") as file:
        file.write(
            json.dumps({"event": "found", "images_seen": 1000, "name": "exploding-scores", "message": "x"}) + "\n"
        )
    assert summarize(run).state == "diverged"


def test_a_run_in_training(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    with lock.locked(run):
        assert summarize(run).state == "training"
    assert summarize(run).state == "finished"


def test_the_score_is_that_of_the_model_that_is_drawn(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    assert summarize(run).scored_at == 1000
    card = json.dumps({"__metadata__": {"kantor": json.dumps({"images_seen": 500})}}).encode()
    (run / "generator.safetensors").write_bytes(len(card).to_bytes(8, "little") + card)
    found = summarize(run)
    assert found.scored_at == 500 and found.scores["fd@kantor-small"].value == 20


def test_damaged_runs_are_listed_with_what_is_wrong(tmp_path: Path) -> None:
    for name, damage in {
        "config": ("config.toml", "x = ["),
        "sections": ("config.toml", "[train]\nseed = 1\n"),
        "rows": ("metrics.csv", "garbage\n"),
        "events": ("events.jsonl", '{"event": "scored", "images_seen": 5, "scores": 3}\n'),
        "binary": ("config.toml", "\0\xff"),
    }.items():
        (made_run(tmp_path, name) / damage[0]).write_text(damage[1], "latin-1")
    folder = made_run(tmp_path, "folder")
    (folder / "events.jsonl").unlink()
    (folder / "events.jsonl").mkdir()
    (tmp_path / "00099-empty").mkdir()
    listed = summaries(tmp_path)
    assert [run.state for run in listed] == ["damaged"] * 7
    assert all(run.problem and run.problem.isprintable() for run in listed)
    lines = table(listed, None)
    assert len(lines) == 8 and "it has no config.toml" in lines[-1] and "not a header" in lines[3]


def test_a_torn_environment_costs_nothing_but_the_preset(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    (run / "environment.json").write_text("[")
    assert (summarize(run).state, summarize(run).objective) == ("finished", "wgan-gp")


def test_two_hundred_runs_are_listed_at_once(tmp_path: Path) -> None:
    first = made_run(tmp_path)
    for i in range(1, 200):
        copy = tmp_path / f"{i:05d}-copy"
        copy.mkdir()
        for name in ("config.toml", "environment.json", "metrics.csv", "events.jsonl"):
            (copy / name).write_bytes((first / name).read_bytes())
    began_s = time.process_time()
    assert len(table(summaries(tmp_path), "fd")) == 201
    assert time.process_time() - began_s < 2


def test_order(tmp_path: Path) -> None:
    for fd in (3.0, 1.0, None, 2.0):
        made_run(tmp_path, fd=fd)
    runs = summaries(tmp_path)
    numbers = {sort: [int(run.path.name[:5]) for run in in_order(runs, sort)] for sort in (None, "fd", "newest")}
    assert numbers == {None: [0, 1, 2, 3], "fd": [1, 3, 0, 2], "newest": [3, 2, 1, 0]}
    with pytest.raises(ConfigError, match='--sort fid: no run has this score; did you mean "fd"'):
        in_order(runs, "fid")
    with pytest.raises(ConfigError, match="--by is_"):
        alike(runs, "is_", "--by")


def test_without_scores_nothing_is_ranked(tmp_path: Path) -> None:
    runs = [summarize(made_run(tmp_path, fd=fd)) for fd in (None, float("nan"))]
    with pytest.raises(ModelError, match="no run has a score; train with --metrics"):
        alike(runs[:1], "fd", "--by")
    with pytest.raises(ConfigError, match="--sort fd: no run has this score; choose one of: images, newest"):
        in_order(runs[:1], "fd")
    with pytest.raises(ConfigError, match="--by fd: no run has this score"):
        alike(runs, "fd", "--by")


def test_more_ways_of_measuring_than_letters(tmp_path: Path) -> None:
    for drawn in range(28):
        made_run(tmp_path, provenance={"drawn": drawn})
    lines = table(summaries(tmp_path), "fd")
    marks = [line.partition("fd@kantor-small")[2].split()[1] for line in lines[1:29]]
    assert len({*marks}) == 28 and marks[-1] == "b2"


def test_a_time_that_is_no_number_is_unknown(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    rows = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("\n".join([*rows, "0,2,1000,nan,1,1,1,3", ""]))
    assert summarize(run).elapsed_s is None and json.dumps(summarize(run).as_json(), allow_nan=False)


def test_scores_measured_differently_are_never_ranked_together(tmp_path: Path) -> None:
    for fd, drawn in ((5.0, 500), (1.0, 600), (4.0, 500)):
        made_run(tmp_path, fd=fd, provenance={"drawn": drawn, "seed": 3})
    runs = summaries(tmp_path)
    groups = alike(runs, "fd", "--by")
    assert [[run.path.name[:5] for run in group] for group in groups] == [["00002", "00000"], ["00001"]]
    lines = best_lines(groups, usual_score(runs))
    assert "00002-fish: fd@kantor-small 4 (3 to 5) at 1,000 images, best of 2" in lines[0]
    assert "no clear difference from 00000-fish" in lines[1]
    assert "the only run measured in this way" in lines[2] and "do not compare" in lines[3]
    text = table(runs, "fd")
    assert "measured differently" in text[-1]
    assert [line.partition("fd@kantor-small")[2].split()[:2] for line in text[1:4]] == [
        ["5", "a"],
        ["1", "b"],
        ["4", "a"],
    ]


def test_lines_end_at_the_edge_of_the_terminal(tmp_path: Path) -> None:
    (made_run(tmp_path) / "note.txt").write_text("n" * 500)
    lines = table(summaries(tmp_path), None, width=60)
    assert max(map(len, lines)) == 60 and lines[1].endswith("…")


def test_what_is_no_folder_of_runs(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    with pytest.raises(ModelError, match="is a run, not a folder of runs"):
        summaries(run)
    with pytest.raises(ModelError, match='did you mean "list"'):
        summaries(Path("lst"), ["list"])
    with pytest.raises(ModelError, match="is a file"):
        summaries(run / "config.toml")


@pytest.mark.parametrize(("count", "text"), [(12, "12 bytes"), (8_800_000, "8.8 MB"), (123_456_789_012, "123 GB")])
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text
