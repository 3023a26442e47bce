"""Scores: names, JSON, provenance, comparisons; the resize of extractors; extraction of features."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from kantor.errors import ConfigError, DataError
from kantor.metrics.features import (
    Activations,
    Extractor,
    ImageFeatures,
    extract,
    resized,
    thumbnails,
    to_float,
    with_channels,
)
from kantor.metrics.score import Score, Scores

ALIKE = {"extractor": "small", "drawn": 100, "seed": 1, "model": "a"}


def scores(value: float, half: float = 0.1, **told: object) -> Scores:
    return Scores({"fd@small": Score(value, (value - half, value + half), 0.5)}, {**ALIKE, **told})


def flat(size: tuple[int, int] | None = (8, 8), channels: int = 3) -> Extractor:
    return Extractor("flat", "d", lambda x: Activations(x.flatten(1), {"classes": x.mean((2, 3))}), size, channels)


def images(n: int, h: int = 8, w: int = 8, c: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)


def test_unambiguous_short_names() -> None:
    found = Scores({"fd@a": Score(1.0), "kid@a": Score(2.0), "kid@b": Score(3.0)})
    assert found["fd"].value == found["fd@a"].value == 1
    assert "fd" in found and "kid" not in found and "kid@b" in found
    with pytest.raises(KeyError, match="several"):
        found["kid"]
    with pytest.raises(KeyError):
        found["nothing"]


def judged(own: tuple[float, float], mind: float = 1.0, half: float = 0.1, **more: object) -> Scores:
    """Scores with two networks of features; `more` belongs to the second."""
    values = {"fd@small": own[0], "fd@large@96": own[1], "mind@small": 1.0, "mind@large@96": mind}
    ends = {name: Score(value, (value - half, value + half)) for name, value in values.items()}
    return Scores(ends, {**ALIKE, "more_features": {"large@96": {"drawn": 20, **more}}})


def test_short_names_are_those_of_the_first_network() -> None:
    found = judged((1.0, 2.0))
    assert found["fd"].value == 1 and found["fd@large@96"].value == 2 and "fd" in found
    assert found.compare(judged((3.0, 5.0)))["fd"].difference == -2


def test_each_network_is_compared_for_itself() -> None:
    both, alone = judged((1.0, 2.0)), scores(2.0)
    assert list(both.compare(alone)) == ["fd@small"] and list(alone.compare(both)) == ["fd@small"]
    second = Scores({"fd@large@96": Score(4.0, (3.9, 4.1))}, {**ALIKE, "extractor": "large@96", "drawn": 20})
    assert both.compare(second)["fd"].verdict == second.compare(judged((0.0, 5.0)))["fd"].verdict == "better"
    with pytest.raises(ConfigError, match=r"drawn: 20 and 30"):
        both.compare(judged((1.0, 2.0), drawn=30))


@pytest.mark.parametrize(
    ("own", "mind", "words"),
    [
        ((0.5, 3.0), 1.0, "features disagree: fd@small got better, fd@large@96 got worse; look"),
        ((2.0, 1.0), 1.0, "features disagree: fd@large@96 got better, fd@small got worse; look"),
        ((0.5, 1.0), 3.0, ""),  # both better
        ((0.5, 2.05), 1.0, ""),  # no clear difference in one
    ],
)
def test_features_that_disagree_in_direction(own: tuple[float, float], mind: float, words: str) -> None:
    line = judged(own, mind).compare(judged((1.0, 2.0))).disagreement
    assert line.startswith(words) and bool(line) == bool(words)


def test_mind_can_disagree_too() -> None:
    mine, other = judged((1.0, 2.0), 9.0), judged((1.0, 2.0), 1.0)
    mine = Scores({**mine, "mind@small": Score(0.5, (0.4, 0.6))}, mine.provenance)
    assert mine.compare(other).disagreement.startswith("features disagree: mind@small got better, mind@large@96")


def test_json_round_trip() -> None:
    before = Scores({"fd@a": Score(1.5, (1.0, 2.0), 0.2), "modes@a": Score(3, of=10), "t@c": Score(math.inf)}, ALIKE)
    data = before.as_json()
    assert data["metrics"]["fd@a"] == {"value": 1.5, "interval": [1.0, 2.0], "reals": 0.2}
    assert data["metrics"]["t@c"] == {"value": None}
    after = Scores.from_json(data)
    assert after["fd"] == before["fd"] and after["modes"].of == 10 and after.provenance == ALIKE


@pytest.mark.parametrize(
    ("mine", "other", "verdict"),
    [(1.0, 2.0, "better"), (2.0, 1.0, "worse"), (1.0, 1.05, "no clear difference")],
)
def test_verdict_of_a_comparison(mine: float, other: float, verdict: str) -> None:
    found = scores(mine).compare(scores(other, seed=2, model="b"))["fd@small"]
    assert found.verdict == verdict and found.difference == pytest.approx(mine - other)
    assert found.interval is not None and found.interval[0] < found.difference < found.interval[1]


def test_verdict_of_each_level() -> None:
    mine, other = (Scores({"swd_32@pixels": Score(v, (v - 1, v + 1))}, ALIKE) for v in (10.0, 20.0))
    assert mine.compare(other)["swd_32"].verdict == "better"


def test_intervals_of_a_difference_add_up_in_squares() -> None:
    found = scores(1.0, 0.3).compare(scores(3.0, 0.4))["fd@small"]
    assert found.interval == pytest.approx((-2.5, -1.5))


def test_scores_of_different_provenance_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match=r"measured differently.*drawn: 100 and 200"):
        scores(1.0).compare(scores(1.0, drawn=200))
    with pytest.raises(ConfigError, match="extra"):
        scores(1.0).compare(scores(1.0, extra=1))


def test_resize_agrees_with_pillow() -> None:
    """On floats, which is what clean-fid does; both ways, any shape."""
    x = images(2, 70, 50)
    for height, width in ((32, 32), (7, 99)):
        ours = resized(to_float(torch.from_numpy(x)), height, width).numpy()
        for i, j in np.ndindex(2, 3):
            channel = Image.fromarray(x[i, :, :, j].astype(np.float32), mode="F")
            theirs = np.asarray(channel.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 255)
            np.testing.assert_allclose(ours[i, j], theirs, atol=1e-3)


def test_resize_does_not_alias() -> None:
    """Stripes of one pixel become grey; without antialiasing they become coarse stripes."""
    stripes = np.zeros((1, 64, 64, 1), np.uint8)
    stripes[:, :, ::2] = 255
    x = to_float(torch.from_numpy(stripes))
    assert float(resized(x, 24, 24)[..., 3:-3].std()) < 3
    aliased = torch.nn.functional.interpolate(x, (24, 24), mode="bicubic", align_corners=False)
    assert float(aliased.std()) > 50


def test_channels() -> None:
    grey = torch.rand(2, 1, 4, 4) * 255
    assert torch.equal(with_channels(grey, 3), grey.expand(-1, 3, -1, -1))
    colour = torch.rand(2, 3, 4, 4) * 255
    assert with_channels(colour, 1).shape == (2, 1, 4, 4)
    pixels = colour.to(torch.uint8).permute(0, 2, 3, 1)
    clear = to_float(torch.cat([pixels, torch.zeros_like(pixels[..., :1])], 3))
    assert torch.allclose(with_channels(clear, 3), torch.full((2, 3, 4, 4), 127.5))
    opaque = to_float(torch.cat([pixels, torch.full_like(pixels[..., :1], 255)], 3))
    torch.testing.assert_close(with_channels(opaque, 3), to_float(pixels))


def test_features_do_not_depend_on_batches_or_order() -> None:
    x = images(150, 20, 12)
    once = extract([x], flat())
    parts = extract(np.array_split(x, 7), flat())
    mixed = extract([x[::-1]], flat())
    for other in (parts, mixed):
        assert torch.equal(once.features, other.features) and torch.equal(
            once.logits["classes"], other.logits["classes"]
        )
        np.testing.assert_array_equal(once.thumbs, other.thumbs)
    np.testing.assert_array_equal(once.order, parts.order)
    np.testing.assert_array_equal(149 - mixed.order, once.order)
    np.testing.assert_array_equal(x[once.order], once.thumbs)


def test_features_round_trip_as_tensors() -> None:
    before = extract([images(30)], flat())
    after = ImageFeatures.from_tensors(before.tensors())
    assert torch.equal(before.features, after.features) and after.logits.keys() == before.logits.keys()
    np.testing.assert_array_equal(before.order, after.order)
    assert len(before.first(5)) == 5 and torch.equal(before.first(5).features, before.features[:5])


def test_large_images_become_thumbnails() -> None:
    assert thumbnails(images(2, 100, 50)).shape == (2, 32, 16, 3)
    same = images(2, 32, 20)
    assert thumbnails(same) is same


def test_no_images_raise_an_error() -> None:
    with pytest.raises(DataError, match="none to score"):
        extract([], flat())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda x: Activations(x), "shape"),
        (lambda x: Activations(x.flatten(1) * math.nan), "not finite"),
        (lambda x: Activations(x.flatten(1)[:5]), "shape"),
    ],
)
def test_invalid_features_are_rejected(network: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        extract([images(3)], Extractor("own", "", network, (8, 8)))  # type: ignore[arg-type]
