"""Extractors by name: Kantor's own, and networks that the user registers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kantor.errors import ConfigError, ModelError, ResourceError, UserError, nearest, out_of_memory
from kantor.metrics.features import Activations, Extractor, state_digest
from kantor.metrics.inception import GET, inception
from kantor.metrics.random_features import random_features
from kantor.registry import own_name

BUILT_IN = ("inception:PATH", "kantor-small", "random")
_MAX_SIDE = 4096
_GIVES = "it is called with float32 [N, C, H, W] and gives a tensor or array [N, D], or kantor's Activations"


@dataclass(frozen=True)
class _Own:
    """What `register` was given."""

    network: Callable[[Tensor], Any]
    size: tuple[int, int] | None
    channels: int
    low: float
    high: float
    classes: Mapping[str, tuple[str, ...]]


OWN: dict[str, _Own] = {}


def extractor(text: str, device: torch.device | str = "cpu") -> Extractor:
    """The extractor that `text` names: "kantor-small", "random", "inception:PATH", or a registered one.

    Raises:
        ConfigError: there is none of this name, or it does not go with a path.
        ModelError: its weights cannot be used.
    """
    device = torch.device(device)
    name, colon, path = text.partition(":")
    if name == "inception":
        if not path.strip():
            raise ConfigError(text, "its weights are not part of Kantor", GET)
        return inception(path, device)
    if name not in (*BUILT_IN, *OWN):
        raise ConfigError(text, "there are no features of this name", nearest(name, [*BUILT_IN, *OWN]))
    if colon:
        raise ConfigError(text, f"{name} takes no file", f"give {name} alone; only inception takes one")
    if name == "kantor-small":
        from kantor.metrics.small_network import kantor_small

        return kantor_small(device)
    return random_features(device) if name == "random" else _own(name, OWN[name], device)


def register(
    name: str,
    network: Callable[[Tensor], Any],
    size: tuple[int, int] | int | None = None,
    channels: int = 3,
    input_range: tuple[float, float] = (0, 255),
    classes: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
) -> None:
    """Features of a network of your own, for `--features NAME`.

    Args:
        network: float32 [N, channels, height, width] -> [N, D], a tensor or a NumPy array; or `Activations`, where it
            classifies too. A torch module is put into eval mode and moved to the device; or what `onnx` gives.
        size: (height, width), or one number for both, that images are brought to, antialiased; None leaves them.
        channels: 3, or 1 for a network of grey images.
        input_range: what black and white are to be: (0, 255), (0, 1), (-1, 1).
        classes: names of the classes of each of its classifiers, or of the one that it calls "classes".
    Raises:
        ConfigError: one of these cannot be.
    """
    own_name(name, "features")
    if name in ("inception", "kantor-small", "random"):
        raise ConfigError(name, "is the name of Kantor's own features", "choose another")
    if isinstance(network, type) or not callable(network):
        found = f"the class {network.__name__}" if isinstance(network, type) else type(network).__name__
        raise ConfigError(name, f"{found} cannot be called with images", "give a torch module or a function")
    if channels not in (1, 3):
        raise ConfigError(name, f"channels is {channels!r}", "use 3, or 1 for grey images")
    low, high = _range(name, input_range)
    OWN[name] = _Own(network, _size(name, size), channels, low, high, _classes(name, classes))


def _size(name: str, size: object) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = size if isinstance(size, tuple | list) else (size, size)
    if len(sides) == 2 and all(type(side) is int and 1 <= side <= _MAX_SIDE for side in sides):
        return sides[0], sides[1]
    raise ConfigError(name, f"size is {size!r}", f"use (height, width), one number up to {_MAX_SIDE}, or None")


def _range(name: str, ends: object) -> tuple[float, float]:
    if isinstance(ends, tuple | list) and len(ends) == 2:
        low, high = ends
        numbers = all(isinstance(end, int | float) and math.isfinite(end) for end in ends)
        if numbers and low < high:
            return float(low), float(high)
    raise ConfigError(name, f"input_range is {ends!r}", "use (black, white): (0, 255), (0, 1) or (-1, 1)")


def _classes(name: str, classes: object) -> dict[str, tuple[str, ...]]:
    if classes is None:
        return {}
    heads: Mapping[Any, Any] = classes if isinstance(classes, Mapping) else {"classes": classes}
    for names in heads.values():
        if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(one, str) for one in names):
            do = 'use a list of names, or one for each classifier: {"colour": ["red", "blue"]}'
            raise ConfigError(name, "classes are no lists of names", do)
    return {str(head): tuple(names) for head, names in heads.items()}


def _own(name: str, own: _Own, device: torch.device) -> Extractor:
    """Features of Python code are never kept on the disk: code that has changed has no digest of its own."""
    network, digest = own.network, ""
    if isinstance(network, nn.Module):
        try:
            network.eval().to(device)
            digest = state_digest({key: v for key, v in network.state_dict().items() if isinstance(v, Tensor)})
        except (RuntimeError, ValueError, TypeError) as error:
            if out_of_memory(error):
                raise
            what = f"its weights cannot be read or moved to {device} ({_first_line(error)})"
            raise ConfigError(name, what, "check the module") from error
    elif isinstance(network, OnnxNetwork):
        digest = network.digest
    if digest and (own.low, own.high) != (0, 255):  # the same weights make other features of another range
        digest = hashlib.sha256(f"{digest} {own.low} {own.high}".encode()).hexdigest()

    def activations(x: Tensor) -> Activations:
        return _called(name, own, x * ((own.high - own.low) / 255) + own.low)

    kept = isinstance(network, OnnxNetwork)
    return Extractor(name, digest, activations, own.size, own.channels, own.classes, device, kept)


def _called(name: str, own: _Own, x: Tensor) -> Activations:
    where = f"extractor {name}"
    try:
        found = own.network(x)
    except UserError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        what = f"fails with {type(error).__name__} on images {list(x.shape)} ({_first_line(error)})"
        raise ConfigError(where, what, _GIVES) from error
    if not isinstance(found, Activations):
        found = Activations(_tensor(where, found))
    heads = {head: _tensor(where, one) for head, one in found.logits.items()}
    for head, names in own.classes.items():
        if head not in heads:
            do = f'give Activations(features, {{"{head}": logits}}), or register it without classes'
            raise ConfigError(where, f"gives no logits {head!r}, whose classes were named", do)
        if heads[head].shape != (len(x), len(names)):
            what = f"its logits {head!r} have shape {list(heads[head].shape)}"
            raise ConfigError(where, what, f"it named {len(names)} classes: give {[len(x), len(names)]}")
    return Activations(_tensor(where, found.features), heads)


def _tensor(where: str, found: object) -> Tensor:
    """What a network gave, as a tensor; positions of one pixel are left out: [N, D, 1, 1] is [N, D]."""
    if isinstance(found, np.ndarray) and found.dtype.kind in "fiu":
        found = torch.from_numpy(found.astype(np.float32))
    if not isinstance(found, Tensor) or found.is_complex():
        raise ConfigError(where, f"gives {type(found).__name__}", _GIVES)
    return found.flatten(1) if found.ndim > 2 and found.shape[2:].numel() == 1 else found


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["without a word"])[0][:200]


class OnnxNetwork:
    """A network in an ONNX file, run by onnxruntime on the processor; see `onnx`.

    Attributes:
        digest: SHA-256 of the file.
    """

    def __init__(self, where: object, data: bytes, runtime: Any) -> None:
        self.digest = hashlib.sha256(data).hexdigest()
        options = runtime.SessionOptions()  # weights beside the file would not be in the digest: they are not found
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/no folder")
        try:
            self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen kinds, with no common one
            what = f"onnxruntime cannot open it ({_first_line(error)})"
            raise ModelError(where, what, "name an .onnx file with its weights inside") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            found = "; ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
            what = f"its inputs are {found or 'none'}"
            raise ModelError(where, what, "give a network with one input: tensor(float) [N, C, H, W]")
        self._input, self._output = inputs[0].name, self._session.get_outputs()[0].name
        self._batch = inputs[0].shape[0] if isinstance(inputs[0].shape[0], int) else None

    def __call__(self, x: Tensor) -> Tensor:
        """Its first output; where the file fixes how many images it takes at once, in portions of so many."""
        images = x.detach().cpu().numpy()
        portion = self._batch or len(images)
        missing = -len(images) % portion
        padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
        parts = [
            self._session.run([self._output], {self._input: padded[start : start + portion]})[0]
            for start in range(0, len(padded), portion)
        ]
        return torch.from_numpy(np.concatenate(parts)[: len(images)])


def onnx(path: str | Path) -> OnnxNetwork:
    """A network in an ONNX file, to be registered: `register("mine", onnx("mine.onnx"), size=224, input_range=(0, 1))`.

    Its first output is the features, [N, D]. It runs on the processor, whatever the device.

    Raises:
        ModelError: the file cannot be read or is no such network.
        ResourceError: onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        what = "ONNX files need one more package (onnxruntime)"
        raise ResourceError(path, what, "pip install 'kantor[export]'") from error
    try:
        data = Path(path).expanduser().read_bytes()
    except IsADirectoryError as error:
        raise ModelError(path, "is a folder, not an ONNX file", "name the .onnx file") from error
    except OSError as error:
        raise ModelError(path, f"cannot be read ({error.strerror})", "check the path") from error
    except (ValueError, RuntimeError) as error:  # a NUL, or the ~ of nobody
        raise ModelError(path, "cannot be read (this is no path)", "check the path") from error
    return OnnxNetwork(path, data, onnxruntime)
