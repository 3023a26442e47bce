"""Extractors by name: built-in ones, and networks that the user registers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kantor.custom_names import require_custom_name
from kantor.errors import ConfigError, ModelError, ResourceError, UserError, nearest, out_of_memory
from kantor.metrics.efficientnet_lite import VARIANTS, efficientnet_lite
from kantor.metrics.features import Activations, Extractor, state_digest
from kantor.metrics.inception import GET, inception
from kantor.metrics.random_features import random_features

BUILT_IN = ("inception:PATH", "kantor-small", "lite0@96", "lite1@96", "random")
_MAX_SIDE = 4096
_SIGNATURE = "it gets float32 [N, C, H, W], and returns a tensor or array [N, D], or kantor's Activations"
Network = Callable[[Tensor], Any]
Classes = Mapping[str, tuple[str, ...]]
REGISTERED: dict[str, Callable[[torch.device], Extractor]] = {}
"""Registered networks: each entry gives the extractor on a device."""


def extractor(text: str, device: torch.device | str = "cpu") -> Extractor:
    """The extractor that `text` names: "kantor-small", "random", "inception:PATH", "lite0@SIDE", or a registered one.

    Raises:
        ConfigError: unknown name, or a path where none is possible.
        ModelError: its weights cannot be used. ResourceError: they are not installed.
    """
    device = torch.device(device)
    name, colon, path = text.partition(":")
    if name == "inception":
        if not path.strip():
            raise ConfigError(text, "its weights are not part of Kantor", GET)
        return inception(path, device)
    if text.partition("@")[0] in VARIANTS and text not in REGISTERED:
        return efficientnet_lite(text, device)
    if name not in (*BUILT_IN, *REGISTERED):
        raise ConfigError(text, "there are no features of this name", nearest(name, [*BUILT_IN, *REGISTERED]))
    if colon:
        raise ConfigError(text, f"{name} takes no file", f"use {name} alone; only inception takes a file")
    if name == "kantor-small":
        from kantor.metrics.small_network import kantor_small

        return kantor_small(device)
    return random_features(device) if name == "random" else REGISTERED[name](device)


def register(
    name: str,
    network: Network,
    size: tuple[int, int] | int | None = None,
    channels: int = 3,
    input_range: tuple[float, float] = (0, 255),
    classes: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
) -> None:
    """Registers a custom network for `--features NAME`.

    Args:
        network: float32 [N, channels, height, width] -> [N, D], a tensor or NumPy array; or `Activations`, if it
            classifies too. A torch module is put into eval mode and moved to the device. Also takes what `onnx` returns.
        size: (height, width), or one number for both, that images are resized to, antialiased; None leaves them.
        channels: 3, or 1 for a network of grey images.
        input_range: values of black and white: (0, 255), (0, 1), (-1, 1).
        classes: class names of each classifier, or of the one called "classes".
    Raises:
        ConfigError: an argument is not valid.
    """
    require_custom_name(name, "extractor")
    if name in ("inception", "kantor-small", "random"):
        raise ConfigError(name, "is the name of built-in features", "choose another")
    if isinstance(network, type) or not callable(network):
        kind = f"the class {network.__name__}" if isinstance(network, type) else type(network).__name__
        raise ConfigError(name, f"{kind} cannot be called with images", "give a torch module or a function")
    if channels not in (1, 3):
        raise ConfigError(name, f"channels is {channels!r}", "use 3, or 1 for grey images")
    checked = _size(name, size), channels, _range(name, input_range), _classes(name, classes)
    REGISTERED[name] = partial(_custom_extractor, name, network, *checked)


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
        is_list = isinstance(names, Sequence) and not isinstance(names, str)
        if not is_list or not all(isinstance(text, str) for text in names):
            do = 'use a list of names, or one for each classifier: {"colour": ["red", "blue"]}'
            raise ConfigError(name, "classes are not lists of names", do)
    return {str(head): tuple(names) for head, names in heads.items()}


def _custom_extractor(
    name: str,
    network: Network,
    size: tuple[int, int] | None,
    channels: int,
    ends: tuple[float, float],
    classes: Classes,
    device: torch.device,
) -> Extractor:
    """Features of Python code are never cached on disk: changed code has no digest."""
    digest, (low, high) = "", ends
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
    if digest and ends != (0, 255):  # another range gives other features
        digest = hashlib.sha256(f"{digest} {low} {high}".encode()).hexdigest()

    def activations(x: Tensor) -> Activations:
        return _call(name, network, classes, x * ((high - low) / 255) + low)

    return Extractor(name, digest, activations, size, channels, classes, device, isinstance(network, OnnxNetwork))


def _call(name: str, network: Network, classes: Classes, x: Tensor) -> Activations:
    where = f"extractor {name}"
    try:
        outputs = network(x)
    except UserError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        what = f"fails with {type(error).__name__} on images {list(x.shape)} ({_first_line(error)})"
        raise ConfigError(where, what, _SIGNATURE) from error
    if not isinstance(outputs, Activations):
        outputs = Activations(_tensor(where, outputs))
    heads = {head: _tensor(where, logits) for head, logits in outputs.logits.items()}
    for head, names in classes.items():
        if head not in heads:
            do = f'give Activations(features, {{"{head}": logits}}), or register it without classes'
            raise ConfigError(where, f"gives no logits {head!r}, whose classes were named", do)
        if heads[head].shape != (len(x), len(names)):
            what = f"its logits {head!r} have shape {list(heads[head].shape)}"
            raise ConfigError(where, what, f"it named {len(names)} classes: give {[len(x), len(names)]}")
    return Activations(_tensor(where, outputs.features), heads)


def _tensor(where: str, output: object) -> Tensor:
    """The output of a network as a tensor; [N, D, 1, 1] becomes [N, D]."""
    if isinstance(output, np.ndarray) and output.dtype.kind in "fiu":
        output = torch.from_numpy(output.astype(np.float32))
    if not isinstance(output, Tensor) or output.is_complex():
        raise ConfigError(where, f"gives {type(output).__name__}", _SIGNATURE)
    return output.flatten(1) if output.ndim > 2 and output.shape[2:].numel() == 1 else output


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


class OnnxNetwork:
    """A network in an ONNX file, run by onnxruntime on the CPU; see `onnx`.

    Attributes:
        digest: SHA-256 of the file.
    """

    def __init__(self, where: object, data: bytes, runtime: Any) -> None:
        self.digest = hashlib.sha256(data).hexdigest()
        options = runtime.SessionOptions()  # weights in other files would not be in the digest: hide them
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/no folder")
        try:
            self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen types without a common base
            what = f"onnxruntime cannot open it ({_first_line(error)})"
            raise ModelError(where, what, "name an .onnx file with its weights inside") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            signature = "; ".join(f"{tensor.name}: {tensor.type} {tensor.shape}" for tensor in inputs)
            what = f"its inputs are {signature or 'none'}"
            raise ModelError(where, what, "give a network with one input: tensor(float) [N, C, H, W]")
        self._input, self._output = inputs[0].name, self._session.get_outputs()[0].name
        self._batch = inputs[0].shape[0] if isinstance(inputs[0].shape[0], int) else None

    def __call__(self, x: Tensor) -> Tensor:
        """Its first output; in padded batches if the file fixes the batch size."""
        images = x.detach().cpu().numpy()
        batch = self._batch or len(images)
        missing = -len(images) % batch
        padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
        parts = [
            self._session.run([self._output], {self._input: padded[start : start + batch]})[0]
            for start in range(0, len(padded), batch)
        ]
        return torch.from_numpy(np.concatenate(parts)[: len(images)])


def onnx(path: str | Path) -> OnnxNetwork:
    """Loads a network from an ONNX file: `register("mine", onnx("mine.onnx"), size=224, input_range=(0, 1))`.

    Its first output is the features, [N, D]. It runs on the CPU, whatever the device.

    Raises:
        ModelError: the file cannot be read, or is not such a network.
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
    except (ValueError, RuntimeError) as error:  # a NUL, or ~ of an unknown user
        raise ModelError(path, "cannot be read (not a valid path)", "check the path") from error
    return OnnxNetwork(path, data, onnxruntime)
