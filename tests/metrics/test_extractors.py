"""Extractors by name: built-in ones, and those that users register."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kantor.errors import ConfigError, ModelError, ResourceError
from kantor.metrics import extractors
from kantor.metrics.extractors import extractor, onnx, register
from kantor.metrics.features import BATCH, Activations, state_digest
from kantor.metrics.random_features import Network, random_features

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "REGISTERED", {})


def means(x: Tensor) -> Tensor:
    return x.mean((2, 3))


class Small(nn.Module):
    """Records the mode that it was called in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        return self.layer(means(x))


# -- random --------------------------------------------------------------------------------------------------------


def test_random_features_have_the_same_bits_everywhere() -> None:
    before = torch.get_rng_state()
    found = random_features()
    assert torch.equal(before, torch.get_rng_state())
    assert found.digest == "f73a038f3731f65d3c1eca76781b472c26b7241932021b7ddbdfd7955ca84ec3"
    assert (found.name, found.size, found.channels, dict(found.classes), found.cacheable) == (
        "random",
        (32, 32),
        3,
        {},
        True,
    )


def test_random_features_of_a_known_image() -> None:
    y, x = np.mgrid[:32, :32]
    image = np.stack([8 * x, 8 * y, 4 * (x + y)], -1).astype(np.uint8)[None]
    features = random_features()(image).features
    assert features.shape == (1, 128)
    expected = torch.tensor([-0.857374, 1.043842, -0.874458, 0.315829, -0.685065])
    assert torch.allclose(features[0, :5], expected, atol=1e-4)


def test_random_features_change_with_damage() -> None:
    y, x = np.mgrid[:32, :32]
    image = np.stack([8 * x, 8 * y, 4 * (x + y)], -1)
    noise = np.random.default_rng(1).normal(size=image.shape)
    damaged = [np.clip(image + strength * noise, 0, 255).astype(np.uint8) for strength in (0, 5, 20, 60)]
    features = random_features()(np.stack(damaged)).features
    distances = (features - features[0]).norm(dim=1)
    assert bool((distances.diff() > 0.1).all())


def test_untrained_weights_have_mean_zero() -> None:
    state = Network().state_dict()
    assert {name: list(one.shape) for name, one in state.items()} == {
        "conv0": [32, 3, 3, 3],
        "conv1": [64, 32, 3, 3],
        "conv2": [128, 64, 3, 3],
        "projection": [128, 2048],
    }
    for name, one in state.items():
        assert float(one.mean().abs()) < 0.05 * float(one.std()), name


# -- names ---------------------------------------------------------------------------------------------------------


