"""The page and the table of a run, and the sentences under its curves."""

from __future__ import annotations

import html.parser
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.app.write_report import PAGE, write_report
from kantor.config.io import resolve
from kantor.report.curve_data import without_abandoned
from kantor.report.curves import GAP, Line, Panel, curve_svg
from kantor.report.loss_guide import LossGuide, gap_words, gradient_words, health, loss_guide, trend
from kantor.report.losses_png import losses_png
from kantor.report.table import epoch_table, loss_table
from kantor.sinks.metrics_csv import COLUMNS, read_metrics
from support.commands import TINY, exit_of
from support.paths import ROOT

VOID = {"meta", "img", "br", "line", "polyline"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    few = ["--set", "data.glyphs.count=40", "--images", "64", "--set", "train.tick_images=4"]
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
    for heading in ("Generated and real images", "Curves", "Settings", "Repeat, resume, use"):
        assert heading in page.text
    assert "64 images seen" in page.text
    assert "Completed at 64 images." in page.text
    assert "No scores were measured during training." in page.text and "evaluations/" not in page.text
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


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("signal", "Stopped by a signal (such as Ctrl-C) at 64 images."),
        ("SIGINT", "Stopped by Ctrl-C at 64 images."),
        ("SIGTERM", "Stopped from outside (SIGTERM) at 64 images."),
        ("time-budget", "Time budget used up at 64 images."),
        ("stopped", "Stopped at 64 images."),
        ("no progress", "Stopped (no progress) at 64 images."),
    ],
)
def test_the_page_says_why_training_ended(run: Path, reason: str, line: str) -> None:
    events = run / "events.jsonl"
    events.write_text(events.read_text().replace('"reason": "done"', f'"reason": "{reason}"'))
    assert line in Balance(write_report(run).read_text("utf-8")).text


def test_the_page_names_evaluations(run: Path) -> None:
    (run / "evaluations" / "00000").mkdir(parents=True)
    (run / "evaluations" / "00000" / "scores.json").touch()
    assert "The results of kantor evaluate are in evaluations/." in Balance(write_report(run).read_text("utf-8")).text


def test_equal_runs_give_equal_pages(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_page_of_a_run_that_has_just_started(run: Path) -> None:
    for name in ("metrics.csv", "events.jsonl", "log.txt", "environment.json", "generator.safetensors"):
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / "samples")
    shutil.rmtree(run / "checkpoints")
    page = Balance(write_report(run).read_text("utf-8"))
    assert "No images generated yet." in page.text
    assert "Nothing measured yet." in page.text


def test_faults_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "samples" / "reals.png").write_bytes(b"no image")
    assert exit_of("report", run) == 0
    assert "Unreadable grids: 1." in (run / PAGE).read_text()
    Image.new("RGB", (20, 20)).save(run / "samples" / "reals.png")
    assert exit_of("report", run) == 0
    assert "Unreadable grids" not in (run / PAGE).read_text()
    (run / "metrics.csv").write_text("images_seen,critic_gap\n1,2\nx,3\n")
    assert exit_of("report", run) == 3
    assert "line 3" in capsys.readouterr().err
    assert exit_of("report", run / "samples") == 4
    assert "not a run directory" in capsys.readouterr().err
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


def test_table_of_epochs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("report", run, "--table", "--epochs") == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["epoch", "kimg", "critic", "loss"]
    assert lines[0].split()[-1] == "seconds"
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 110
    assert [line.split()[0] for line in lines[1:]] == ["1", "2"]  # 64 images of 40
    assert "(60%)" in lines[2]
    assert re.fullmatch(r"1\.60 epochs in 0:\d\d:\d\d, \S+ s an epoch", last)
    assert exit_of("report", run, "--epochs") == 2
    assert capsys.readouterr().err == "error: --epochs: changes the table of losses, not the page; add --table\n"


