"""Images from a registered Python object: anything with len() and [i], such as a PyTorch dataset."""

from __future__ import annotations

import io
import operator
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor.custom_names import require_custom_name
from kantor.data.decoding.array_hints import channels_first
from kantor.data.reasons import Undecodable, clipped
from kantor.data.sources.source import MAX_BYTES, RULES, Item, Rejected, Source, sha256
from kantor.errors import ConfigError, DataError

PREFIX = "python:"
_IMAGE_TYPES = bytes | np.ndarray | Image.Image | Path  # and tensors


class ImageSequence(Protocol):
    """What can be registered: [i] is an image, (image, class), [image, class] or {"image": ..., "label": ...}, and
    the same one every time."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Any: ...


REGISTERED: dict[str, ImageSequence] = {}


def register(name: str, images: ImageSequence) -> None:
    """Makes `images` available as `python:NAME` wherever data are named.

    Args:
        images: has len(), and [i] for 0 <= i < len(): a file, as its bytes or its path, a Pillow image, or an array or
            tensor of numbers [H, W] or [H, W, C]; or a pair or dict of that and its class, a name or a number. Numbers
            are indices into `images.classes`, if that is a list of names.
    Raises:
        ConfigError: it has no len() or no [i].
    """
    require_custom_name(name, "source")
    if isinstance(images, type) or not (hasattr(images, "__len__") and hasattr(images, "__getitem__")):
        do = "give an object of it" if isinstance(images, type) else "give it both, or put the images in a list"
        kind = f"the class {images.__name__}" if isinstance(images, type) else type(images).__name__
        raise ConfigError(name, f"{kind} has no len() or no [i]", do)
    REGISTERED[name] = images


class PythonObject(Source):
    """The images of a registered object, by index.

    It is local: the object may hold what cannot be sent to another process, so only decoding is left to workers. It
    has no times or sizes that show a change, so the first listing reads and hashes every image; later ones repeat it.

    Args:
        path: "python:NAME".
        labels: "auto" or "none".
    """

    local_only = True

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        name = path.removeprefix(PREFIX)
        if name not in REGISTERED:
            do = f"import the Python module that calls kantor.source({name!r}, ...) first, and continue from Python"
            raise DataError(path, "it is not registered", do)
        if labels not in ("auto", "none"):
            raise DataError(labels, "images from Python bring their own classes", "use labels auto or none")
        self.path, self._labels, self.rules, self._images = path, labels, rules, REGISTERED[name]

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the index. An image that raises an exception is rejected with its message."""
        return iter(self._entries)

    def load(self, item: Item) -> bytes | NDArray[np.uint8] | NDArray[np.uint16]:
        """As it was registered; a Pillow image as an array or, in rarer modes, as a file."""
        data = _as_data(self._read(item.position)[0], self.rules)
        if _hash(data) != item.mtime_ns:
            do = "return the same image each time, without random changes"
            raise Undecodable("content", "[i] returned another image the second time", do)
        return data

    @cached_property
    def _entries(self) -> list[Item | Rejected]:
        """Raises DataError if some images have a class, and some have none."""
        entries = [self._entry(i) for i in range(len(self._images))]
        items = [entry for entry in entries if isinstance(entry, Item)]
        without = [item.name for item in items if item.label is None]
        if 0 < len(without) < len(items):
            what = f"{len(without)} of {len(items)} images have no class, the first is [{without[0]}]"
            raise DataError(self.path, what, "give each its class, or leave classes out with --labels none")
        return entries

    def _entry(self, i: int) -> Item | Rejected:
        try:
            image, label = self._read(i)
            data = _as_data(image, self.rules)
            label_name = None if self._labels == "none" else self._class_name(label)
        except Exception as error:  # the user's own code, or the files that it reads
            return Rejected(str(i), clipped(error, f"{type(error).__name__}: {error}"))
        size = data.nbytes if isinstance(data, np.ndarray) else len(data)
        return Item(str(i), i, size, _hash(data), label_name)

    def _read(self, i: int) -> tuple[Any, Any]:
        """The image and its class, None if there is none."""
        value = self._images[i]
        if isinstance(value, Mapping):
            if "image" not in value:
                keys = ", ".join(map(str, value)) or "none"
                raise Undecodable("content", f'a dict without "image" (its keys: {keys})', "give the image this key")
            return value["image"], value.get("label")
        if isinstance(value, list) and len(value) == 2 and (isinstance(value[0], _IMAGE_TYPES) or _is_tensor(value[0])):
            return value[0], value[1]
        if not isinstance(value, tuple):
            return value, None
        if len(value) != 2:
            raise Undecodable("content", f"{len(value)} values instead of an image, or an image and its class")
        return value[0], value[1]

    def _class_name(self, label: Any) -> str | None:
        if label is None or isinstance(label, str):
            return label
        try:
            number = operator.index(label)
        except TypeError:
            detail = f"its class is of type {type(label).__name__}, neither a name nor a number"
            raise Undecodable("content", detail) from None
        features = getattr(self._images, "features", None)  # of Hugging Face's datasets; torchvision's have `classes`
        names = getattr(features.get("label"), "names", None) if isinstance(features, Mapping) else None
        names = getattr(self._images, "classes", None) or names or ()
        return str(names[number]) if 0 <= number < len(names) else str(number)


def _is_tensor(value: Any) -> bool:
    """Whether it is a PyTorch tensor; does not import torch."""
    return hasattr(value, "detach") and hasattr(value, "numpy")


def _as_data(image: Any, rules: int) -> bytes | NDArray[Any]:
    if isinstance(image, bytes | np.ndarray):
        return image
    if isinstance(image, Path):
        if image.stat().st_size > MAX_BYTES:
            raise Undecodable("size", f"{image.name} is larger than {MAX_BYTES >> 20} MB")
        return image.read_bytes()
    if _is_tensor(image):
        return _array_of(image, rules)
    if not isinstance(image, Image.Image):
        do = "give a file as bytes or Path, a Pillow image, or an array or tensor of numbers, [H, W] or [H, W, C]"
        raise Undecodable("content", f"{type(image).__name__} is not an image", do)
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return np.asarray(image)
    file = io.BytesIO()
    image.save(file, "TIFF" if image.mode in ("CMYK", "YCbCr", "LAB", "F", "I") else "PNG")
    return file.getvalue()


def _array_of(tensor: Any, rules: int) -> NDArray[Any]:
    """[H, W] or [H, W, C] of a tensor [H, W], [H, W, C] or [C, H, W]; by rules 1 of uint8 or uint16."""
    tensor = tensor.detach().cpu()
    array: NDArray[Any] = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    if rules < 2 and array.dtype not in (np.uint8, np.uint16):
        low = float(array.min()) if array.size else 0.0
        code = "((x + 1) * 127.5)" if low < 0 else "(x * 255)" if array.size and float(array.max()) <= 1 else "x"
        do = f"convert it: {code}.round().clamp(0, 255).to(torch.uint8)"
        raise Undecodable("content", f"a tensor of {array.dtype} is not an image", do)
    return array.transpose(1, 2, 0) if channels_first(array.shape) else array


def _hash(data: bytes | NDArray[Any]) -> int:
    """63 bits of the SHA-256 of an image's type, shape and data."""
    return int.from_bytes(sha256(data)[:8]) >> 1
