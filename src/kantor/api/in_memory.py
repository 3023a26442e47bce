"""Images in memory: written to the cache, so that a run can be resumed."""

from __future__ import annotations

import hashlib
import io
import json
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor import atomic
from kantor.app.dataset.cache import ARRAYS, mark_used
from kantor.data.sources.python_object import PREFIX
from kantor.errors import DataError

_CHANNELS = (1, 3, 4)


class DataKeywords(TypedDict, total=False):
    """Keywords that `train` and `evaluate` share, and their types."""

    metrics: Sequence[str] | str | None
    device: str
    runs: str | Path
    cache: str | Path | None
    size: int | str | tuple[int, int] | None
    crop: int | None
    fit: str | None
    channels: str | None
    max_bad: str | float | None


def keep(images: Any, labels: Any, cache: Path) -> tuple[Path, Path | None]:
    """Writes images and classes to files named by their content; returns the paths.

    Args:
        images: uint8 [N, H, W] or [N, H, W, C], an array or a tensor, which may be [N, C, H, W]; or a list of arrays,
            tensors or Pillow images of one size and kind.
        labels: a name or a number for each image, or None.
    Raises:
        DataError: images or labels of another type, shape or number.
    """
    array = _as_array(images)
    names = None if labels is None else _as_names(labels, len(array))
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(array.data)
    stem = cache / ARRAYS / f"array-{digest.hexdigest()[:16]}"
    buffer = io.BytesIO()
    np.save(buffer, array)
    path = _written(stem.with_suffix(".npy"), buffer.getbuffer())
    if names is None:
        return path, None
    text = json.dumps(dict(enumerate(names)), ensure_ascii=False).encode("utf-8", "backslashreplace")
    return path, _written(stem.with_name(f"{stem.name}-{hashlib.sha256(text).hexdigest()[:8]}.json"), text)


def _written(path: Path, data: bytes | memoryview) -> Path:
    if not path.exists():
        atomic.make_folder(path.parent)
        atomic.write_bytes(path, data)
    mark_used(path)
    return path


def _as_array(images: Any) -> NDArray[np.uint8]:
    tensors = hasattr(images, "detach")
    if isinstance(images, list | tuple) and images:
        tensors = all(hasattr(image, "detach") for image in images)
        images = _stacked([image.detach().cpu().numpy() for image in images] if tensors else images)
    elif tensors:
        images = images.detach().cpu().numpy()
    if tensors and images.ndim == 4 and images.shape[3] not in _CHANNELS and images.shape[1] in _CHANNELS:
        images = images.transpose(0, 2, 3, 1)
    if not isinstance(images, np.ndarray):
        do = f'register it with kantor.source("NAME", it), and train on "{PREFIX}NAME"'
        raise DataError(
            "data", f"images of type {type(images).__name__} need a name, by which a run can find them again", do
        )
    has_image_shape = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in _CHANNELS)
    if images.dtype != np.uint8 or not has_image_shape or not images.size:
        what = f"an array of {images.dtype}, shape {list(images.shape)}"
        raise DataError(
            "data", what, "give uint8 images [count, height, width] or [count, height, width, 1, 3 or 4 channels]"
        )
    return np.ascontiguousarray(images)


def _stacked(images: Sequence[Any]) -> NDArray[Any]:
    """Stacks arrays or Pillow images of one size and kind."""
    kinds = {(i.mode, i.size) if isinstance(i, Image.Image) else getattr(i, "shape", type(i)) for i in images}
    arrays = all(isinstance(i, np.ndarray | Image.Image) for i in images)
    if len(kinds) > 1 or not arrays or {i.mode for i in images if isinstance(i, Image.Image)} - {"L", "RGB", "RGBA"}:
        do = f'kantor.source("NAME", the list) accepts images of any size and kind; then train on "{PREFIX}NAME"'
        raise DataError("data", "the images of this list differ in size or kind", do)
    return np.stack([np.asarray(image) for image in images])


def _as_names(labels: Any, count: int) -> list[str]:
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(values) != count:
        raise DataError("labels", f"{len(values)} labels for {count} images", "give one per image")
    return [_name(value) for value in values]


def _name(label: Any) -> str:
    try:
        if isinstance(label, bool):
            raise TypeError
        return label if isinstance(label, str) else str(operator.index(label))
    except TypeError:
        raise DataError("labels", f"{label!r} is not a class", "give names, or whole numbers") from None
