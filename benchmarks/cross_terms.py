"""How much of the input gradient comes from the neighbours in a batch, for a critic with minibatch stddev.

python benchmarks/cross_terms.py --group batch     or --group 4

Trains WGAN-GP on letters for 60 cycles with three seeds, then compares, for each of 32 real images, the gradient of
the sum of all scores with the gradient of its own score.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import open_set
from kantor.app.training.build import build
from kantor.config.io import resolve

FIELDS = {
    "data.glyphs.count": 2000, "data.size": "32", "train.batch": 32, "critic.width": 32, "generator.width": 16,
    "train.images": 100_000, "train.precision": "float32",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", default="batch", help="critic.minibatch_stddev")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    group = options.group if options.group == "batch" else int(options.group)
    print("seed  median share  largest share")
    with tempfile.TemporaryDirectory() as cache:
        for seed in range(options.seeds):
            config = resolve("wgan-gp", overrides={**FIELDS, "critic.minibatch_stddev": group, "train.seed": seed})
            store, config, _ = open_set(config, 32, DatasetCache(Path(cache)))
            parts = build(config, store, torch.device("cpu"))
            state, feed, steps = parts.state(), parts.feed, parts.steps()
            for _ in range(60):
                steps.cycle(state, feed)
            x = feed.take(32).images.clone().requires_grad_()
            scores = state.critic(x, None)
            (whole,) = torch.autograd.grad(scores.sum(), x, retain_graph=True)
            own = torch.stack([torch.autograd.grad(s, x, retain_graph=True)[0][i] for i, s in enumerate(scores)])
            share = (whole - own).flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1)
            print(f"{seed:4}  {share.median():12.4f}  {share.max():13.4f}")


if __name__ == "__main__":
    main()
