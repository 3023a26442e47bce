#!/usr/bin/env bash
# The first torch.optim object of a process
#
# Expected: torch.optim.SGD([parameter], lr=0.1) stores a few numbers: microseconds. Who never calls torch.compile never loads
#   the compiler, least of all with TORCHDYNAMO_DISABLE=1.
# Seen: constructing the first optimizer (any; by add_param_group) imports torch._dynamo with sympy and 823 modules,
#   which takes about as long as `import torch` itself and 70 MiB of memory. TORCHDYNAMO_DISABLE=1 and
#   TORCH_COMPILE_DISABLE=1 change nothing. The second optimizer takes microseconds. torch.utils.checkpoint does the same;
#   backward() and clip_grad_norm_() do not. It matters where processes are short: tests, workers, commands.
# Versions: torch 2.13.0 (CPU), Python 3.11.
# Seen on 2026-11-28 (2 busy cores, Intel Xeon; half these times when idle; modules do not vary):
#   (as is)                 import torch 4.6 s; first optimizer 4.2 s, 823 modules, torch._dynamo: True; second 0.000 s
#   TORCHDYNAMO_DISABLE=1   import torch 5.6 s; first optimizer 5.0 s, 823 modules, torch._dynamo: True; second 0.000 s
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/first.py" <<'PY'
import os
import sys
import time


def seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


import_s = seconds(lambda: __import__("torch"))
import torch

parameter = torch.nn.Parameter(torch.zeros(3))
before = set(sys.modules)
first_s = seconds(lambda: torch.optim.SGD([parameter], lr=0.1))
added = set(sys.modules) - before
second_s = seconds(lambda: torch.optim.Adam([parameter], lr=0.1))
loaded = "torch._dynamo" in added
label = "TORCHDYNAMO_DISABLE=1" if "TORCHDYNAMO_DISABLE" in os.environ else "(as is)"
print(f"{label:23} import torch {import_s:.1f} s; first optimizer {first_s:.1f} s, {len(added)} modules, "
      f"torch._dynamo: {loaded}; second {second_s:.3f} s")
sys.exit(not (loaded and len(added) > 400))
PY
"$folder/venv/bin/python" "$folder/first.py"  # fills the caches of bytecode and disk
"$folder/venv/bin/python" "$folder/first.py"
TORCHDYNAMO_DISABLE=1 "$folder/venv/bin/python" "$folder/first.py"
