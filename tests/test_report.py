"""The page and the table of a run, and the sentences under its curves."""

from __future__ import annotations

import html.parser
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import TINY, exit_of
from kantor.app.report import PAGE, write_report
from kantor.report import words
from kantor.report.page import curve_svg
from kantor.report.table import loss_table

VOID = {"meta", "img", "br", "line", "polyline"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    few = ["--set", "data.glyphs.count=40", "--images", "64", "--set", "train.tick_images=4", "--cache", folder / "c"]
    assert exit_of("train", "glyphs", *TINY, *few, "--runs", folder, "--name", "a<b>&c") == 0
    return next(folder.glob("00000-*"))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / trained.name))


class Balance(html.parser.HTMLParser):
    """Every tag closed, in order; keeps all tags and the text outside style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def test_training_leaves_a_page_that_needs_nothing_else(run: Path) -> None:
    page = Balance((run / PAGE).read_text("utf-8"))
    sources = [attrs["src"] or "" for tag, attrs in page.tags if tag == "img"]
    assert len(sources) == 2
    assert all(source.startswith(("data:image/webp;base64,", "data:image/png;base64,")) for source in sources)
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]
    assert not re.search(r"https?://", page.text)
    for heading in ("Pictures it makes", "Curves", "Settings", "Do it again"):
        assert heading in page.text
    assert "64 pictures seen" in page.text
    assert "generator.width" in page.text
    assert "kantor train --config" in page.text


def test_names_are_text_and_never_html(run: Path) -> None:
    (run / "config.toml").write_text(
        (run / "config.toml").read_text().replace('source = "glyphs"', 'source = "<script>alert(1)</script>"')
    )
    text = write_report(run).read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "script-src" not in text and "default-src 'none'" in text
    Balance(text)


def test_equal_runs_give_equal_pages(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_a_run_that_has_only_begun(run: Path) -> None:
    for name in ("metrics.csv", "events.jsonl", "log.txt", "environment.json", "generator.safetensors"):
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / "samples")
    shutil.rmtree(run / "checkpoints")
    page = Balance(write_report(run).read_text("utf-8"))
    assert "No sheet has been drawn yet." in page.text
    assert "Nothing has been measured yet." in page.text


def test_faults_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "samples" / "reals.png").write_bytes(b"no picture")
    assert exit_of("report", run) == 0
    assert "Sheets that cannot be read: 1." in (run / PAGE).read_text()
    Image.new("RGB", (20, 20)).save(run / "samples" / "reals.png")
    assert exit_of("report", run) == 0
    assert "cannot be read" not in (run / PAGE).read_text()
    (run / "metrics.csv").write_text("images_seen,critic_gap\n1,2\nx,3\n")
    assert exit_of("report", run) == 3
    assert "line 3" in capsys.readouterr().err
    assert exit_of("report", run / "samples") == 4
    assert "is no run directory" in capsys.readouterr().err
    assert exit_of("report", "latest", "--runs", run / "none") != 0
    assert capsys.readouterr().err.startswith("error: ")


def test_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("report", run, "--table") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["kimg", "epoch"]
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 100
    assert len(lines) == 17


def test_table_means_and_last_row() -> None:
    count = 103
    metrics = {
        "images_seen": np.arange(1, count + 1) * 1000.0,
        "critic_gap": np.arange(count) * 1.0,
        "penalty": np.full(count, np.nan),
    }
    lines = loss_table(metrics, rows=10)
    assert len(lines) == 11
    assert lines[0].split() == ["kimg", "critic", "gap"]
    assert lines[-1].split()[0] == "103.0"
    means = [float(line.split()[1]) for line in lines[1:]]
    sizes = np.diff(np.unique(np.linspace(0, count, 11).astype(int)))
    assert np.isclose((means * sizes).sum() / count, 51.0)
    assert loss_table({}) == []


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize(
    ("shape", "found"),
    [("level", "level"), ("rise", "rising"), ("fall", "falling"), ("saturates", "level")],
)
def test_trend(shape: str, found: str, scale: float) -> None:
    t = np.linspace(0, 1, 200)
    curve = {"level": 0 * t + 1, "rise": 1 + 2 * t, "fall": 3 - 2 * t, "saturates": 1 - np.exp(-20 * t)}[shape]
    noisy = scale * (curve + 0.05 * RNG.standard_normal(200))
    assert words.trend(noisy) == found


def test_trend_of_little() -> None:
    assert words.trend(np.arange(5.0)) == "short"
    assert words.trend(np.full(100, np.nan)) == "short"
    assert "too few rows" in words.gap_words(np.arange(5.0), True)


def test_sentences_carry_the_figures() -> None:
    norm = np.concatenate([np.full(30, 9.0), np.full(10, 1.05)])
    assert "1.05: as it should be" in words.gradient_words(norm, ["two-sided"])
    assert "9: further from 1" in words.gradient_words(np.full(40, 9.0), ["two-sided"])
    assert "0.1: as it should be" in words.gradient_words(np.full(40, 0.1), ["one-sided"])
    assert "1" not in words.gradient_words(np.full(40, 9.0), ["zero-centred", "two-sided"])
    lines = words.health({"skipped_steps": np.array([0, 3.0]), "images_per_second": np.array([100.0, 200, 300])})
    assert lines[0].startswith("3 steps were skipped")
    assert "200 pictures a second" in lines[1]


def test_a_long_run_is_drawn_in_few_points_and_keeps_its_spikes() -> None:
    y = np.sin(np.arange(100_000) / 5000)
    y[54_321] = 9.0
    svg = curve_svg(np.arange(100_000.0), y, 'Gap "&"')
    assert len(svg) < 20_000
    raw, calm = (np.array([list(map(float, pair.split(","))) for pair in points.split()]) for points in
                 re.findall(r'points="([^"]*)"', svg))  # fmt: skip
    assert abs(raw[raw[:, 1].argmin(), 0] - (58 + 250 * 0.54321)) < 1
    assert np.diff(raw[:, 0]).max() < 3 > np.diff(calm[:, 0]).max()
    assert "Gap &quot;&amp;&quot; from 0 to" in svg


@pytest.mark.parametrize(
    "y",
    [
        np.zeros(0), np.full(3, np.nan), np.ones(1), np.ones(5), -1e9 * np.arange(300.0), np.array([-1e308, 1e308] * 400),
        np.full(5, 1e308), np.array([np.inf, 1.0, -np.inf]),
    ],
)  # fmt: skip
def test_curves_of_all_kinds(y: np.ndarray) -> None:
    svg = curve_svg(np.arange(len(y)) * 1.0, y)
    Balance(svg)
    assert "nan" not in svg
    assert "inf" not in svg
    coordinates = [float(v) for pair in re.findall(r'points="([^"]*)"', svg) for v in re.split("[ ,]", pair)]
    assert all(0 <= v <= 360 for v in coordinates)