def test_an_epoch_is_the_mean_over_its_rows() -> None:
    """Four rows an epoch of 1000 images, the last of them right at its end, 62 s a row: 248 s an epoch."""
    count = 60
    rows = np.arange(1, count + 1.0)
    metrics = {
        "images_seen": 250 * rows, "epoch": rows / 4, "seconds": 62 * rows, "critic_loss": rows, "critic_real": rows**2,
        "critic_fake": -rows, "generator_loss": np.where(rows % 4, rows, np.nan), "penalty": np.full(count, np.nan),
    }  # fmt: skip
    head, *lines, last = epoch_table(metrics)
    assert head.split() == ["epoch", "kimg", "critic", "loss", "real", "fake", "generator", "loss", "seconds"]
    assert last == "15 epochs in 1:02:00, 248 s an epoch"
    for k, line in enumerate(lines, 1):
        of = rows[4 * k - 4 : 4 * k]
        wanted = [k, k, of.mean(), (of**2).mean(), -of.mean(), of[:3].mean(), 248]
        np.testing.assert_allclose([float(cell) for cell in line.split()], wanted, rtol=1e-3)
    assert len(lines) == 15


def test_epochs_that_end_between_rows_or_never() -> None:
    """A row is 0.4 epochs and 10 s: the ends of epochs lie between rows, and so do their times."""
    rows = np.arange(1, 7.0)
    metrics = {"images_seen": 40 * rows, "epoch": 0.4 * rows, "seconds": 10 * rows, "critic_loss": rows}
    lines = epoch_table(metrics)
    assert [line.split() for line in lines[1:-1]] == [
        ["1", "0.1", "1.5", "25.0"], ["2", "0.2", "4", "25.0"], ["3", "(40%)", "0.2", "6", "10.0"],
    ]  # fmt: skip
    assert lines[-1] == "2.40 epochs in 0:01:00, 25 s an epoch"
    assert len({len(line) for line in lines[:-1]}) == 1
    tiny = {"images_seen": 100 * rows, "epoch": 2.5 * rows, "seconds": 5 * rows, "critic_loss": rows}
    assert [line.split()[0] for line in epoch_table(tiny)[1:-1]] == ["3", "5", "8", "10", "13", "15"]
    assert [line.split()[-1] for line in epoch_table(tiny)[1:-1]] == ["2.0", "2.0", "2.0", "2.0", "2.0", "2.0"]
    assert epoch_table({}) == epoch_table({"images_seen": rows}) == []
    assert epoch_table({"images_seen": rows, "epoch": rows / 6})[-1].split() == ["1", "0.0"]


def test_epochs_that_a_roll_back_undid_do_not_count() -> None:
    seen = np.array([500.0, 1000, 1500, 2000, 1500, 2000])
    metrics = {"images_seen": seen, "epoch": seen / 1000, "seconds": np.array([5.0, 10, 15, 20, 17, 24])}
    metrics["critic_loss"] = np.array([1.0, 1, 50, 50, 2, 2])
    assert [line.split() for line in epoch_table(metrics)[1:-1]] == [
        ["1", "1.0", "1", "10.0"],
        ["2", "2.0", "2", "14.0"],
    ]
    assert epoch_table(metrics)[-1] == "2 epochs in 0:00:24, 12 s an epoch"


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
    assert trend(noisy) == found


def test_trend_of_few_values() -> None:
    assert trend(np.arange(5.0)) == "short"
    assert trend(np.full(100, np.nan)) == "short"
    assert "Too few rows" in gap_words(np.arange(5.0), LossGuide())


def guide(preset: str, **overrides: object) -> LossGuide:
    return loss_guide(resolve(preset, None, overrides).objective)


def test_sentences_carry_their_numbers() -> None:
    norm = np.concatenate([np.full(30, 9.0), np.full(10, 1.05)])
    two_sided, one_sided = guide("wgan-gp"), guide("wgan-gp", **{"objective.kind": "wgan-lp"})
    assert "1.05, as it should be" in gradient_words(norm, two_sided)
    assert "9, further above 1 than usual" in gradient_words(np.full(40, 9.0), two_sided)
    assert "1.5, above 1 as usual" in gradient_words(np.full(40, 1.5), two_sided)
    dragan = guide("dcgan", **{"objective.kind": "dragan", "critic.norm": "layer"})
    assert "1.5, further above 1 than usual" in gradient_words(np.full(40, 1.5), dragan)
    assert "0.1, further below 1 than usual" in gradient_words(np.full(40, 0.1), two_sided)
    assert "0.1, as it should be" in gradient_words(np.full(40, 0.1), one_sided)
    to_zero = gradient_words(np.full(40, 0.3), guide("default"))
    assert "Target: 0." in to_zero and to_zero.endswith("quarter: 0.3.")
    lines = health({"skipped_steps": np.array([0, 3.0]), "images_per_second": np.array([100.0, 200, 300])})
    assert lines[0].startswith("Skipped 3 steps")
    assert "200 images per second" in lines[1]


