"""What a run ran on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from kantor import __version__
from kantor.engine.device import describe_device

_PACKAGES = ("torch", "numpy", "pillow", "safetensors", "pydantic")


def versions() -> dict[str, str]:
    found = {"kantor": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def describe(device: torch.device, fingerprint: str, seed: int) -> dict[str, Any]:
    """What environment.json holds."""
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
        "tf32": {
            "matmul": bool(torch.backends.cuda.matmul.allow_tf32),
            "convolutions": bool(torch.backends.cudnn.allow_tf32),
        },
    }


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What has changed since a run began that can change its numbers in the last bit."""
    changed = []
    for key in ("device", "threads", "platform"):
        if old.get(key) != new.get(key):
            changed.append(f"{key} was {old.get(key)}, is {new.get(key)}")
    for package, version in new["versions"].items():
        before = old.get("versions", {}).get(package)
        if before != version:
            changed.append(f"{package} was {before}, is {version}")
    return changed


def read(path: Path) -> dict[str, Any]:
    """environment.json, or nothing where it is missing or damaged: a run goes on without it."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
