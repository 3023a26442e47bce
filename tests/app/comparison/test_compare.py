"""Runs beside each other: repeats are found, numbers are right, and no sentence claims more than they hold."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kantor
from kantor.app.comparison import figures
from kantor.app.comparison.compare import compare
from kantor.app.comparison.conclusions import about_cost, about_losses, about_scores, loss_families, pairs, spread
from kantor.app.comparison.figures import loss_panels, score_panels
from kantor.app.comparison.groups import grouped, settings_that_differ
from kantor.app.comparison.load import load_runs
from kantor.app.comparison.options import CompareOptions
from kantor.app.comparison.tables import cost_table, difference_table, score_table
from kantor.app.load_model import load_generator
from kantor.errors import ConfigError, ModelError
from kantor.progress import all_silent
from kantor.report.compare_page import Table, tex, tex_table
from kantor.report.overlay import COLOURS
from kantor.sample.generate import generate_images
from support.made_runs import PROVENANCE, made_run
from support.resume_child import FIELDS, train_until

FD = "fd@kantor-small"


def groups_of(runs: Path, named: Sequence[str] | None = None) -> Any:
    return grouped(load_runs(named or [run.name for run in sorted(runs.iterdir())], runs))


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """Three seeds each of two presets: FD 10, 11, 12 and 20, 21, 22."""
    for seed in range(3):
        made_run(tmp_path, f"a{seed}", fd=10 + seed, seed=seed)
        made_run(tmp_path, f"b{seed}", "dcgan", fd=20 + seed, seed=seed, images=1000)
    return tmp_path


def test_runs_that_differ_in_the_seed_are_repeats(six: Path) -> None:
    groups = groups_of(six)
    assert [(group.label, [run.seed for run in group.runs]) for group in groups] == [
        ("wgan-gp", [0, 1, 2]),
        ("dcgan", [0, 1, 2]),
    ]
    assert "objective.kind" in [row[0] for row in settings_that_differ(groups)]
    assert "train.seed" not in [row[0] for row in settings_that_differ(groups)]


def test_repeats_by_time_may_differ_in_their_length(tmp_path: Path) -> None:
    for from_budget in (True, False):
        runs = tmp_path / str(from_budget)
        for seed, images in enumerate((1000, 1100)):
            about = {"length_from_budget": from_budget}
            made_run(runs, seed=seed, env=about, fields={"train.images": images, "train.horizon_images": images})
        assert len(groups_of(runs)) == (1 if from_budget else 2)


def test_kinds_of_one_preset_are_named_by_what_differs(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    made_run(tmp_path, "b", fields={"train.batch": 32})
    made_run(tmp_path, "c", env={"data_fingerprint": "f2"})
    assert [group.label for group in groups_of(tmp_path)][:2] == ["wgan-gp, batch 64", "wgan-gp, batch 32"]
    many = tmp_path / "many"
    for width in (4, 5):
        made_run(many, f"w{width}", fields={"generator.width": width, "critic.width": width, "train.batch": 4 * width})
    assert [group.label for group in groups_of(many)] == ["00000-w4", "00001-w5"]


def test_more_kinds_than_colours_are_refused(tmp_path: Path) -> None:
    for batch in range(2, 3 + len(COLOURS)):
        made_run(tmp_path, fields={"train.batch": batch})
    with pytest.raises(ConfigError, match="9 kinds of training are too many"):
        groups_of(tmp_path)


def test_means_and_spreads(six: Path) -> None:
    table = score_table(groups_of(six), [FD])
    assert table.head == ("", "fd@kantor-small ↓")
    assert table.rows == [("wgan-gp", "11.0 ± 1.0 (n = 3)"), ("dcgan", "21.0 ± 1.0 (n = 3)"), ("real images", "1")]


def test_a_clear_difference_is_said_with_its_interval(six: Path) -> None:
    (line, rough) = about_scores(groups_of(six), FD)
    assert "Difference -10, 95% interval -12.27 to -7.733: wgan-gp is better, by the spread between seeds." in line
    assert "Of the 20 ways to deal these 6 scores into two such groups, 2 differ as much or more" in line
    assert "p = 0.1; the least possible is 0.1" in line
    assert "Welch 1947" in rough
    (row,) = [row for row in difference_table(groups_of(six), [FD]).rows if row[0] == FD]
    assert row[-1] == "wgan-gp is better" and row[1] == "wgan-gp minus dcgan"


def test_higher_is_better_for_some(six: Path) -> None:
    for run in six.glob("*-b*"):
        events = run / "events.jsonl"
        events.write_text(events.read_text().replace('"value": 0.5', f'"value": 0.9{run.name[-1]}'))
    (row,) = difference_table(groups_of(six), ["recall@kantor-small"]).rows
    assert row[-1] == "dcgan is better"


def test_differences_within_the_spread_are_none(tmp_path: Path) -> None:
    for preset, values in (("wgan-gp", (10, 20)), ("dcgan", (12, 19))):
        for seed, fd in enumerate(values):
            made_run(tmp_path, preset, preset, fd=fd, seed=seed)
    line = about_scores(groups_of(tmp_path), FD)[0]
    assert "not clear, the spread between seeds may explain it" in line and "permutation" not in line


def test_one_seed_each_is_an_anecdote(six: Path) -> None:
    (line,) = about_scores(groups_of(six, ["a0", "b0"]), FD)
    assert "n = 1" in line and "anecdote" in line and "--seeds 1,2,3" in line
    mixed = about_scores(groups_of(six, ["a0", "a1", "b0"]), FD)[0]
    assert "dcgan has one seed, an anecdote; it lies outside the range of the other's 2" in mixed
    (same,) = about_scores(groups_of(six, ["a0", "a1"]), FD)
    assert "All runs repeat one training" in same and "10.50 ± 0.71 (n = 2)" in same


def test_recall_of_zero_is_said(six: Path) -> None:
    for run in six.glob("*-b*"):
        events = run / "events.jsonl"
        events.write_text(events.read_text().replace('"value": 0.5', '"value": 0.0'))
    assert any(line.startswith("Recall is 0 for dcgan:") for line in about_scores(groups_of(six), FD))


def test_many_comparisons_are_counted(tmp_path: Path) -> None:
    for preset in ("wgan-gp", "dcgan", "wgan"):
        for seed in range(2):
            made_run(tmp_path, preset, preset, fd=10 + seed, seed=seed)
    assert any(line.startswith("These are 3 comparisons") for line in about_scores(groups_of(tmp_path), FD))


def test_scores_measured_differently_are_never_compared(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    made_run(tmp_path, "b", "dcgan", provenance={"drawn": 600})
    groups = groups_of(tmp_path)
    assert pairs(groups, FD) == []
    assert "No two of these have fd@kantor-small measured alike" in about_scores(groups, FD)[0]
    assert score_panels(groups, [FD]) == []
    table = score_table(groups, [FD])
    assert table.rows[1][1].endswith("*") and "not to be compared" in table.notes[-1]
    made_run(tmp_path, "c", "wgan", fd=3)
    assert about_scores(groups_of(tmp_path), FD)[-1].endswith("measured in the same way: dcgan.")


def test_equal_images_are_not_equal_steps(six: Path) -> None:
    for run in six.glob("*-b*"):
        state = next(run.glob("checkpoints/*/state.json"))
        state.write_text(json.dumps({"counters": {"generator_steps": 15, "critic_steps": 15}}))
    lines = about_cost(groups_of(six))
    assert lines == ["Equal images are not equal generator steps: those made at 1 kimg are wgan-gp 3, dcgan 15."]
    rows = {row[0]: row for row in cost_table(groups_of(six)).rows}
    assert rows["00001-b0"][2:7] == ("1,000", "10 s", "100", "15", "15")


def test_unequal_lengths_and_times_are_said(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    slow = made_run(tmp_path, "b", "dcgan", images=500, env={"device": "a GPU"})
    metrics = slow / "metrics.csv"
    metrics.write_text(metrics.read_text().replace(",5.0,", ",50.0,"))
    lines = "\n".join(about_cost(groups_of(tmp_path)))
    assert "not seen equally many images (wgan-gp 1 kimg, dcgan 0.5 kimg)" in lines
    assert "for 0.5 kimg, wgan-gp 5 s, dcgan 50 s" in lines and "same machine" in lines


def test_losses_of_different_objectives_are_apart(six: Path, tmp_path: Path) -> None:
    groups = groups_of(six)
    assert "different scales and are not laid beside" in about_losses(groups)[0]
    panels, notes = loss_panels(groups)
    assert notes == [] and {len({trace.label for trace in panel.traces}) for panel in panels} == {1}
    assert {panel.title for panel in panels} >= {"wgan-gp: critic loss", "dcgan: critic loss"}
    _, notes = loss_panels(groups_of(six, ["a0", "a1", "b0"]))
    assert notes == ["dcgan is the only run with its objective: its losses are in its own report."]
    made_run(six, "narrow", fields={"generator.width": 5})
    made_run(six, "steep", fields={"objective.penalties.gp.weight": 3.0})
    families = loss_families(groups_of(six, ["a0", "narrow", "steep"]))
    assert [len(family) for family in families] == [2, 1]


def test_curves_over_images_and_over_time(six: Path) -> None:
    panels = score_panels(groups_of(six), [FD])
    assert [(panel.over, len(panel.traces)) for panel in panels] == [("kimg", 6), ("seconds", 6)]
    assert panels[0].traces[1].values.tolist() == [22, 11] and panels[0].traces[1].kimg.tolist() == [0.5, 1]
    assert panels[1].traces[0].seconds.tolist() == [5, 10]
    assert {(trace.label, trace.colour) for trace in panels[0].traces} == {("wgan-gp", 0), ("dcgan", 1)}


def options(runs: Path, *named: str, **more: Any) -> CompareOptions:
    return CompareOptions(named=named, runs=runs, **more)


def run_compare(asked: CompareOptions) -> Any:
    return compare(asked, lambda line: None, all_silent)


def test_what_is_written(six: Path) -> None:
    found = run_compare(options(six, "a0", "a1", "b0"))
    assert found.folder == six.absolute() / "comparisons" / "00000"
    names = {path.name for path in found.folder.iterdir()}
    assert names == {"compare.html", "scores.csv", "curves.csv", "table.tex", "curves.png", "losses.png"}
    page = (found.folder / "compare.html").read_text("utf-8")
    assert page.count('<svg viewBox="0 0 288') == 2 + 3 and not re.search(r"https?://(?!www.w3.org)", page)
    assert "Not shown: 00000-a0: this run has not saved a model yet" in page
    rows = list(csv.DictReader(io.StringIO((found.folder / "scores.csv").read_text())))
    assert len(rows) == 3 * 2
    first = {"kind": "wgan-gp", "seed": "0", "score": FD, "value": "10.0", "low": "9.0", "high": "11.0", "drawn": "500"}
    assert rows[0] | first == rows[0]
    curves = list(csv.DictReader(io.StringIO((found.folder / "curves.csv").read_text())))
    assert len(curves) == 6 and curves[1]["images_seen"] == "1000" and curves[1][FD] == "10"
    with Image.open(found.folder / "curves.png") as image:
        assert image.width == 1400


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without curves, which take most of the time."""
    monkeypatch.setattr("kantor.app.comparison.figures.overlay_svg", lambda *_: "<svg></svg>")
    monkeypatch.setattr("kantor.app.comparison.compare.overlay_png", lambda *_: b"curves")