def test_built_in_names(monkeypatch: pytest.MonkeyPatch) -> None:
    small = ModuleType("kantor.metrics.small_network")
    monkeypatch.setattr(small, "kantor_small", lambda device: ("small", device), raising=False)
    monkeypatch.setitem(sys.modules, "kantor.metrics.small_network", small)
    assert extractor("kantor-small") == ("small", torch.device("cpu"))
    assert extractor("random", torch.device("cpu")).name == "random"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kantor-smal", 'there are no features of this name; did you mean "kantor-small"?'),
        ("incepton:w.pth", 'did you mean "inception:PATH"?'),
        ("", "choose one of: inception:PATH, kantor-small, lite0@96, lite1@96, mine, random"),
        ("mime", 'did you mean "mine"?'),
        ("kantor-small:w.pth", "kantor-small takes no file; use kantor-small alone; only inception takes a file"),
        ("random:", "random takes no file"),
        ("mine:w.pth", "mine takes no file"),
        ("inception", "its weights are not part of Kantor; get pt_inception-2015-12-05-6726825d.pth from the release"),
        ("inception:", "--features inception:PATH"),
    ],
)
def test_invalid_names_are_rejected(text: str, words: str) -> None:
    register("mine", means)
    with pytest.raises(ConfigError) as caught:
        extractor(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(text or '""')


def test_inception_path_may_contain_colons(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a:b\.pth: there is no such file"):
        extractor(f"inception:{tmp_path}/a:b.pth")


# -- custom --------------------------------------------------------------------------------------------------------


def test_custom_function() -> None:
    seen: list[Tensor] = []
    register("mine", lambda x: (seen.append(x), means(x))[1])
    mine = extractor("mine")
    assert (mine.name, mine.digest, mine.cacheable, mine.size, mine.channels) == ("mine", "", False, None, 3)
    found = mine(IMAGES).features
    assert torch.allclose(found, torch.from_numpy(IMAGES).float().mean((1, 2)))
    assert seen[0].shape == (BATCH, 3, 8, 12) and seen[0].dtype == torch.float32


@pytest.mark.parametrize("ends", [(0, 255), (0, 1), (-1, 1), [0.0, 1.0]])
def test_input_range(ends: Any) -> None:
    register("mine", lambda x: torch.stack([x.amin((1, 2, 3)), x.amax((1, 2, 3))], 1), input_range=ends)
    images = np.stack([np.zeros((4, 4, 1), np.uint8), np.full((4, 4, 1), 255, np.uint8)])
    found = extractor("mine")(images).features
    assert torch.allclose(found, torch.tensor([[ends[0]] * 2, [ends[1]] * 2]).float(), atol=1e-6)


@pytest.mark.parametrize(("size", "expected"), [(6, (6, 6)), ((5, 7), (5, 7)), ([5, 7], (5, 7)), (None, (8, 12))])
@pytest.mark.parametrize("channels", [1, 3])
def test_size_and_channels(size: Any, expected: tuple[int, int], channels: int) -> None:
    shapes: list[list[int]] = []
    register("mine", lambda x: (shapes.append(list(x.shape)), means(x))[1], size, channels)
    assert extractor("mine")(IMAGES).features.shape == (5, channels)
    assert shapes == [[BATCH, channels, *expected]]


def test_network_may_return_arrays() -> None:
    for kind in (np.float64, np.float16, np.int64):
        register("mine", lambda x, kind=kind: x.numpy().mean((2, 3)).astype(kind))
        found = extractor("mine")(IMAGES).features
        assert found.dtype == torch.float32
        assert torch.allclose(found, torch.from_numpy(IMAGES).float().mean((1, 2)), atol=1)


def test_single_positions_are_flattened() -> None:
    register("mine", lambda x: x.mean((2, 3), keepdim=True))
    assert extractor("mine")(IMAGES).features.shape == (5, 3)


def test_custom_module() -> None:
    module = Small().train()
    register("mine", module, input_range=(0, 1))
    first = extractor("mine")
    assert len(first.digest) == 64 and not first.cacheable
    assert first(IMAGES).features.shape == (5, 4) and module.modes == [False]
    with torch.no_grad():
        module.layer.weight += 1
    assert extractor("mine").digest != first.digest
    with torch.no_grad():
        module.layer.weight -= 1
    register("mine", module)
    assert extractor("mine").digest == state_digest(module.state_dict()) != first.digest  # the range counts too


def test_module_with_unreadable_weights() -> None:
    register("mine", nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(ConfigError, match=r"^mine: its weights cannot be read or moved to cpu \("):
        extractor("mine")


def test_custom_classifiers() -> None:
    def both(x: Tensor) -> Activations:
        return Activations(means(x), {"classes": x.mean((2, 3))[:, :2], "colour": means(x)})

    register("mine", both, classes={"classes": ["a", "b"], "colour": ("r", "g", "b")})
    mine = extractor("mine")
    assert mine.classes == {"classes": ("a", "b"), "colour": ("r", "g", "b")}
    assert {name: one.shape for name, one in mine(IMAGES).logits.items()} == {"classes": (5, 2), "colour": (5, 3)}
    register("mine", both, classes=["a", "b"])
    assert extractor("mine").classes == {"classes": ("a", "b")}
    register("mine", both, classes=["a", "b", "c"])
    with pytest.raises(ConfigError, match=r"logits 'classes' have shape \[64, 2\]; it named 3 classes: give \[64, 3\]"):
        extractor("mine")(IMAGES)
    register("mine", means, classes=["a"])
    with pytest.raises(ConfigError, match="gives no logits 'classes'"):
        extractor("mine")(IMAGES)


def test_last_registration_wins() -> None:
    register("mine", means)
    register("mine", lambda x: means(x)[:, :1])
    assert extractor("mine")(IMAGES).features.shape == (5, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "a:b"}, "'a:b' is not a valid name"),
        ({"name": 3}, "the name is missing"),
        ({"name": "random"}, "random: is the name of built-in features; choose another"),
        ({"name": "inception"}, "choose another"),
        ({"network": Small}, "mine: the class Small cannot be called with images; give a torch module or a function"),
        ({"network": 3}, "int cannot be called"),
        ({"channels": 4}, "channels is 4; use 3, or 1 for grey images"),
        ({"size": 0}, "size is 0; use (height, width)"),
        ({"size": (3, 4, 5)}, "size is (3, 4, 5)"),
        ({"size": 3.0}, "size is 3.0"),
        ({"size": True}, "size is True"),
        ({"size": 10_000}, "one number up to 4096"),
        ({"input_range": (1, 0)}, "input_range is (1, 0); use (black, white): (0, 255), (0, 1) or (-1, 1)"),
        ({"input_range": "01"}, "input_range is '01'"),
        ({"input_range": (0, float("nan"))}, "input_range is (0, nan)"),
        ({"classes": "ab"}, "classes are not lists of names"),
        ({"classes": [1, 2]}, "classes are not lists of names"),
        ({"classes": {"a": "bc"}}, "classes are not lists of names"),
    ],
)
def test_invalid_registrations_are_rejected(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        register(**{"name": "mine", "network": means, **changes})
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not extractors.REGISTERED


def broken(x: Tensor) -> Tensor:
    raise KeyError("a\nb")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (broken, "extractor mine: fails with KeyError on images [64, 3, 8, 12] ('a\\nb'); it gets float32"),
        (lambda x: "text", "extractor mine: gives str; "),
        (lambda x: None, "gives NoneType; "),
        (lambda x: np.array(["a"] * 64), "gives ndarray; "),
        (lambda x: x, "gives features of shape [64, 3, 8, 12] for 64 images"),
        (lambda x: means(x)[:5], "gives features of shape [5, 3] for 64 images"),
        (lambda x: means(x) / 0, "gives features that are not finite"),
    ],
)
def test_failing_networks_give_one_line_errors(network: Any, words: str) -> None:
    register("mine", network)
    with pytest.raises(ConfigError) as caught:
        extractor("mine")(IMAGES)
    assert words in str(caught.value).replace("\\\\n", "\\n")
    assert "\n" not in str(caught.value)


