"""A model is one file: generator.safetensors, whose metadata describes how to build the generator.

The metadata is one JSON value without times, paths or user names: equal runs give equal bytes. It cannot choose code:
it is validated against the schema, whose numbers are bounded.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from kantor import atomic
from kantor.config.guide import Control
from kantor.config.migrate import migrated_generator
from kantor.config.networks import GeneratorConfig
from kantor.controls import Guide, guide_of
from kantor.errors import ConfigError, ModelError
from kantor.nets import build_generator
from kantor.runs.checkpoint import from_bytes, tensor_digest, to_bytes
from kantor.sample.guided import Asked, guided_latents
from kantor.types import ImageSpec

FORMAT = 1
MAX_HEADER_BYTES = 10_000_000
_ONLY_WHERE_SET = ("condition", "condition_settings", "guide")  # else a model is as it was before conditions existed


@dataclass(frozen=True)
class Card:
    """What a model file says about itself.

    Attributes:
        spec: of its images.
        class_names: of a conditional model, in the order of its labels; else empty.
        images_seen: real images shown to the critic.
        condition: channels of the image that it starts from; 0 if it starts from a latent alone.
        guide: controls that it can be asked for, with those of training images; None without.
        condition_settings: by which such an image was brought to size and values: fields of [data], and "ranges". Empty: outlines.
    """

    spec: ImageSpec
    generator: Any
    objective: str
    class_names: tuple[str, ...]
    images_seen: int
    condition: int = 0
    condition_settings: Mapping[str, Any] = field(default_factory=dict)
    guide: Guide | None = None

    def latents(
        self, seeds: Sequence[int] | int, truncation: float = 1.0, asked: Asked | None = None
    ) -> NDArray[np.float32]:
        """The latents of `seeds`, float32 [N, D], of a guided model with controls behind: of the seed, or as `asked` for."""
        return guided_latents(seeds, self.generator, self.guide, truncation, asked)


class _CardJson(BaseModel):
    model_config = ConfigDict(extra="ignore")
    format: int
    spec: tuple[int, int, int]
    generator: dict[str, Any]
    objective: str
    class_names: tuple[str, ...]
    images_seen: int
    condition: int = 0
    condition_settings: dict[str, Any] = {}
    guide: tuple[Control, ...] = ()
    digest: str


def write_generator(path: Path, network: nn.Module, card: Card) -> None:
    """Writes the model file, whole or not at all."""
    tensors = network.state_dict()
    text = {name: getattr(card, name) for name in card.__dataclass_fields__} | {"format": FORMAT}
    text |= {"generator": card.generator.model_dump(mode="json"), "guide": card.guide and card.guide.controls}
    for name in _ONLY_WHERE_SET:
        if not text[name]:
            del text[name]
    text["digest"] = _digest(tensors, text)
    atomic.write_bytes(path, to_bytes(tensors, {"kantor": json.dumps(text, sort_keys=True)}))


def read_generator(path: Path) -> tuple[nn.Module, Card]:
    """The generator, in evaluation mode on the CPU, and its card.

    Raises:
        ModelError: missing, not a Kantor model, damaged, or of a newer version.
    """
    data = _read(path)
    text = _card(path, data)
    tensors = from_bytes(path, data)
    try:
        if text.format > FORMAT:
            raise ModelError(path, "was written by a newer Kantor", "install the newest version")
        config = TypeAdapter(GeneratorConfig).validate_python(migrated_generator(text.generator))
    except ValidationError as error:
        raise ModelError(path, "describes a generator that this version does not know", "check the file") from error
    card = Card(
        ImageSpec(*text.spec),
        config,
        text.objective,
        text.class_names,
        text.images_seen,
        text.condition,
        text.condition_settings,
    )
    if not (all(8 <= side <= 1024 for side in card.spec[:2]) and card.spec.channels in (1, 3, 4)):
        raise ModelError(path, f"describes images of {card.spec}", "check the file")
    if card.condition not in (0, 1, 3, 4):
        raise ModelError(path, f"describes a condition of {card.condition} channels", "check the file")
    try:
        with torch.device("meta"):  # allocates nothing before the file is known to hold what it describes
            expected = _network(card, text.guide).state_dict()
        _compare(path, expected, tensors)
        if _digest(tensors, text.model_dump(mode="json")) != text.digest:
            raise ModelError(path, "is damaged: its contents do not match its digest", "take another copy")
        network = _network(card, text.guide)
    except ConfigError as error:  # a user-registered network
        raise ModelError(path, error.what, error.do) from error
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), replace(card, guide=guide_of(network))


def images_in(path: Path) -> int:
    """Images seen by the generator in a model file, read from its header alone. Raises ModelError as `read_generator`."""
    return _card(path, _read(path, header_only=True)).images_seen


def _network(card: Card, guide: Sequence[str]) -> nn.Module:
    return build_generator(card.generator, card.spec, len(card.class_names), condition=card.condition, guide=guide)


def _digest(tensors: dict[str, Tensor], text: dict[str, Any]) -> str:
    """SHA-256 over the card, without its digest, and all tensors."""
    card = {key: value for key, value in text.items() if key != "digest" and (value or key not in _ONLY_WHERE_SET)}
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name}:{tensor_digest(tensors[name])}".encode())
    return digest.hexdigest()


def _read(path: Path, header_only: bool = False) -> bytes:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ModelError(path, "is a device or pipe, not a file", "name a generator.safetensors")
        with path.open("rb") as file:
            if not header_only:
                return file.read()
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            return start + file.read(min(length, MAX_HEADER_BYTES))
    except IsADirectoryError as error:
        do = "name a run directory or its generator.safetensors"
        raise ModelError(path, "is a folder, not a model file", do) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ModelError(path, f"cannot be read ({reason})", "check the path") from error


def _card(path: Path, data: bytes) -> _CardJson:
    """The metadata, read within bounds before anything else is trusted."""
    if len(data) < 8:
        raise ModelError(path, f"not a model: it has {len(data)} bytes", "name a generator.safetensors")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        if data[:4] == b"PK\x03\x04" or (data[0] == 0x80 and 2 <= data[1] <= 5):
            raise ModelError(path, "is a pickle, which can run code when it is opened", "use a .safetensors file")
        raise ModelError(path, "not a safetensors file, or cut short", "take another copy")
    try:
        header = json.loads(data[8 : 8 + length])
        return _CardJson.model_validate_json(header["__metadata__"]["kantor"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(path, "not a model that Kantor wrote", "name a generator.safetensors of a run") from error


def _compare(path: Path, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Raises ModelError if names, shapes or types differ, or a weight is not finite."""
    if odd := sorted(expected.keys() ^ found.keys()):
        word = "lacks" if odd[0] in expected else "has an unexpected"
        raise ModelError(path, f"{word} tensor {odd[0]}", "take another copy")
    for name, tensor in expected.items():
        other = found[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            what = f"tensor {name} is {list(other.shape)} {other.dtype}, expected {list(tensor.shape)} {tensor.dtype}"
            raise ModelError(path, what, "take another copy")
        if other.is_floating_point() and not bool(torch.isfinite(other).all()):
            raise ModelError(path, f"tensor {name} holds numbers that are not finite", "use an older checkpoint")
