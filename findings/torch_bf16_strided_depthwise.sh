#!/usr/bin/env bash
# The backward pass of a strided depthwise convolution in bfloat16, on a CPU that computes in bfloat16
#
# Expected: bfloat16 halves the time of convolutions there, or leaves it: dense ones with a stride take half as long as in float32, and so do
#   depthwise ones without a stride. A depthwise convolution with stride 2, as in every MobileNet and EfficientNet, should be no exception.
# Seen: its forward pass is as fast as in float32, but its backward pass takes some tens of times as long: 20 to 36 times for 3x3 filters on
#   64 channels of 32x32 in channels-last. Only stride and groups together do it.
# Cure: shrink by average pooling after a depthwise convolution without a stride; or run this layer in float32. A network of such blocks
#   took 16 instead of 119 ms for a 4x4 layer with its double backward when pooled.
# Versions: torch 2.13.0 (CPU) on an AMD EPYC with AVX512-BF16, one thread. The script measures ratios within one process.
# Seen on 2026-11-29 (milliseconds of forward and backward, best of several):
#   depthwise, stride 1: float32 26.8, bfloat16 15.8 ms: 0.6 times
#   dense, stride 2: float32 62.2, bfloat16 27.5 ms: 0.4 times
#   depthwise, stride 2: float32 3.1, bfloat16 61.9 ms: 19.7 times
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
if ! grep -q avx512_bf16 /proc/cpuinfo 2>/dev/null; then
  echo "nothing measured: this processor does not compute in bfloat16"
  exit 0
fi
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/depthwise.py" <<'PY'
import sys
import time

import torch
from torch.nn.functional import conv2d

torch.set_num_threads(1)
CHANNELS = 64


def milliseconds(dtype, groups, stride):
    x = torch.randn(32, CHANNELS, 32, 32, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    w = torch.randn(CHANNELS, CHANNELS // groups, 3, 3, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    best = float("inf")
    for _ in range(8):
        began = time.perf_counter()
        torch.autograd.grad(conv2d(x, w, None, stride, 1, groups=groups).sum(), (x, w))
        best = min(best, time.perf_counter() - began)
    return 1000 * best


ratios = {}
for name, groups, stride in (("depthwise, stride 1", CHANNELS, 1), ("dense, stride 2", 1, 2), ("depthwise, stride 2", CHANNELS, 2)):
    single, half = (milliseconds(dtype, groups, stride) for dtype in (torch.float32, torch.bfloat16))
    ratios[name] = half / single
    print(f"{name}: float32 {single:.1f}, bfloat16 {half:.1f} ms: {half / single:.1f} times")
slow = ratios.pop("depthwise, stride 2")
sys.exit(not (slow > 5 and max(ratios.values()) < 2))
PY
"$folder/venv/bin/python" "$folder/depthwise.py"
