"""Precision of computing: float32, or bfloat16 where the hardware supports it."""

from __future__ import annotations

import contextlib
import os

import torch

_WITHOUT_BFLOAT16 = {"sse41", "avx", "avx2", "avx2_vnni", "avx512_core", "avx512_core_vnni"}
"""Limits of oneDNN (its documentation, "CPU dispatcher control") that leave out the instructions for bfloat16."""


def choose_precision(name: str, device: torch.device) -> tuple[str, str]:
    """Returns (precision, reason): "auto" takes bfloat16 if the hardware computes in it."""
    if name != "auto":
        return name, "as configured"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "this GPU computes in bfloat16"
        return "float32", "this GPU does not compute in bfloat16"
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: absent from some versions of torch
    if device.type != "cpu" or not any(getattr(torch.cpu, probe, lambda: False)() for probe in probes):
        return "float32", "this device does not compute in bfloat16"
    if limit := _limit_of_instructions():
        return "float32", f"{limit} leaves out this processor's bfloat16"
    return "bfloat16", "this processor computes in bfloat16"


def _limit_of_instructions() -> str:
    """The setting that keeps libraries from a processor's bfloat16; "" for none.

    bfloat16 is then emulated, and 40 times as slow as float32. The probes of the processor do not see such limits.
    """
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        if (limit := os.environ.get(name, "")).lower() in _WITHOUT_BFLOAT16:
            return f"{name}={limit}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"ATEN_CPU_CAPABILITY={capability.lower()}" if capability in ("DEFAULT", "AVX2") else ""


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """The context for running networks. Parameters, gradients and losses stay float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
