"""Devices to compute on, and the memory that glibc keeps."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from pathlib import Path

import torch

from kantor.errors import ConfigError, ResourceError, nearest


def choose_device(name: str) -> torch.device:
    """The device of this name; "auto" takes a GPU if there is one.

    Raises ConfigError if the name is unknown, ResourceError if the device is missing.
    """
    kind, _, index = name.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        do = (
            nearest(name, ["auto", "cpu", "cuda", "mps"])
            if kind != "gpu"
            else "choose auto, cpu, cuda, cuda:1, or mps (on a Mac)"
        )
        raise ConfigError(f"--device {name}", "no such device", do)
    if kind == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"--device {name}", "CUDA is not available", "use --device cpu")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        have = ", ".join(f"cuda:{i}" for i in range(torch.cuda.device_count()))
        raise ResourceError(f"--device {name}", "no such device", f"choose one of: {have}")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ResourceError(f"--device {name}", "MPS is not available", "use --device cpu")
    return torch.device(kind + (f":{index}" if index else ""))


def describe_device(device: torch.device) -> str:
    """Its name: "NVIDIA H100", or the processor's model and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads != 1 else ''}"


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine() or "processor"


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_TWO_GIB = 2**31 - 1


def keep_memory() -> bool:
    """Has glibc keep freed memory (up to 2 GiB at the top of its heap) for the next tensor of that size.

    By default it returns large tensors to the system at once, which then clears the pages of each new one: 3 to 6% of
    a step on a CPU. Returns whether the C library has this setting.
    """
    libc = _glibc()
    return libc is not None and all((libc.mallopt(_M_MMAP_MAX, 0), libc.mallopt(_M_TRIM_THRESHOLD, _TWO_GIB)))


def return_memory() -> None:
    """Returns freed memory to the system."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
