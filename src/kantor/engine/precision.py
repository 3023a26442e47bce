"""Precision of computing: float32, or bfloat16 where the hardware supports it."""

from __future__ import annotations

import contextlib

import torch


def choose_precision(name: str, device: torch.device) -> tuple[str, str]:
    """Returns (precision, reason): "auto" takes bfloat16 if the hardware computes in it."""
    if name != "auto":
        return name, "as configured"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "this GPU computes in bfloat16"
        return "float32", "this GPU does not compute in bfloat16"
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: absent from some versions of torch
    if device.type == "cpu" and any(getattr(torch.cpu, probe, lambda: False)() for probe in probes):
        return "bfloat16", "this processor computes in bfloat16"
    return "float32", "this device does not compute in bfloat16"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """The context for running networks. Parameters, gradients and losses stay float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
