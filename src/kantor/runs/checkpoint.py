"""Checkpoints: plain tensors and JSON, written atomically, verified before use.

checkpoints/000051200/ holds model.safetensors, optimizer.safetensors, state.json and manifest.json. The manifest
has a SHA-256 of every file and every tensor. The last checkpoint is the highest one whose manifest verifies; names,
links and times are not trusted: a folder whose name disagrees with its manifest does not count.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from kantor import atomic
from kantor.disk_errors import resource_errors
from kantor.errors import ModelError

FORMAT = 1
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")
MAX_BYTES = 64 << 30
MAX_IMAGES = 10**18
_NAME = re.compile("[0-9]{9,18}")


class DamagedCheckpointError(ModelError):
    """A checkpoint that cannot be used; an older one may be fine."""

    def __init__(self, where: object, what: str, do: str = "use an older one") -> None:
        super().__init__(where, what, do)


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint.

    Attributes:
        model, optimizer: tensors by name.
        values: JSON values; `RunState` knows their keys.
    """

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    values: Mapping[str, Any]


def save(folder: Path, images_seen: int, checkpoint: Checkpoint) -> Path:
    """Writes folder/000051200 atomically, reads it back and returns its path.

    Keeps an existing checkpoint of the same number of images if it verifies.

    Raises:
        ResourceError: for example, the disk is full; older checkpoints are untouched.
        ModelError: the files written do not verify.
    """
    path = folder / f"{images_seen:09d}"
    if path.exists():
        if _verifies(path):
            return path
        atomic.remove_folder(path)
    contents: dict[str, Callable[[], bytes]] = {  # made one by one: each may take as much memory as the networks
        "model.safetensors": lambda: to_bytes(checkpoint.model),
        "optimizer.safetensors": lambda: to_bytes(checkpoint.optimizer),
        "state.json": lambda: json.dumps(checkpoint.values, sort_keys=True, indent=1).encode(),
    }
    files: dict[str, dict[str, Any]] = {}
    with atomic.new_folder(path) as temporary:
        for name, content in contents.items():
            data = content()
            files[name] = {"bytes": len(data), "sha256": _sha256(data)}
            atomic.write_bytes(temporary / name, data)
            del data
        manifest = {
            "format": FORMAT,
            "images_seen": images_seen,
            "files": files,
            "tensors": {**_digests("model", checkpoint.model), **_digests("optimizer", checkpoint.optimizer)},
        }
        manifest["sha256"] = _own_digest(manifest)
        atomic.write_json(temporary / "manifest.json", manifest)
    verify(path)
    return path


def load(path: Path) -> Checkpoint:
    """Reads and verifies one checkpoint.

    Raises:
        ModelError: damaged, incomplete, of a newer version or renamed; names the file and the tensor.
    """
    files = verified_files(path)
    return Checkpoint(
        from_bytes(path / "model.safetensors", files["model.safetensors"]),
        from_bytes(path / "optimizer.safetensors", files["optimizer.safetensors"]),
        _values(path / "state.json", files["state.json"]),
    )


def verified_files(path: Path) -> dict[str, bytes]:
    """Reads the files of a checkpoint; compares each, and the folder's name, with the manifest."""
    manifest, files = _manifest_of_its_folder(path), {}
    for name in FILES:
        data = _read(path / name)
        _compare(path / name, len(data), _sha256(data), manifest)
        files[name] = data
    return files


def verify(path: Path) -> None:
    """Compares as `verified_files` does, in little memory."""
    manifest = _manifest_of_its_folder(path)
    for name in FILES:
        _compare(path / name, *_size_and_digest(path / name), manifest)


def _manifest_of_its_folder(path: Path) -> dict[str, Any]:
    manifest = _manifest(path)
    seen = int(manifest["images_seen"])
    if _NAME.fullmatch(path.name) and int(path.name) != seen:
        raise ModelError(path, f"holds the state after {seen:,} images", f"rename it to {seen:09d}")
    return manifest


def _compare(path: Path, size: int, digest: str, manifest: Mapping[str, Any]) -> None:
    """Raises DamagedCheckpointError if a file is not as long as the manifest says, or has other contents."""
    expected = manifest["files"][path.name]
    if size != expected["bytes"]:
        raise DamagedCheckpointError(path, f"is cut short: {size} of {expected['bytes']} bytes")
    if digest != expected["sha256"]:
        raise DamagedCheckpointError(path, f"is damaged{_culprit(path.name, _read(path), manifest)}")