def test_out_of_memory_is_passed_on() -> None:
    def hungry(x: Tensor) -> Tensor:
        raise MemoryError

    register("mine", hungry)
    with pytest.raises(MemoryError):
        extractor("mine")(IMAGES)


# -- ONNX ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


@pytest.mark.usefixtures("no_runtime")
def test_onnx_without_onnxruntime(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"onnxruntime\); pip install 'kantor\[export\]'$"):
        onnx(tmp_path / "a.onnx")


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Any]:
    """model(batch): writes a network of two outputs, [N, 3, 1, 1] and [N, 3], over [batch, 3, 8, 12]."""
    pytest.importorskip("onnxruntime")
    made = pytest.importorskip("onnx")
    helper, kind = made.helper, made.TensorProto.FLOAT

    def write(batch: int | str = "N", inputs: int = 1, element: int = kind, rank: int = 4) -> Path:
        given = [
            helper.make_tensor_value_info(f"x{i}", element, [batch, 3, 8, 12][:rank]) for i in range(max(1, inputs))
        ]
        nodes = [
            helper.make_node("ReduceMean", ["x0"], ["features"], axes=list(range(2, rank))),
            helper.make_node("Flatten", ["features"], ["flat"]),
            *(helper.make_node("Identity", [f"x{i}"], [f"y{i}"]) for i in range(1, inputs)),
        ]
        gives = [helper.make_tensor_value_info("features", element, None)]
        gives += [helper.make_tensor_value_info("flat", element, None)]
        graph = helper.make_graph(nodes, "means", given, gives)
        whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / "net.onnx"
        made.save(whole, path)
        return path

    yield write


@pytest.mark.parametrize("batch", ["N", 1, 5, 64, 100])
def test_onnx_network(model: Any, batch: int | str) -> None:
    path = model(batch)
    register("mine", onnx(path), size=(8, 12))
    mine = extractor("mine")
    assert mine.digest == hashlib.sha256(path.read_bytes()).hexdigest() and mine.cacheable
    assert torch.allclose(mine(IMAGES).features, torch.from_numpy(IMAGES).float().mean((1, 2)), atol=1e-3)
    register("mine", onnx(str(path)), input_range=(0, 1))
    assert extractor("mine").digest != mine.digest
    found = extractor("mine")(IMAGES).features
    assert torch.allclose(found, torch.from_numpy(IMAGES).float().mean((1, 2)) / 255, atol=1e-5)


def test_invalid_onnx_files_are_rejected(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none.onnx: cannot be read \(No such file"):
        onnx(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is a folder, not an ONNX file"):
        onnx(tmp_path)
    with pytest.raises(ModelError, match="not a valid path"):
        onnx("a\0b")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"onnxruntime cannot open it \(") as caught:
        onnx(bad)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"its inputs are x0: .*; x1: .*; give a network with one input"):
        onnx(model(inputs=2))
    with pytest.raises(ModelError, match=r"its inputs are x0: tensor\(double\)"):
        onnx(model(element=11))
    with pytest.raises(ModelError, match=r"its inputs are x0: tensor\(float\) \['N', 3, 8\]"):
        onnx(model(rank=3))


def test_external_onnx_weights_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest would not cover them."""
    pytest.importorskip("onnxruntime")
    made = pytest.importorskip("onnx")
    helper = made.helper
    kernel = made.numpy_helper.from_array(np.ones((4, 3, 8, 12), np.float32), "w")
    given = [helper.make_tensor_value_info("x", 1, ["N", 3, 8, 12])]
    gives = [helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "outside", given, gives, [kernel])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made.save(whole, tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0, location="net.data")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"name an .onnx file with its weights inside$"):
        onnx("net.onnx")


def test_onnx_network_with_another_input_size(model: Any) -> None:
    register("mine", onnx(model()), size=16)
    with pytest.raises(ConfigError, match=r"^extractor mine: fails with InvalidArgument on images \[64, 3, 16, 16\]"):
        extractor("mine")(IMAGES)
