"""The FID Inception network: equal to a public implementation in every layer; opens only the published file."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kantor.errors import ModelError
from kantor.metrics import features, inception
from kantor.metrics.inception import Inception, from_state
from support.paths import ROOT

GOLDEN = json.loads((ROOT / "tests" / "data" / "inception-layers.json").read_text())


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script that wrote the golden file; its formula gives our network's weights too."""
    spec = importlib.util.spec_from_file_location("inception_reference", ROOT / "scripts" / "inception_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shapes() -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: value.shape for name, value in Inception().state_dict().items()}


@pytest.fixture(scope="module")
def flat(shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Weights of one number each, so that a file of them is small."""
    state = {name: torch.full((), 0.5 / max(1, np.prod(shape[1:]))) for name, shape in shapes.items()}
    return {name: state[name].expand(shape) for name, shape in shapes.items()}


def test_every_layer_agrees_with_the_public_implementation(reference: ModuleType) -> None:
    found = reference.ours()
    assert list(found) == list(GOLDEN["layers"])
    assert reference.differs(found, GOLDEN["layers"]) == []


def _only_its_pool(pool: str) -> inception._Block:
    block = inception._Block(1, [], pool, 1).eval()
    torch.nn.init.ones_(block.branch_pool.conv.weight)
    return block


@torch.no_grad()
def test_average_pools_do_not_count_padding() -> None:
    x = torch.rand(1, 1, 4, 5) + 1
    expected = x[0, 0, :2, :2].mean() / (1 + 1e-3) ** 0.5
    assert torch.allclose(_only_its_pool("mean")(x)[0, 0, 0, 0], expected)


@torch.no_grad()
def test_last_block_has_max_pooling() -> None:
    x = torch.zeros(1, 1, 4, 5)
    x[0, 0, 0, 0] = 1
    found = _only_its_pool("max")(x)[0, 0]
    assert torch.equal(found > 0.99, torch.nn.functional.pad(torch.ones(2, 2), (0, 3, 0, 2)) > 0)
    with torch.device("meta"):
        network = Inception()
    pools = {name: one._pool for name, one in network.named_children() if isinstance(one, inception._Block)}
    assert [name for name, pool in pools.items() if pool == "max"] == ["Mixed_7c"]
    assert [name for name, pool in pools.items() if pool == "halve"] == ["Mixed_6a", "Mixed_7a"]


def test_names_and_shapes_agree_with_the_public_weights(reference: ModuleType, shapes: dict[str, torch.Size]) -> None:
    expected = GOLDEN["state"]
    assert len(shapes) == expected["entries"]
    assert reference.listing(shapes) == expected["listing"]
    with torch.device("meta"):
        assert sum(p.numel() for p in Inception().parameters()) == expected["parameters"] == 23_850_960


def test_building_it_uses_no_random_numbers(flat: dict[str, Tensor]) -> None:
    before = torch.get_rng_state()
    network = from_state(flat)
    assert torch.equal(before, torch.get_rng_state())
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_weights_without_counters(flat: dict[str, Tensor]) -> None:
    from_state({name: one for name, one in flat.items() if not name.endswith("num_batches_tracked")})


@pytest.fixture
def never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*given: Any, **named: Any) -> None:
        raise AssertionError("a file was opened that is not the published one")

    monkeypatch.setattr(torch, "load", load)


def _refused(path: object, *words: str) -> str:
    with pytest.raises(ModelError) as caught:
        inception.inception(path)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text and text.startswith(str(path).replace("\0", "\\x00")), text
    for word in words:
        assert word in text
    return text


@pytest.mark.usefixtures("never_opened")
def test_only_the_published_file_is_opened(tmp_path: Path) -> None:
    get = ("pt_inception-2015-12-05-6726825d.pth", "fid_weights", "mseitzer/pytorch-fid", "--features inception:PATH")
    _refused(tmp_path / "none.pth", "there is no such file", *get)
    _refused(tmp_path / "none" / "none.pth", "there is no such file", *get)
    _refused(tmp_path, "is a folder", f"{tmp_path / inception.FILE}")
    _refused(f"{tmp_path}/a\0b", "not a valid path")
    _refused("~nobody-of-this-name/a.pth", "not a valid path")
    if Path("/dev/null").exists():
        _refused("/dev/null", "device or pipe", *get)
    small, large, other = tmp_path / "small.pth", tmp_path / "large.pth", tmp_path / "other.pth"
    small.write_bytes(b"<html>not found</html>")
    _refused(small, "has 22 bytes, the FID Inception's file has 95,628,359", "cut short", *get)
    for path, size in (large, inception.BYTES + 1), (other, inception.BYTES):
        with path.open("wb") as file:
            file.truncate(size)
    assert "cut short" not in _refused(large, "has 95,628,360 bytes", "another network", *get)
    begins = hashlib.sha256(bytes(inception.BYTES)).hexdigest()[:8]
    _refused(other, f"begins with {begins}, not 6726825d", "torchvision", *get)


@pytest.mark.usefixtures("never_opened")
def test_file_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"x")

    def read(self: Path) -> bytes:
        raise PermissionError(13, os.strerror(13), str(self))

    monkeypatch.setattr(inception, "BYTES", 1)
    monkeypatch.setattr(Path, "read_bytes", read)
    _refused(path, "cannot be read (Permission denied); check the path and its permissions")


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Any:
    """publish(path, value): writes a file that counts as the published one."""

    def write(path: Path, value: object) -> None:
        data = value
        if not isinstance(data, bytes):
            buffer = io.BytesIO()
            torch.save(value, buffer)
            data = buffer.getvalue()
        path.write_bytes(data)
        monkeypatch.setattr(inception, "BYTES", len(data))
        monkeypatch.setattr(inception, "SHA256", hashlib.sha256(data).hexdigest())

    return write


def test_published_file_is_used(
    tmp_path: Path, publish: Any, flat: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BATCH", 1)
    publish(tmp_path / "w.pth", {**flat, "fc.bias": torch.full((1008,), 1e6)})
    monkeypatch.setenv("HOME", str(tmp_path))
    extractor = inception.inception("~/w.pth")
    assert (extractor.name, extractor.digest, extractor.size) == ("inception", inception.SHA256, (299, 299))
    assert len(extractor.classes["classes"]) == 1008 and extractor.cacheable
    found = extractor(np.full((1, 20, 30, 1), 200, np.uint8))
    assert found.features.shape == (1, 2048) and found.logits["classes"].shape == (1, 1008)
    weight = flat["fc.weight"]
    assert torch.allclose(found.logits["classes"], found.features @ weight.T)  # the bias is left out


def test_published_file_that_torch_cannot_open(tmp_path: Path, publish: Any) -> None:
    path = tmp_path / "w.pth"
    publish(path, b"no pickle at all")
    _refused(path, "cannot be opened by this version of PyTorch")


@pytest.fixture
def filled(reference: ModuleType, shapes: dict[str, torch.Size], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The extractor with the formula's weights, in batches of two."""
    monkeypatch.setattr(features, "BATCH", 2)
    monkeypatch.setattr(inception, "_state", lambda path: reference.weights(shapes))
    return inception.inception("formula")


def test_features_do_not_depend_on_neighbours_or_parts(
    filled: features.Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = np.random.default_rng(0).integers(0, 256, (3, 24, 17, 3), dtype=np.uint8)
    first, other, last = (filled(np.stack(two)) for two in ((a, b), (a, c), (c, a)))
    assert torch.equal(first.features[0], other.features[0])
    assert torch.equal(first.logits["classes"][0], other.logits["classes"][0])
    scale = first.features.square().mean().sqrt()
    assert (first.features[0] - last.features[1]).abs().max() < 1e-5 * scale
    assert (first.features[0] - first.features[1]).abs().max() > 1e-3 * scale
    monkeypatch.setattr(inception, "_BATCH", 1)
    assert (filled(np.stack((a, b))).features - first.features).abs().max() < 1e-5 * scale