@pytest.mark.usefixtures("unpainted")
def test_every_comparison_gets_a_folder_of_its_own(six: Path) -> None:
    first, second = (run_compare(options(six, "0", "1")).folder for _ in range(2))
    assert (first.name, second.name) == ("00000", "00001")
    assert (first / "compare.html").read_bytes() == (second / "compare.html").read_bytes()


@pytest.mark.parametrize(
    ("named", "error", "what"),
    [
        (["0"], ConfigError, "one run cannot be compared; name two"),
        (["0", "00000-a0"], ConfigError, "names of one and the same run"),
        (["0", "9"], ModelError, "9: no run of this number"),
        (["0", "bad"], ModelError, "00006-bad: is damaged: config.toml cannot be read"),
    ],
)
def test_runs_that_cannot_be_compared(six: Path, named: list[str], error: type[Exception], what: str) -> None:
    (made_run(six, "bad") / "config.toml").write_text("x = [")
    with pytest.raises(error, match=what):
        run_compare(options(six, *named))


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    made_run(tmp_path, "b", env={"data_fingerprint": "f2"}, provenance={"reference": "ef"})
    with pytest.raises(
        ConfigError, match=r"nothing can be compared: 00000-a has glyphs at 16, 00001-b.*--against"
    ) as caught:
        run_compare(options(tmp_path, "a", "b"))
    assert caught.value.exit_code == 2 and not (tmp_path / "comparisons").exists()