def test_the_norm_is_judged_by_the_target_of_its_penalty() -> None:
    half = guide("paper-mnist28-wgan-gp")
    assert half.gradient_norm.startswith("Target: 0.5; somewhat above it")
    for norm, verdict in (
        (0.51, "0.51, as it should be"),
        (0.3, "0.3, further below 0.5 than usual"),
        (0.75, "0.75, above 0.5 as usual"),
        (1.05, "1.05, further above 0.5 than usual"),
    ):
        assert verdict in gradient_words(np.full(40, norm), half)
    kept = guide("wgan-gp", **{"objective.kind": "wgan-lp", "objective.penalties.gradient.target": 20.0})
    assert kept.gradient_norm.startswith("Limit: 20")
    assert "15, as it should be" in gradient_words(np.full(40, 15.0), kept)
    assert "41, further above 20 than usual" in gradient_words(np.full(40, 41.0), kept)
    assert guide("wgan-gp").gradient_norm.startswith("Target: 1;")
    other = {"of": "two-sided", "target": 0.5, "at.kind": "real"}
    two_targets = guide("wgan-gp", **{f"objective.penalties.second.{name}": value for name, value in other.items()})
    assert two_targets.penalty_kind == "" and "Target" not in two_targets.gradient_norm
    columns = guide("wgan-gp", **{"objective.penalties.gradient.over": "columns"})
    assert (
        columns.penalty_kind == "" and "Target" not in columns.gradient_norm
    )  # the curve shows the norm of whole images


def test_every_objective_says_how_to_read_the_scores() -> None:
    assert (
        guide("wgan-gp").critic_scores
        == guide("wgan").critic_scores
        == "Their difference is the estimate; their level has no meaning."
    )
    for preset in "default", "dcgan":
        assert guide(preset).critic_scores.startswith("Their difference is the gap")
    for kind in "hinge", "lsgan", "dragan":
        assert (
            len(guide("dcgan", **{"objective.kind": kind, "critic.norm": "layer"}).critic_scores) <= 66
        )  # as wide as its panel


def test_a_rising_gap_is_judged_by_its_objective() -> None:
    """As docs/losses.md has it: slowly rising is healthy for a relativistic critic, up to a gap of 3."""
    rising = np.linspace(0.1, 0.9, 100)
    assert "healthy if it is slow" in gap_words(rising, guide("default"))
    assert "from 3 on the critic wins" in gap_words(5 * rising, guide("default"))
    assert "still finds differences" in gap_words(99 * rising, guide("wgan-gp"))
    assert "usual for long where weights are clipped" in gap_words(rising, guide("wgan"))
    assert "check whether the images get worse" in gap_words(rising, guide("dcgan"))
    assert "improve with more training" in gap_words(rising[::-1], guide("wgan-gp"))


def test_a_wasserstein_critic_without_clipping_is_not_called_clipped() -> None:
    fields = {"objective.constraint.kind": "none", "objective.penalties.gradient.of": "two-sided"}
    assert "clipped" in guide("wgan").gap
    assert guide("wgan", **fields).gap == guide("wgan-gp").gap


def test_captions_and_documentation_agree() -> None:
    """Numbers of an even match are those of docs/losses.md."""
    text = (ROOT / "docs" / "losses.md").read_text("utf-8")
    for preset, number, shown in ("default", "0.69", "0.69"), ("dcgan", "1.386", "1.39"), ("dcgan", "0.693", "0.69"):
        assert number in text
        assert shown in guide(preset).critic_loss + guide(preset).generator_loss


