#!/usr/bin/env bash
# KarrasEMA of ema-pytorch with update_every above 1
#
# Expected: an average of relative width sigma_rel (Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models")
#   whose profile does not depend on how often it is updated: of weights that grow like t it is
#   t (gamma + 1) / (gamma + 2), which is 0.947 t for sigma_rel = 0.05.
# Seen: an update comes every `update_every` steps (100 unless set), but decays as for one step, (1 - 1 / t)^(gamma + 1) instead of
#   (1 - update_every / t)^(gamma + 1). The average reaches back nearly to the first weights. PostHocEMA, which solves for combinations
#   of such averages by their supposed profiles, inherits it.
# Cure: update_every=1, or a decay of (1 - n / t)^(gamma + 1) for an update after n steps (of n images after t).
# Versions: ema-pytorch 0.8.3, torch 2.13.0.
# Seen on 2026-11-28 (weights t / 10,000 at step t; the average at the end):
#   sigma_rel 0.05: expected 0.947; every step 0.947, every 10 steps 0.642, every 100 steps 0.151
#   sigma_rel 0.1: expected 0.888; every step 0.888, every 10 steps 0.442, every 100 steps 0.073
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6 ema-pytorch==0.8.3
cat > "$folder/average.py" <<'PY'
import sys

import torch
from ema_pytorch.post_hoc_ema import KarrasEMA, sigma_rel_to_gamma

STEPS = 10_000


def average_of_a_ramp(sigma_rel, every):
    network = torch.nn.Linear(1, 1, bias=False)
    average = KarrasEMA(network, sigma_rel=sigma_rel, update_every=every)
    for step in range(1, STEPS + 1):
        with torch.no_grad():
            network.weight.fill_(step / STEPS)
        average.update()
    return average.ema_model.weight.item()


as_seen = True
for sigma_rel in (0.05, 0.1):
    gamma = sigma_rel_to_gamma(sigma_rel)
    expected = (gamma + 1) / (gamma + 2)
    seen = {every: average_of_a_ramp(sigma_rel, every) for every in (1, 10, 100)}
    words = ", ".join(f"every {every} steps {value:.3f}" for every, value in seen.items()).replace("every 1 steps", "every step")
    print(f"sigma_rel {sigma_rel:g}: expected {expected:.3f}; {words}")
    as_seen &= abs(seen[1] - expected) < 0.002 and seen[10] < 0.8 * expected and seen[100] < 0.2 * expected
print("as seen on 2026-11-28" if as_seen else "the behaviour has changed")
sys.exit(0 if as_seen else 1)
PY
"$folder/venv/bin/python" "$folder/average.py"
