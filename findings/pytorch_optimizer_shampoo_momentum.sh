#!/usr/bin/env bash
# momentum of Shampoo in pytorch_optimizer
#
# Expected: Shampoo's step hardly depends on the scale of the gradients (Gupta et al. 2018), with momentum as without; where gradients
#   turn round, it follows after some steps.
# Seen: what is kept as momentum is the preconditioned step, and what it is mixed into is the raw gradient. Of small gradients next to nothing
#   remains in the mixture: the optimizer repeats its own last step. With gradients G for 10 steps and -G for 30 more it goes back if they
#   are of size 1, and never turns if they are a thousandth of that. Without momentum both go the same way.
# Cure: momentum=0, or an average of the gradients before they are given to the optimizer.
# Versions: pytorch_optimizer 4.1.0, torch 2.13.0.
# Seen on 2026-11-28 (way along -G after 10 and after 40 steps):
#   momentum 0: gradients of 1 0.1205, -0.0294; of 0.1 0.1205, -0.0294; of 0.001 0.1205, -0.0294
#   momentum 0.9: gradients of 1 0.0602, -0.0109; of 0.1 0.0916, 0.0607; of 0.001 0.0913, 0.0916
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pytorch_optimizer==4.1.0
cat > "$folder/turn.py" <<'PY'
import sys

import torch
from pytorch_optimizer import Shampoo


def way(scale, momentum):
    """How far it is along -G after 10 steps with gradients along G, and after 30 more with -G."""
    torch.manual_seed(0)
    gradient = torch.randn(8, 8)
    weights = torch.nn.Parameter(torch.zeros(8, 8))
    optimizer = Shampoo([weights], lr=0.01, momentum=momentum, matrix_eps=1e-12)
    found = []
    for steps, sign in ((10, 1.0), (30, -1.0)):
        for _ in range(steps):
            weights.grad = sign * scale * gradient
            optimizer.step()
        found.append(-float((weights.detach() * gradient).sum() / gradient.norm()))
    return found


seen = {}
for momentum in (0.0, 0.9):
    for scale in (1.0, 0.1, 0.001):
        seen[momentum, scale] = way(scale, momentum)
    words = "; ".join(f"of {scale:g} {seen[momentum, scale][0]:.4f}, {seen[momentum, scale][1]:.4f}" for scale in (1.0, 0.1, 0.001))
    print(f"momentum {momentum:g}: gradients {words}")
independent = abs(seen[0.0, 1.0][1] - seen[0.0, 0.001][1]) < 1e-3
never_turns = seen[0.9, 1.0][1] < 0 < 0.9 * seen[0.9, 0.001][0] < seen[0.9, 0.001][1]
print("as seen on 2026-11-28" if independent and never_turns else "the behaviour has changed")
sys.exit(0 if independent and never_turns else 1)
PY
"$folder/venv/bin/python" "$folder/turn.py"
