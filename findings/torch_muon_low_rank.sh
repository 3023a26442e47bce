#!/usr/bin/env bash
# torch.optim.Muon on gradients of low rank
#
# Expected: Muon replaces a gradient U S V' by about U V'. A gradient of rank r, as of a layer that has seen r vectors, therefore gives a step
#   of rank r, to the rounding of the parameters' float32.
# Seen: the iteration runs in bfloat16 whatever the parameters are, and each round multiplies small singular values by 3.44. After five rounds
#   rounding of 0.2% is as large as the signal: for rank 1, most of the step's energy (its squared singular values) is outside the gradient's
#   rank; for rank 8, a seventh. The same five rounds in float32 leave nothing there.
# Cure: an iteration in float32, on the smaller Gram matrix it costs little; or batches that give gradients of full rank.
# Versions: torch 2.13.0 on an Intel Xeon, also limited to AVX2 (ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY).
# Seen on 2026-11-28 (64 x 256; energy outside the rank of the gradient):
#   rank 1: torch.optim.Muon 0.710, the same rounds in float32 0.000
#   rank 2: torch.optim.Muon 0.381, the same rounds in float32 0.000
#   rank 8: torch.optim.Muon 0.144, the same rounds in float32 0.000
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/muon.py" <<'PY'
import sys

import torch


def step_of_torch(gradient):
    weights = torch.nn.Parameter(torch.zeros_like(gradient))
    optimizer = torch.optim.Muon([weights], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False)
    weights.grad = gradient
    optimizer.step()
    return weights.detach()


def step_in_float32(gradient):
    x = gradient / gradient.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def outside(step, rank):
    energy = torch.linalg.svdvals(step).square()
    return float(energy[rank:].sum() / energy.sum())


torch.manual_seed(0)
found = {}
for rank in (1, 2, 8):
    gradient = torch.randn(64, rank) @ torch.randn(rank, 256)
    found[rank] = outside(step_of_torch(gradient), rank), outside(step_in_float32(gradient), rank)
    print(f"rank {rank}: torch.optim.Muon {found[rank][0]:.3f}, the same rounds in float32 {found[rank][1]:.3f}")
sys.exit(not (found[1][0] > 0.5 and found[8][0] > 0.05 and all(exact < 1e-3 for _, exact in found.values())))
PY
"$folder/venv/bin/python" "$folder/muon.py"
