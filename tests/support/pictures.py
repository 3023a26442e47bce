"""Small images of known pixels, for tests that write them with another library and read them back."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import Item, Rejected, Source
from kantor.errors import DataError


def pixels(number: int, shape: tuple[int, ...] = (8, 6, 3)) -> NDArray[np.uint8]:
    """Random bytes, always the same for a number."""
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def png(number: int, shape: tuple[int, ...] = (8, 6, 3)) -> bytes:
    """`pixels` as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels(number, shape)).save(file, "PNG")
    return file.getvalue()


def seen(data: object) -> NDArray[np.generic]:
    """What a source has loaded as an array."""
    return np.asarray(Image.open(io.BytesIO(data))) if isinstance(data, bytes) else np.asarray(data)


def listed(source: Source) -> tuple[list[Item], dict[str, str]]:
    """The items, and the reasons of what is rejected."""
    entries = list(source.items())
    rejected = {entry.name: str(entry.reason) for entry in entries if isinstance(entry, Rejected)}
    return [entry for entry in entries if isinstance(entry, Item)], rejected


def opened(source: object, **fields: Any) -> Source:
    """The source of this name, with fields of [data]."""
    return open_source(DataConfig(source=str(source), **fields))


def refusal(source: object, **fields: Any) -> str:
    """The one line with which a source is refused, at the latest when it is listed."""
    with pytest.raises(DataError) as caught:
        list(opened(source, **fields).items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels_of(source: Source) -> list[str | None]:
    return [item.label for item in source.items() if isinstance(item, Item)]


def images_of(source: Source) -> NDArray[Any]:
    """All images, which are arrays of one shape."""
    return np.stack([np.asarray(source.load(item)) for item in source.items() if isinstance(item, Item)])


def require_pixels(source: Source, expected: list[NDArray[np.uint8]]) -> list[str | None]:
    """Asserts that the images are the expected ones, in order; returns their labels."""
    items, rejected = listed(source)
    assert not rejected
    assert len(items) == len(expected)
    assert len({item.name for item in items}) == len(items)
    for item, image in zip(items, expected, strict=True):
        np.testing.assert_array_equal(seen(source.load(item)), image)
    return [item.label for item in items]