@pytest.mark.parametrize("value", [1e308, -1e308, float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_beyond_all_bounds(name: str, value: float) -> None:
    metrics = {column: np.linspace(1, 2, 40) for column in COLUMNS} | {"images_seen": np.arange(40.0)}
    for part in np.s_[3], np.s_[-1], np.s_[::2], np.s_[:]:
        broken = metrics | {name: metrics[name].copy()}
        broken[name][part] = value
        assert max(map(len, loss_table(broken)), default=0) <= 110
        assert max(map(len, epoch_table(broken)), default=0) <= 130
        kept, _ = without_abandoned(broken)
        text = " ".join(health(kept)) + gap_words(kept["critic_gap"], guide("default"))
        assert len(text) < 600


def test_a_page_and_a_plot_of_numbers_beyond_all_bounds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    for i, value in enumerate(("1e308", "-1e308", "inf", "-inf", "nan", "1e300")):
        cells = rows[i].split(",")
        rows[i] = ",".join(cells[:3] + [value] * (len(cells) - 3))
    rows.append(",".join(["0", "1e308", "1e308", *["1e308"] * (len(header.split(",")) - 3)]))
    path.write_text("\n".join([header, *rows, ""]))
    assert exit_of("report", run) == 0
    assert exit_of("report", run, "--table") == 0
    assert max(map(len, capsys.readouterr().out.splitlines()[1:])) < 140
    assert "nan" not in Balance((run / PAGE).read_text("utf-8")).text
    losses_png(read_metrics(path), "wild")


@pytest.mark.parametrize("where", ["samples/reals.png", "samples/fixed/000000064.png", "samples/fixed/²²².png"])
@pytest.mark.parametrize("side", [30_000, 12_000])
def test_a_grid_that_claims_to_be_huge(where: str, side: int, run: Path) -> None:
    """Its header alone is small; Pillow would warn of one of them and refuse the other."""
    (run / where).write_bytes(png_header(side))
    assert exit_of("report", run) == 0
    lost = "Unreadable grids: 1." in (run / PAGE).read_text()
    assert lost == ("²" not in where)


def png_header(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_networks_without_normalisation(run: Path) -> None:
    text = Balance((run / PAGE).read_text("utf-8")).text
    assert "none norm" not in text
    assert "no normalisation" in text
    assert "pixel normalisation" in text


def gap_svg(y: np.ndarray, title: str = "Gap") -> str:
    kept, roll_backs = without_abandoned({"images_seen": np.arange(len(y)) * 1000.0, "critic_gap": y})
    return curve_svg(kept, Panel(title, GAP.lines, "gap"), roll_backs)


def svg_paths(svg: str) -> list[np.ndarray]:
    """The points of each path: [points, 2]."""
    return [
        np.array([[float(x), float(y)] for x, y in re.findall(r"[ML] (\S+) (\S+)", path)])
        for path in re.findall(r'<path d="([^"]*)"', svg)
    ]


def test_curves_of_a_long_run_have_few_points_and_keep_spikes() -> None:
    y = np.sin(np.arange(100_000) / 5000)
    y[54_321] = 9.0
    svg = gap_svg(y, 'Gap "&"')
    assert len(svg) < 20_000
    raw, calm = (path for path in svg_paths(svg) if len(path) > 100)
    assert abs(raw[raw[:, 1].argmin(), 0] - 288 * (0.155 + 0.66 * 0.54321)) < 1
    assert np.diff(raw[:, 0]).max() < 3 > np.diff(calm[:, 0]).max()
    assert 'aria-label="Gap &quot;&amp;&quot;: from 0 to' in svg


@pytest.mark.parametrize(
    "y",
    [
        np.zeros(0), np.full(3, np.nan), np.ones(1), np.ones(5), -1e9 * np.arange(300.0), np.array([-1e308, 1e308] * 400),
        np.full(5, 1e308), np.array([np.inf, 1.0, -np.inf]),
    ],
)  # fmt: skip
def test_curves_of_all_kinds(y: np.ndarray) -> None:
    svg = gap_svg(y)
    Balance(svg)
    assert "nan" not in svg
    assert "inf" not in svg
    for path in svg_paths(svg):
        assert (path >= 0).all() and (path <= 288).all()


def test_curves_of_a_page_share_no_ids_and_use_its_colours(run: Path) -> None:
    text = (run / PAGE).read_text("utf-8")
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids)) > 4
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert "stroke: var(--rule)" in text and "fill: var(--soft)" in text
    assert gap_svg(np.arange(9.0)) == gap_svg(np.arange(9.0))


def test_a_curve_marks_roll_backs() -> None:
    kept, roll_backs = without_abandoned({"images_seen": 1000.0 * np.array([1, 2, 3, 2, 3, 4]), "x": np.arange(6.0)})
    panel = Panel("X", (Line("x", "#0072b2"),), "gap")
    assert "stroke-dasharray" in curve_svg(kept, panel, roll_backs)
    assert "stroke-dasharray" not in curve_svg(kept, panel)