def last(folder: Path) -> tuple[Path | None, list[ModelError]]:
    """Finds the newest checkpoint that verifies; returns it with the faults of newer ones, by name or manifest."""
    faults: list[ModelError] = []
    for path in sorted(_candidates(folder), key=lambda path: max(int(path.name), _number(path) or 0), reverse=True):
        try:
            verify(path)
            return path, faults
        except ModelError as fault:
            faults.append(fault)
    return None, faults


def thin(folder: Path, total_images: int, keep: Path | None = None, newest: int | None = None) -> None:
    """Deletes checkpoints, but keeps the last two, `keep`, and a ladder of older ones, denser towards the end.

    Deletes only if the two newest verify, so that a good checkpoint never makes room for a damaged one. Leaves
    renamed folders alone.

    Args:
        newest: keep so many of the newest, at least 2, instead of the ladder.
    """
    not_renamed = (path for path in _candidates(folder) if _number(path) in (None, int(path.name)))
    paths = sorted(not_renamed, key=lambda path: int(path.name))
    if len(paths) <= 2 or not all(_verifies(path) for path in paths[-2:]):
        return
    if newest is not None:
        for path in paths[: -max(newest, 2)]:
            if path != keep:
                atomic.remove_folder(path)
        return
    last_images = int(paths[-1].name)
    rungs: set[int] = set()
    for path in paths[:-2]:  # the oldest of a rung stays, and grows old enough for the next
        age = max(1, last_images - int(path.name)) * 64 // max(total_images, 1)
        if path == keep:
            continue
        if (rung := age.bit_length()) in rungs:
            atomic.remove_folder(path)
        rungs.add(rung)


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Serializes tensors as safetensors. Equal tensors give equal bytes, whatever their memory layout."""
    plain = {name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}
    return save_safetensors(plain, dict(metadata) if metadata else None)


def from_bytes(path: Path, data: bytes) -> dict[str, Tensor]:
    """The inverse of `to_bytes`. `path` is for the message."""
    try:
        return load_safetensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedCheckpointError(path, f"is not a valid safetensors file ({error})") from error


def tensor_digest(value: Tensor) -> str:
    """SHA-256 of dtype, shape and contents."""
    plain = value.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{plain.dtype}{list(plain.shape)}".encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _digests(part: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {f"{part}:{name}": tensor_digest(value) for name, value in tensors.items()}


def _candidates(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        with resource_errors(folder):
            yield from (path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def _number(path: Path) -> int | None:
    """images_seen of the manifest; None if that is damaged."""
    with contextlib.suppress(ModelError):
        return int(_manifest(path)["images_seen"])
    return None


def _verifies(path: Path) -> bool:
    with contextlib.suppress(ModelError):
        verify(path)
        return True
    return False


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read(path / "manifest.json"))
        newer = manifest["format"] > FORMAT
        complete = all({"bytes", "sha256"} <= manifest["files"][name].keys() for name in FILES)
        complete = complete and manifest["sha256"] == _own_digest(manifest)
        complete = complete and 0 <= int(manifest["images_seen"]) <= MAX_IMAGES
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedCheckpointError(path / "manifest.json", "is damaged") from error
    if newer:
        raise ModelError(path, "was written by a newer Kantor", "install the newest version")
    if not complete:
        raise DamagedCheckpointError(path / "manifest.json", "is damaged")
    return dict(manifest)


def _own_digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest without its own digest."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return _sha256(json.dumps(rest, sort_keys=True).encode())


def _values(path: Path, data: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedCheckpointError(path, "is not a JSON object") from error


def _read(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read()


def _size_and_digest(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with _opened(path) as file:
        while part := file.read(1 << 20):
            digest.update(part)
            size += len(part)
    return size, digest.hexdigest()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DamagedCheckpointError(path, "is too large to be a checkpoint")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DamagedCheckpointError(path, f"cannot be read ({error.strerror})") from error


def _culprit(name: str, data: bytes, manifest: Mapping[str, Any]) -> str:
    """ " in tensor X", if it can be identified."""
    if not name.endswith(".safetensors"):
        return ""
    try:
        tensors = load_safetensors(data)
    except Exception:
        return " in its header"
    part = name.removesuffix(".safetensors")
    for tensor, value in tensors.items():
        if manifest.get("tensors", {}).get(f"{part}:{tensor}") != tensor_digest(value):
            return f" in tensor {tensor}"
    return " in its header"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
