"""Images that the user's own Python gives."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kantor
from kantor.config.data import DataConfig
from kantor.data.loading.store import Store
from kantor.data.packing.pack import pack
from kantor.data.packing.scan import scan
from kantor.data.sources import python_object
from kantor.types import ImageSpec
from support.commands import exit_of

FEW: dict[str, Any] = {"size": 16, "batch": 8, "images": 64, "quiet": True, "device": "cpu"}
TINY = {"generator.width": 4, "critic.width": 4, "train.precision": "float32"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KANTOR_CACHE", str(tmp_path / "cache"))
    yield
    python_object.REGISTERED.clear()


def array(i: int, side: int = 16) -> np.ndarray[Any, Any]:
    return np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)


def file(i: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array(i)).save(out, "PNG")
    return out.getvalue()


class Images:
    """Made on the fly by a function that cannot be pickled, used by the thread that made it only."""

    def __init__(self, count: int, give: Callable[[int], Any], classes: list[str] | None = None) -> None:
        self.count, self.give, self.reads = count, give, 0
        self.thread, self.lock = threading.get_ident(), threading.Lock()
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Any:
        assert threading.get_ident() == self.thread
        self.reads += 1
        return self.give(i)


def packed(give: Callable[[int], Any], count: int = 12, **fields: Any) -> tuple[Store, list[dict[str, str]]]:
    python_object.register("mine", Images(count, give))
    config = DataConfig(**{"source": "python:mine", "max_bad": 1.0, **fields})
    out = Path("packed")
    pack(python_object.PythonObject("python:mine", config.labels, config.rules), config, ImageSpec(16, 16, 3), out)
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    return Store.open(out), rejected


@pytest.mark.parametrize(
    "give",
    [
        array,
        file,
        lambda i: Image.fromarray(array(i)),
        lambda i: (array(i), "some class"),
        lambda i: Image.fromarray(array(i)).convert("RGBA"),
    ],
    ids=["array", "bytes", "pillow", "with a class", "opaque rgba"],
)
def test_images_arrive_unchanged(give: Callable[[int], Any]) -> None:
    store, rejected = packed(give)
    assert rejected == []
    np.testing.assert_array_equal(store.whole(), np.stack([array(i) for i in range(12)]))


@pytest.mark.parametrize("mode", ["P", "CMYK", "1", "I;16", "LA", "F"])
def test_rarer_modes_of_pillow_are_decoded_like_files(mode: str) -> None:
    image = Image.fromarray(array(1))
    image = Image.fromarray(array(1)[:, :, 0].astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    store, rejected = packed(lambda i: image)
    assert (store.count, rejected) == (12, [])


def test_large_images_are_sent_in_small_lots() -> None:
    store, _ = packed(lambda i: np.full((1500, 1500, 3), 100 + i, np.uint8), count=10)
    np.testing.assert_array_equal(store.whole()[:, 0, 0, 0], range(100, 110))


def test_unreadable_images_are_listed_with_their_reason() -> None:
    def give(i: int) -> Any:
        match i:
            case 1:
                raise KeyError("tag")
            case 2:
                return [1, 2]
            case 3:
                return array(i).astype(np.complex64)
            case 4:
                return b"hello"
            case 5:
                return array(i), 1.5
            case 6:
                return array(i), "a", "b"
        return array(i)

    store, rejected = packed(give)
    assert store.count == 6
    reasons = {entry["name"]: entry["reason"] for entry in rejected}
    assert reasons["1"] == "KeyError: 'tag'"
    assert (
        "list is not an image; give a file as bytes or Path, a Pillow image, or an array or tensor of numbers"
        in reasons["2"]
    )
    assert "complex64 is not an image" in reasons["3"]
    assert reasons["4"].startswith("not an image")
    assert reasons["5"] == "its class is of type float, neither a name nor a number"
    assert reasons["6"] == "3 values instead of an image, or an image and its class"


def test_an_image_that_fails_at_the_second_read_is_listed_too() -> None:
    times: dict[int, int] = {}

    def give(i: int) -> Any:
        times[i] = times.get(i, 0) + 1
        if i == 4 and times[i] > 1:
            raise OSError("the disk is gone")
        return array(i)

    python_object.register("mine", Images(12, give))
    source = python_object.PythonObject("python:mine")
    config = DataConfig(source="python:mine", max_bad=1.0)
    listing = scan(source, config)
    report = pack(source, config, ImageSpec(16, 16, 3), Path("packed"), listing=listing)
    assert (report.count, report.bad) == (11, 1)


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        (["fish", "bird"], None, ["bird", "fish"]),
        ([0, np.int64(1)], ["fish", "bird"], ["bird", "fish"]),
        ([10, 9], None, ["9", "10"]),
    ],
)
def test_classes_are_names_or_numbers(labels: list[Any], names: list[str] | None, classes: list[str]) -> None:
    python_object.register("mine", Images(24, lambda i: (array(i), labels[i % 2]), names))
    run = kantor.train("python:mine", conditional=True, overrides=TINY, **FEW)
    assert list(run.model().class_names) == classes


def test_it_trains_reuses_its_packed_dataset_and_resumes() -> None:
    images = Images(40, array)
    kantor.source("mine", images)
    run = kantor.train("python:mine", overrides=TINY, **FEW)
    assert run.path.name == "00000-mine-relativistic"
    assert images.reads <= 40 + 40 + 64  # to list, to pack, and the look at some of them
    assert kantor.train(resume=run.path, images=96, quiet=True, device="cpu").metrics["images_seen"][-1] == 96
    images.reads = 0
    kantor.train("python:mine", overrides=TINY, **FEW)
    assert images.reads <= 40 + 64  # listed only
    images.give = lambda i: array(i + 1)  # others: known by what they are, not by their name
    with pytest.raises(kantor.DataError, match="the images have changed since the run was started"):
        kantor.train(resume=run.path, images=128, quiet=True, device="cpu")


def test_the_packed_dataset_serves_without_the_program() -> None:
    kantor.source("mine", Images(40, array))
    run = kantor.train("python:mine", overrides=TINY, **FEW)
    python_object.REGISTERED.clear()
    assert exit_of("train", "--resume", run.path, "--images", "96", "--device", "cpu") == 0


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("train", "python:mine") == 3
    assert "error: python:mine: it is not registered; import the Python module" in capsys.readouterr().err
    with pytest.raises(kantor.ConfigError, match="int has no len"):
        kantor.source("mine", 3)  # type: ignore[arg-type]
    with pytest.raises(kantor.DataError, match="need a name, by which a run can find them again; register it"):
        kantor.train(Images(3, array))  # type: ignore[arg-type]
    kantor.source("none", [])
    with pytest.raises(kantor.DataError, match="no images here"):
        kantor.train("python:none", **FEW)
    kantor.source("broken", Images(9, lambda i: 1 / 0))
    with pytest.raises(kantor.DataError, match=r"9 unusable images, such as 0: ZeroDivisionError: division by zero"):
        kantor.train("python:broken", **FEW)
    kantor.source("mine", Images(40, array))
    with pytest.raises(kantor.DataError, match="bring their own classes"):
        kantor.train("python:mine", overrides={"data.labels": "labels.csv"}, **FEW)
