"""What may be registered from Python: all kinds of images, and the messages for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.loading.store import Store
from kantor.data.packing.pack import pack
from kantor.data.sources import python_object
from kantor.errors import DataError
from kantor.types import ImageSpec


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    python_object.REGISTERED.clear()


class Images:
    def __init__(self, give: Callable[[int], Any], count: int = 12) -> None:
        self.give, self.count = give, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Any:
        return self.give(i)


def array(i: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(i).integers(0, 256, (16, 12, 3), dtype=np.uint8)


def saved(i: int) -> Path:
    path = Path(f"{i}.png")
    Image.fromarray(array(i)).save(path)
    return path


def packed(images: Any, **fields: Any) -> Store:
    python_object.register("mine", images)
    config = DataConfig(**{"source": "python:mine", **fields})
    source = python_object.PythonObject("python:mine", config.labels, config.rules)
    pack(source, config, ImageSpec(16, 12, 3), Path("packed"))
    return Store.open(Path("packed"))


def classes(store: Store) -> list[str]:
    labels = store.labels(np.arange(store.count))
    assert labels is not None
    return [store.class_names[label] for label in labels]


@pytest.mark.parametrize(
    "give",
    [
        saved,
        lambda i: torch.from_numpy(array(i)),
        lambda i: torch.from_numpy(array(i)).permute(2, 0, 1),
        lambda i: {"image": Image.fromarray(array(i)), "id": i},
    ],
    ids=["path", "tensor", "channels first", "dict"],
)
def test_images_arrive_unchanged(give: Callable[[int], Any]) -> None:
    np.testing.assert_array_equal(packed(Images(give)).whole(), np.stack([array(i) for i in range(12)]))


def test_a_grey_tensor() -> None:
    for give in (lambda i: torch.from_numpy(array(i)[:, :, 0]), lambda i: torch.from_numpy(array(i)[None, :, :, 0])):
        python_object.register("mine", Images(give))
        source = python_object.PythonObject("python:mine")
        image = source.load(list(source.items())[3])  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.squeeze(image), array(3)[:, :, 0])


@pytest.mark.parametrize(
    "give",
    [
        lambda i: [array(i), i % 2],
        lambda i: [torch.from_numpy(array(i)), torch.tensor(i % 2)],
        lambda i: {"image": array(i), "label": i % 2},
    ],
    ids=["list", "list of tensors", "dict"],
)
def test_classes_next_to_images(give: Callable[[int], Any]) -> None:
    assert classes(packed(Images(give))) == ["0", "1"] * 6


def test_class_names_of_hugging_face() -> None:
    images = Images(lambda i: {"image": array(i), "label": i % 2})
    images.features = {"label": SimpleNamespace(names=["cat", "dog"])}  # type: ignore[attr-defined]
    assert classes(packed(images)) == ["cat", "dog"] * 6


def refusal(give: Callable[[int], Any], **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        packed(Images(give), **fields)
    return str(caught.value)


def test_messages_for_values_that_are_not_images() -> None:
    says = refusal(lambda i: array(i) / 255, rules=1)
    assert says.endswith("is not an image; convert it: (x * 255).round().clip(0, 255).astype('uint8'), all of them")
    assert says.count("float64") == 1
    says = refusal(lambda i: (array(i) / 127.5 - 1).transpose(2, 0, 1), rules=1)
    assert "((x.transpose(1, 2, 0) + 1) * 127.5).round()" in says
    assert "convert it: x.transpose(1, 2, 0), all of them" in refusal(lambda i: array(i).transpose(2, 0, 1))
    says = refusal(lambda i: torch.from_numpy(array(i) / 255), rules=1)
    assert "a tensor of float64 is not an image; convert it: (x * 255).round().clamp(0, 255).to(torch.uint8)" in says
    assert 'a dict without "image" (its keys: pixels); give the image this key' in refusal(
        lambda i: {"pixels": array(i)}
    )
    assert "FileNotFoundError" in refusal(lambda i: Path("nowhere.png"))


def test_numbers_of_any_type_in_one_range() -> None:
    """Fractions in -1 to 1, as PyTorch's transforms give them: one image alone does not fill the range."""
    bits = torch.linspace(-1, 1, 12).to(torch.bfloat16)
    store = packed(Images(lambda i: bits[i].expand(3, 16, 12), 12))
    assert store.whole()[:, 0, 0, 0].tolist() == [int((float(v) + 1) * 127.5 + 0.5) for v in bits]
    assert store.manifest["values"] == {"float": [-1.0, 1.0, 12]}


def test_some_images_without_a_class() -> None:
    def give(i: int) -> Any:
        return array(i), None if i == 5 else "fish"

    says = refusal(give)
    assert says.startswith("python:mine: 1 of 12 images have no class, the first is [5]; give each its class, or")
    assert packed(Images(give), labels="none").count == 12


def test_a_different_image_at_each_read() -> None:
    rng = np.random.default_rng(0)
    says = refusal(lambda i: rng.integers(0, 256, (16, 12, 3), dtype=np.uint8))
    assert "none of the first 10 images can be used: [i] returned another image the second time; " in says
    assert "return the same image each time, without random changes, all of them" in says
