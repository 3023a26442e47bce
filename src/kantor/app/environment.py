"""The environment of a run: versions, device, threads."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kantor import __version__
from kantor.engine.device import describe_device
from kantor.errors import printable

if TYPE_CHECKING:  # commands that only generate do not import it
    from kantor.config.schema import Config

_MOST_THREADS = 1 << 16
_PACKAGES = ("torch", "numpy", "pillow", "safetensors", "pydantic")


def versions() -> dict[str, str]:
    """Versions of Kantor, Python and the packages that compute; "unknown" without package metadata."""
    versions = {"kantor": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        versions[package] = "unknown"
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def describe(device: torch.device, fingerprint: str, seed: int) -> dict[str, Any]:
    """The content of environment.json."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "device": describe_device(device),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "command": sys.argv[1:],
        "seed": seed,
        "data_fingerprint": fingerprint,
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "convolutions": torch.backends.cudnn.allow_tf32},
    }


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A line for each difference that can change the last bit of a run's numbers."""
    before = {**old, **old.get("versions", {})}
    now = {key: new[key] for key in ("device", "threads", "platform")} | new["versions"]
    changed = {name: value for name, value in now.items() if before.get(name) != value}
    return [f"{name} was {before.get(name, 'unknown')}, is {value}" for name, value in changed.items()]


def read(path: Path) -> dict[str, Any]:
    """environment.json without damaged entries; empty if the file is damaged: a run does not need it."""
    try:
        entries = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(entries, dict):
        return {}
    valid = {key: _plain(value) for key, value in entries.items() if _is_valid(key, value)}
    if isinstance(versions := entries.get("versions"), dict):
        valid["versions"] = {_plain(name): _plain(text) for name, text in versions.items() if isinstance(text, str)}
    return valid


def condition_channels(config: Config, env: Mapping[str, Any]) -> int:
    """Channels of the condition of a run, as its configuration and environment say; 0 without one."""
    return 0 if config.data.condition == "none" else int(env.get("condition_channels", 1))


def _plain(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _is_valid(key: str, value: Any) -> bool:
    match key:
        case "condition_channels":
            return value in (1, 3, 4)
        case "threads" | "cores":
            return type(value) is int and 1 <= value <= _MOST_THREADS
        case "versions":
            return False  # checked one by one
        case "class_counts":
            return isinstance(value, dict) and all(type(count) is int and count >= 0 for count in value.values())
        case "platform" | "device" | "device_type" | "data_fingerprint" | "init_from_digest":
            return isinstance(value, str)
    return True
