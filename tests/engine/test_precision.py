"""Which precision "auto" takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from kantor.engine.precision import choose_precision

CPU = torch.device("cpu")


@pytest.fixture
def capable(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A processor with bfloat16, of which nothing is left out."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    return monkeypatch


@pytest.mark.usefixtures("capable")
def test_a_processor_with_bfloat16_uses_it() -> None:
    assert choose_precision("auto", CPU) == ("bfloat16", "this processor computes in bfloat16")


def test_a_processor_without_it_uses_float32(capable: pytest.MonkeyPatch) -> None:
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        capable.setattr(torch.cpu, probe, lambda: False, raising=False)
    assert choose_precision("auto", CPU)[0] == "float32"


@pytest.mark.parametrize(
    ("limit", "precision"),
    [("AVX2", "float32"), ("avx512_core", "float32"), ("AVX512_CORE_BF16", "bfloat16"), ("DEFAULT", "bfloat16")],
)
@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_a_limit_of_onednn_is_seen(capable: pytest.MonkeyPatch, name: str, limit: str, precision: str) -> None:
    capable.setenv(name, limit)
    chosen, reason = choose_precision("auto", CPU)
    assert chosen == precision
    assert (f"{name}={limit}" in reason) == (precision == "float32")


def test_what_is_configured_holds_under_a_limit(capable: pytest.MonkeyPatch) -> None:
    capable.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert choose_precision("bfloat16", CPU) == ("bfloat16", "as configured")


def test_a_limit_of_pytorch_is_seen() -> None:
    """In a process of its own: PyTorch reads the setting once."""
    call = "import torch; from kantor.engine.precision import choose_precision as c; print(c('auto', torch.device('cpu'))[0])"
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2"}
    done = subprocess.run([sys.executable, "-c", call], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "float32"
