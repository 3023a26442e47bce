"""What users ask of a guided model, and what is measured of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kantor
from kantor.api.model import Model
from kantor.app.asked import Wishes, asked_of, guided_line, wishes_of
from kantor.app.evaluation.asked import asked_and_got
from kantor.app.evaluation.image_sets import GeneratedImages
from kantor.app.sampling.walk import walk_inputs
from kantor.config.networks import UpsamplingGenerator
from kantor.controls import CONTROLS, Guide, controls_of, guide_of
from kantor.errors import ConfigError, ModelError
from kantor.export.weights import Card, write_generator
from kantor.metrics.asked import control_scores, correlation
from kantor.metrics.inputs import MetricInputs
from kantor.nets import build_generator
from kantor.sample.generate import generate_images
from support.commands import exit_of
from support.models import write_model
from support.painters import SPEC, Painter, table

CONFIG = UpsamplingGenerator(width=4, max_width=8, latent_dim=6)


def measured(images: np.ndarray) -> np.ndarray:
    return controls_of(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1, CONTROLS).numpy()


@pytest.fixture(name="model")
def _model() -> Model:
    painter = Painter().eval().requires_grad_(False)
    card = Card(SPEC, CONFIG, "hinge", (), 0, guide=painter.guide)
    return Model(painter, SPEC, (), 0, card)


def test_what_is_asked_for_is_painted(model: Model) -> None:
    got = measured(model.generate([0, 1, 2], colour="#993311", place=(0.4, 0.65), extent=0.3))
    differences = np.abs(
        got - [0.6, 0.2, 1 / 15, 0.4, 0.65, 0.3]
    )  # of colours because edges are between subject and ground
    assert differences[:, :3].max() < 0.15 and differences[:, 3:].max() < 0.03
    one = measured(model.generate(range(8), place="0.35,0.4"))
    assert np.abs(one[:, 3:5] - [0.35, 0.4]).max() < 0.03 and np.ptp(one[:, 5]) > 0.05
    assert np.array_equal(model.generate(3, extent=0.3), model.generate([1, 3], extent=0.3)[1:])
    assert model.controls.keys() == {"red", "green", "blue", "x", "y", "extent"}
    assert model.latent_dim == 12 and model.from_latents(model.latents([4])).tolist() == model.generate(4).tolist()


def test_a_walk_moves_what_is_asked_for(model: Model) -> None:
    z, _ = walk_inputs(model._card, [1, 2], [], 4, False, False, "linear", 1.0, {"x": [0.35, 0.65]})
    got = measured(generate_images(model.network, z))
    assert np.allclose(got[:, 3], np.linspace(0.35, 0.65, 5), atol=0.02)


def test_a_walk_in_python_passes_what_the_command_passes(model: Model) -> None:
    there = model.walk([1, 2], 4, place=[(0.35, 0.5), (0.65, 0.5)], extent=[0.3, 0.5], colour="#993311")
    got = measured(there)
    assert np.allclose(got[:, 3], np.linspace(0.35, 0.65, 5), atol=0.02) and np.allclose(got[:, 4], 0.5, atol=0.02)
    assert np.allclose(got[:, 5], np.linspace(0.3, 0.5, 5), atol=0.04)
    assert np.array_equal(
        model.walk([1, 2], 4, place="0.35,0.5:0.65,0.5", extent="0.3:0.5", colour=(153, 51, 17)), there
    )
    still = model.walk([1, 1], 2, place=(0.4, 0.6), extent=0.3)
    assert np.array_equal(still, model.generate([1, 1, 1], place=(0.4, 0.6), extent=0.3))
    z, _ = walk_inputs(model._card, [1, 2], [], 3, False, False, "linear", 1.0)
    assert np.array_equal(model.walk([1, 2], 3), generate_images(model.network, z))
    with pytest.raises(ConfigError, match="outside the image"):
        model.walk([1, 2], 3, place=[(0.3, 0.4), (3, 4)])


def test_no_seeds_no_images(model: Model) -> None:
    assert model.generate([]).shape == model.generate([], colour="#993311").shape == (0, *model.spec)


def test_numbers_beyond_training_images_are_told(model: Model) -> None:
    notes: list[str] = []
    asked = asked_of(model._card, Wishes(place=(0.95, 0.5), extent=0.4), notes.append)
    assert asked == {"x": 0.95, "y": 0.5, "extent": 0.4}
    assert notes == ["x 0.95 is asked for; training images have 0.30 to 0.70, so expect less"]


def test_a_grey_model_takes_the_brightness_of_a_colour() -> None:
    network = build_generator(CONFIG, SPEC._replace(channels=1), guide=("colour",))
    card = Card(SPEC._replace(channels=1), CONFIG, "hinge", (), 0, guide=guide_of(network))
    assert asked_of(card, Wishes(colour=(255, 0, 0))) == {"grey": pytest.approx(0.299)}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"colour": "blurple"}, "is not a colour"), ({"colour": (1, 2)}, "each from 0 to 255"),
        ({"colour": 5}, "colour: 5 is not a colour"), ({"colour": ("a", 1, 2)}, "is not a colour"), ({"colour": (300, 0, 0, 0)}, "is not a colour"),
        ({"place": 0.5}, "place 0.5: is not a place"), ({"place": ("a", "b")}, "is not a place"),
        ({"place": (3, 4)}, "outside the image"), ({"place": "0.3"}, "is not a place"), ({"place": (-0.1, 0.5)}, "outside the image"),
        ({"extent": 0}, "is not an extent"), ({"extent": 1.5}, "is not an extent"), ({"extent": "nan"}, "is not an extent"),
    ],
)  # fmt: skip
def test_wishes_that_mean_nothing(wish: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        wishes_of(wish.get("colour"), wish.get("place"), wish.get("extent"))


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = build_generator(CONFIG, SPEC, guide=("place",)).eval()
    guide = guide_of(network)
    assert guide is not None
    guide.table.copy_(table()[:, 3:5])
    path, out = tmp_path / "generator.safetensors", tmp_path / "out"
    write_generator(path, network, Card(SPEC, CONFIG, "hinge", (), 0, guide=guide))
    assert exit_of("generate", path, "--count", 2, "--place", "0.9,0.5", "--out", out) == 0
    assert "x 0.90 is asked for; training images have 0.30 to 0.70" in capsys.readouterr().out
    image = kantor.load(path).generate([1], place=(0.9, 0.5))[0]
    from PIL import Image

    assert np.array_equal(np.asarray(Image.open(out / "seed-00000001.png")), image)
    assert (
        exit_of(
            "walk", path, "--seeds", "1,2", "--place", "0.3,0.5:0.6,0.5", "--frames", 2, "--out", tmp_path / "w.gif"
        )
        == 0
    )
    capsys.readouterr()
    assert exit_of("generate", path, "--extent", 0.5) == 4
    said = capsys.readouterr().err
    assert (
        "--extent: this model was not guided by extent; it has place; leave it out, or train with --guide place,extent"
        in said
    )
    assert exit_of("generate", write_model(tmp_path / "plain"), "--colour", "#ff0000") == 4
    assert "was not guided by colour; leave it out, or train with --guide colour" in capsys.readouterr().err


@pytest.mark.parametrize("deaf", [False, True])
def test_the_metric_tells_a_model_that_obeys_from_one_that_does_not(deaf: bool) -> None:
    painter = Painter(deaf).eval().requires_grad_(False)
    found = asked_and_got(GeneratedImages(painter, CONFIG, 64))
    assert found is not None and found.asked.shape == found.got.shape == (64, 6)
    inputs = MetricInputs(None, None, None, None, None, controls=found)  # type: ignore[arg-type]
    scores = control_scores(inputs)
    assert len(scores) == 1 + 2 * 6
    if deaf:
        assert scores["controls@pixels"].value < 0.3 and scores["controls_error_x@pixels"].value > 0.05
    else:
        assert scores["controls@pixels"].value > 0.97 and scores["controls_error_x@pixels"].value < 0.01
    plain = build_generator(CONFIG, SPEC)
    assert asked_and_got(GeneratedImages(plain, CONFIG, 4)) is None


def test_the_interval_of_a_correlation() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=100)
    b = a + random.normal(size=100)
    r, (low, high) = correlation(a, b)
    assert r == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert (low, high) == pytest.approx(
        (np.tanh(np.arctanh(r) - 1.959964 / 97**0.5), np.tanh(np.arctanh(r) + 1.959964 / 97**0.5))
    )
    assert np.isnan(correlation(a, np.ones(100))[0])
    assert CONTROLS == ("colour", "place", "extent")


def test_a_model_without_controls_has_none(tmp_path: Path) -> None:
    model = kantor.load(write_model(tmp_path / "plain"))
    assert model.controls == {}
    with pytest.raises(ModelError, match="was not guided by place"):
        model.generate(0, place=(0.5, 0.5))


def test_a_control_that_all_images_have_alike_is_told() -> None:
    guide = Guide(["place"], 3, False)
    guide.table[:, 0] = torch.linspace(0.3, 0.7, len(guide.table))
    guide.table[:, 1] = 0.5
    line = guided_line(guide)
    assert line == (
        "guided by place; training images have x 0.30 to 0.70, y 0.50 to 0.50; they are alike in y, so nothing can be learned of it"
    )
    guide.table[:, 1] = guide.table[:, 0]
    assert guided_line(guide) == "guided by place; training images have x 0.30 to 0.70, y 0.30 to 0.70"
