"""losses.png."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from kantor.engine.events import Finished, Saved, Started, Tick
from kantor.report.curve_data import smooth, without_abandoned
from kantor.report.curves import CRITIC_SCORES, GAP, LABEL_PT, SMALL, WASSERSTEIN, metric_panels, spread
from kantor.report.losses_png import LossPlot, losses_png, places
from kantor.sinks.metrics_csv import COLUMNS, MetricsCsv
from kantor.sinks.timing import Throttle


def metrics(n, seed=0):
    rng = np.random.default_rng(seed)
    table = {name: rng.normal(1, 0.2, n) for name in COLUMNS}
    table["attempt"] = np.zeros(n)
    table["images_seen"] = np.arange(1, n + 1) * 400.0
    table["epoch"] = table["images_seen"] / 2000
    return table


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def has_colour(image, colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(image - rgb).max(2) <= 2).any())


@pytest.mark.parametrize("n", [0, 1, 2, 2000])
def test_any_number_of_rows(n):
    image = decode(losses_png(metrics(n), "00000-fish"))
    assert image.shape[1] == 1400
    for panel in (WASSERSTEIN, *SMALL):
        for line in panel.lines:
            assert has_colour(image, line.colour) == (n > 0 or panel is WASSERSTEIN), (
                line
            )  # whose title is there in any case


def test_columns_that_are_missing_or_empty():
    table = metrics(20)
    table["penalty"][:] = np.nan
    table["generator_loss"][5:9] = np.nan
    table["critic_loss"][3] = np.inf
    del table["gradient_norm"], table["wasserstein_estimate"], table["epoch"], table["critic_fake"]
    image = decode(losses_png(table, "x"))
    colours = {line.column for panel in SMALL for line in panel.lines if has_colour(image, line.colour)}
    assert colours == {"critic_real", "critic_loss", "generator_loss"}
    assert has_colour(image, GAP.colour)
    losses_png({}, "nothing at all")
    losses_png({"images_seen": np.array([400.0])}, "nothing but a count")
    losses_png({name: np.full(3, np.nan) for name in COLUMNS}, "no numbers")


def test_constant_and_negative_values():
    table = {"images_seen": np.arange(3) * 1000.0, "critic_gap": np.zeros(3), "critic_loss": np.full(3, -7.0)}
    losses_png(table, "flat")


def test_equal_metrics_give_equal_bytes():
    assert losses_png(metrics(50), "a") == losses_png(metrics(50), "a")


def test_both_critic_scores_share_one_panel():
    """Scores of 10 and -10 share an axis: blue is above orange everywhere, by the larger part of the panel."""
    table = {
        "images_seen": np.arange(1, 301) * 400.0,
        "critic_real": np.full(300, 10.0),
        "critic_fake": np.full(300, -10.0),
    }
    image = decode(losses_png(table, "x"))
    blue, orange = (np.argwhere(np.abs(image - np.array(rgb)).max(2) <= 2) for rgb in ((86, 180, 233), (230, 159, 0)))
    assert blue[:, 0].max() < orange[:, 0].min()
    assert 80 < np.median(orange[:, 0]) - np.median(blue[:, 0]) < 250  # a small panel is about 200 pixels high
    assert blue[:, 1].min() < 120 and blue[:, 1].max() > 1200  # alone in its row, it is as wide as the gap above it
    np.testing.assert_array_equal(np.unique(blue[:, 1])[[0, -1]], np.unique(orange[:, 1])[[0, -1]])


def test_labels_of_two_curves_do_not_touch():
    for here in np.linspace(-1, 101, 35):
        for there in np.linspace(-1, 101, 35):
            first, second = spread([here, there], 100.0)
            assert abs(first - second) >= LABEL_PT - 1e-9
            assert min(first, second) >= LABEL_PT / 2 - 1e-9 and max(first, second) <= 100 - LABEL_PT / 2 + 1e-9
            assert here == there or (first > second) == (here > there)
    assert spread([20.0, 80.0], 100.0) == [20.0, 80.0]
    assert spread([1.0], 100.0) == [1.0]


def test_panels_come_two_a_row_and_critic_scores_fill_the_first_if_odd():
    def rows(panels):
        return [
            (panel.title, row, column if isinstance(column, int) else "both") for panel, row, column in places(panels)
        ]

    scores, critic, generator, penalty, _ = SMALL
    assert rows([scores, critic]) == [("Critic scores", 0, 0), ("Critic loss", 0, 1)]
    assert rows([scores, critic, generator]) == [
        ("Critic scores", 0, "both"),
        ("Critic loss", 1, 0),
        ("Generator loss", 1, 1),
    ]
    assert rows([critic, generator, penalty])[-1] == ("Penalty", 1, "both")
    assert len({(row, column) for _, row, column in rows(list(SMALL))}) == 5
    assert {row for _, row, _ in rows(list(SMALL))} == {0, 1, 2}
    with_distance = [*metric_panels({"fd@kantor-small": np.ones(2)}), *SMALL]
    assert rows(with_distance)[1] == ("Critic scores", 0, 1)
    assert CRITIC_SCORES is scores


def test_names_are_not_formulas():
    losses_png(metrics(3), "00001-$fish_{$ \\alpha")


def test_rows_that_a_roll_back_undid_are_skipped():
    table = {"images_seen": np.array([1.0, 2, 3, 4, 3, 4, 5, 2, 3]), "x": np.arange(9.0)}
    kept, marks = without_abandoned(table)
    np.testing.assert_array_equal(kept["images_seen"], [1, 2, 3])
    np.testing.assert_array_equal(kept["x"], [0, 7, 8])
    np.testing.assert_array_equal(marks, [3, 2])


def test_smooth_values():
    np.testing.assert_allclose(smooth(np.arange(9.0), 5), [0.5, 1.0, 2, 3, 4, 5, 6, 6.375, 6.833333][:9], atol=0.7)
    np.testing.assert_allclose(smooth(np.full(7, 3.0), 3), 3)
    spike = np.zeros(50)
    spike[20] = 1e6
    np.testing.assert_array_equal(smooth(spike, 9), 0)
    holes = np.array([1.0, np.nan, 1, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 2])
    assert smooth(holes, 3)[0] == 1 and np.isnan(smooth(holes, 3)[6]) and smooth(holes, 3)[-1] == 2


def test_loss_plot_is_painted_at_saves(tmp_path):
    csv, plot = MetricsCsv(tmp_path / "metrics.csv"), LossPlot(tmp_path, throttle=Throttle(math.inf))
    path = tmp_path / "losses.png"

    def tell(event):
        csv.on(event)
        plot.on(event)

    tell(Started(0, 1000, 100, np.zeros((1, 8, 8, 3), np.uint8)))
    tell(Saved(0, tmp_path))
    assert not path.exists()
    tell(Tick(100, 0, 1.0, 1.0, 100.0, {"critic_gap": 1.0, "critic_loss": -1.0}))
    assert not path.exists()
    tell(Saved(100, tmp_path))
    first = path.stat().st_mtime_ns
    tell(Finished(100, "done"))
    assert path.stat().st_mtime_ns == first  # nothing new
    tell(Tick(200, 0, 2.0, 2.0, 100.0, {"critic_gap": 0.5, "critic_loss": -0.5}))
    tell(Finished(200, "done"))
    assert path.stat().st_mtime_ns > first


def test_loss_plot_is_throttled_at_saves_but_not_at_the_end(tmp_path, monkeypatch):
    now_s, painted = [0.0], []

    def slowly(*_):
        now_s[0] += 1
        painted.append(now_s[0])
        return b"a plot"

    monkeypatch.setattr("kantor.report.losses_png.losses_png", slowly)
    csv, plot = MetricsCsv(tmp_path / "metrics.csv"), LossPlot(tmp_path, throttle=Throttle(0.1, lambda: now_s[0]))
    for number in range(1, 30):
        event = Tick(100 * number, 0, 1.0, 1.0, 100.0, {"critic_gap": 1.0, "critic_loss": -1.0})
        csv.on(event)
        plot.on(Saved(100 * number, tmp_path))
        now_s[0] += 1
    assert painted == [1.0, 12.0, 23.0]
    plot.on(Finished(2900, "done"))
    assert len(painted) == 4
