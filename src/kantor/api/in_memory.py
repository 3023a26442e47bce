"""Pictures that are in memory: kept in the cache, so that a run can be resumed."""

from __future__ import annotations

import hashlib
import io
import json
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor import atomic
from kantor.app.dataset.cache import ARRAYS, mark_used
from kantor.data.sources.python_object import PREFIX
from kantor.errors import DataError

_CHANNELS = (1, 3, 4)


def keep(pictures: Any, labels: Any, cache: Path) -> tuple[Path, Path | None]:
    """Files of the pictures and of their classes, named by what is in them.

    Args:
        pictures: uint8 [N, H, W] or [N, H, W, C], an array or a tensor, which may be [N, C, H, W]; or a list of arrays,
            tensors or Pillow pictures of one size and kind.
        labels: a name or a number for each picture, or None.
    Raises:
        DataError: they are something else.
    """
    array = _as_array(pictures)
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


def _as_array(pictures: Any) -> NDArray[np.uint8]:
    tensors = hasattr(pictures, "detach")
    if isinstance(pictures, list | tuple) and pictures:
        tensors = all(hasattr(picture, "detach") for picture in pictures)
        pictures = _stacked([picture.detach().cpu().numpy() for picture in pictures] if tensors else pictures)
    elif tensors:
        pictures = pictures.detach().cpu().numpy()
    if tensors and pictures.ndim == 4 and pictures.shape[3] not in _CHANNELS and pictures.shape[1] in _CHANNELS:
        pictures = pictures.transpose(0, 2, 3, 1)
    if not isinstance(pictures, np.ndarray):
        do = f'register it with kantor.source("NAME", it), and train on "{PREFIX}NAME"'
        raise DataError(
            "data", f"pictures of type {type(pictures).__name__} have no name that a run could remember", do
        )
    right = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[3] in _CHANNELS)
    if pictures.dtype != np.uint8 or not right or not pictures.size:
        what = f"an array of {pictures.dtype}, shape {list(pictures.shape)}"
        raise DataError(
            "data", what, "give uint8 pictures [count, height, width] or [count, height, width, 1, 3 or 4 channels]"
        )
    return np.ascontiguousarray(pictures)


def _stacked(pictures: Sequence[Any]) -> NDArray[Any]:
    """Arrays or Pillow pictures of one size and kind, as one array."""
    kinds = {(p.mode, p.size) if isinstance(p, Image.Image) else getattr(p, "shape", type(p)) for p in pictures}
    arrays = all(isinstance(p, np.ndarray | Image.Image) for p in pictures)
    if len(kinds) > 1 or not arrays or {p.mode for p in pictures if isinstance(p, Image.Image)} - {"L", "RGB", "RGBA"}:
        do = f'kantor.source("NAME", the list) takes pictures of all sizes and kinds; then train on "{PREFIX}NAME"'
        raise DataError("data", "the pictures of this list are not of one size and kind", do)
    return np.stack([np.asarray(p) for p in pictures])


def _as_names(labels: Any, count: int) -> list[str]:
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(values) != count:
        raise DataError("labels", f"{len(values)} labels for {count} pictures", "give one a picture")
    return [_name(value) for value in values]


def _name(label: Any) -> str:
    if isinstance(label, str):
        return label
    try:
        if isinstance(label, bool):
            raise TypeError
        return str(operator.index(label))
    except TypeError:
        raise DataError("labels", f"{label!r} is no class", "give names, or whole numbers") from None