def test_flags_of_measuring_need_against_and_out_is_never_overwritten(six: Path) -> None:
    with pytest.raises(ConfigError, match="--count: says how to measure, and without --against"):
        run_compare(options(six, "0", "1", count=500))
    with pytest.raises(ConfigError, match="already exists"):
        run_compare(options(six, "0", "1", out=six / "00000-a0"))


@pytest.mark.usefixtures("unpainted")
def test_evaluations_of_all_runs_come_before_scores_of_training(six: Path) -> None:
    for number, name in ((0, "00000-a0"), (1, "00001-b0")):
        scores = {FD: {"value": 100 + number, "interval": [99, 102]}}
        folder = six / name / "evaluations" / "00000"
        folder.mkdir(parents=True)
        about = {**PROVENANCE, "drawn": 10_000, "images_seen": 1000, "model": name, "seed": 0, "truncation": 1.0}
        (folder / "scores.json").write_text(json.dumps({"metrics": scores, "provenance": about}))
    assert run_compare(options(six, "0", "1")).scores[1:3] == (("wgan-gp", "100 (n = 1)"), ("dcgan", "101 (n = 1)"))
    for number, other in enumerate(({"raw": True}, {"truncation": 0.7}), 1):  # of images that are not those drawn
        (six / "00001-b0/evaluations" / f"0000{number}").mkdir()
        scores = {"metrics": {FD: {"value": 1.0, "interval": [0, 2]}}, "provenance": {**about, **other}}
        (six / "00001-b0/evaluations" / f"0000{number}" / "scores.json").write_text(json.dumps(scores))
    assert run_compare(options(six, "0", "1")).scores[2] == ("dcgan", "101 (n = 1)")
    older = json.loads((six / "00001-b0/evaluations/00000/scores.json").read_text())
    older["provenance"]["images_seen"] = 500  # of another moment
    (six / "00001-b0/evaluations/00000/scores.json").write_text(json.dumps(older))
    assert run_compare(options(six, "0", "1")).scores[1][1] == "10 (n = 1)"


@pytest.mark.usefixtures("unpainted")
def test_evaluations_do_for_runs_without_scores_but_not_of_raw_weights_or_one_class(tmp_path: Path) -> None:
    for number, preset in enumerate(("wgan-gp", "dcgan")):
        run = made_run(tmp_path, preset, preset, fd=None)
        card = json.dumps({"__metadata__": {"kantor": json.dumps({"images_seen": 1000})}}).encode()
        (run / "generator.safetensors").write_bytes(len(card).to_bytes(8, "little") + card)
        for folder, fd, more in (
            ("00000", 50 + number, {}),
            ("00001", 7, {"raw": True}),
            ("00002", 8, {"classes": ["A"]}),
        ):
            about = {**PROVENANCE, "images_seen": 1000, "truncation": 1.0, **more}
            (run / "evaluations" / folder).mkdir(parents=True)
            text = json.dumps({"metrics": {FD: {"value": fd}}, "provenance": about})
            (run / "evaluations" / folder / "scores.json").write_text(text)
    assert run_compare(options(tmp_path, "0", "1")).scores[1:] == (("wgan-gp", "50 (n = 1)"), ("dcgan", "51 (n = 1)"))


def test_latex_is_escaped() -> None:
    assert tex("a_b & 50% #1 ${x}~^\\ ±") == (
        r"a\_b \& 50\% \#1 \$\{x\}\textasciitilde{}\textasciicircum{}\textbackslash{} $\pm$"
    )
    lines = tex_table(Table(("", "fd ↓"), [("a & b", "1")], ["n\note"]), "c\ntwo").splitlines()
    assert lines[1] == "% c two" and lines[-1] == "% n ote"
    assert r" & fd $\downarrow$ \\" in lines and r"a \& b & 1 \\" in lines
    assert all(line.startswith(("%", "\\")) or line.endswith(r"\\") for line in lines)
    starred = tex_table(Table(("", "fd"), [("a", "1 *")], ["* of 50% of the images"]), "c")
    assert "\\bottomrule\n\\multicolumn{2}{l}{\\footnotesize * of 50\\% of the images} \\\\\n\\end{tabular}" in starred


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a tiny model, trained."""
    runs = tmp_path_factory.mktemp("trained")
    for seed in (0, 1):
        train_until(None, "wgan-gp", "float32", runs, runs / "cache", overrides=FIELDS | {"train.seed": seed})
    return runs


@pytest.mark.usefixtures("unpainted")
def test_models_are_measured_afresh_and_drawn_from_the_same_seeds(trained: Path) -> None:
    asked = options(
        trained, "0", "1", against="glyphs", count=30, metrics=["fd"], cache=trained / "cache", device="cpu"
    )
    found = run_compare(asked)
    assert found.scores[0] == ("", "fd@kantor-small ↓") and found.scores[1][1].endswith("(n = 2)")
    page = (found.folder / "compare.html").read_text("utf-8")
    assert page.count("data:image/webp") == 2 and "Seeds 0 to 15 in each model" in page
    assert "kantor compare 0 1 --against glyphs --metrics fd --count 30" in page
    rows = list(csv.DictReader(io.StringIO((found.folder / "scores.csv").read_text())))
    assert [row["drawn"] for row in rows] == ["30", "30"]
    with Image.open(found.folder / "sheets.png") as sheet:
        assert sheet.width > 16 * 64


def test_a_row_shows_what_generate_draws(trained: Path) -> None:
    runs = load_runs(["0", "1"], trained)
    images, seen = figures.images_of(runs[0])
    network, card, _ = load_generator(str(runs[0].path), trained)
    alone = generate_images(network, card.latents([3]), None)
    assert seen == card.images_seen and np.array_equal(images[3], alone[0])


@pytest.mark.usefixtures("unpainted")
def test_python_says_the_same(six: Path) -> None:
    found = kantor.compare([six / "00000-a0", "b0"], runs=six, out=six / "page")
    assert found.folder == six / "page" and "anecdote" in found.conclusions[0]
    assert found.scores[1] == ("wgan-gp", "10 (n = 1)", "0.5 (n = 1)")
    with pytest.raises(ConfigError, match="already exists"):
        kantor.compare([six / "00000-a0", "b0"], runs=six, out=six / "page")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1000.0, 1500.0, 1252.0], "1250 ± 250 (n = 3)"),
        ([0.01, 0.03], "0.020 ± 0.014 (n = 2)"),
        ([9.0, 9.994], "9.50 ± 0.70 (n = 2)"),
        ([2.0, 2.0], "2 ± 0 (n = 2)"),
        ([2.0], "2 (n = 1)"),
    ],
)
def test_spread_has_two_digits(values: list[float], text: str) -> None:
    assert spread(values) == text
