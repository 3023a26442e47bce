"""Which recipe learns the built-in letters fastest? Trains variants of the default over seeds and scores them.

    python benchmarks/recipe.py --images 120000 --seeds 0,1,2 --out docs/recipe.csv [--variants NAME,NAME]

`sure` is the share of images that the classifier is sure of (above 0.9), `classes` of how many letters there are at
least a tenth of what there should be, `light` the share with a light background. The score is the Fréchet distance (Heusel et al. 2017, equation 6) between 3,000 generated and all 20,000 real
images in the 128 features of a small classifier of letters that the command trains first (seed 0, five passes, kept
next to the CSV's name in the cache folder). Real against real, halves of 10,000, is printed for scale. Numbers are
comparable only within this command. A row is written as soon as it is known; rows that are there are not run again.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kantor.app.dataset.cache import DatasetCache, cache_folder
from kantor.app.dataset.prepare import open_set
from kantor.config.io import parse_override, resolve
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.data.loading.store import Store
from kantor.engine.precision import choose_precision
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.objectives.objective import build_objective
from kantor.sample.generate import generate_images
from kantor.sample.grid import grid, png_bytes
from kantor.sample.latents import latents

WGAN_GP = [
    "objective.kind=wgan-gp",
    "cycle.critic_steps=5",
    "optimizer.critic.kind=adam",
    "optimizer.generator.kind=adam",
    "optimizer.critic.betas=[0.0,0.9]",
    "optimizer.generator.betas=[0.0,0.9]",
]
RATE = "optimizer.{0}.lr={1}"


def rates(lr: float) -> list[str]:
    return [RATE.format(name, lr) for name in ("critic", "generator")]


def penalties(weight: float, every: int) -> list[str]:
    fields = [("weight", weight), ("every", every)]
    return [f"objective.penalties.{name}.{field}={value}" for name in ("r1", "r2") for field, value in fields]


VARIANTS: dict[str, list[str]] = {
    "default": [],
    "transposed convolutions": [
        "generator.kind=dcgan",
        "generator.width=32",
        "generator.norm=pixel",
        "generator.latent_dim=64",
    ],
    "penalty weight 5": penalties(5, 8),
    "generator starts as He": ["generator.init=he"],
    "wgan-gp 5:1; rates 2e-4": [*WGAN_GP, *rates(2e-4)],
    "wgan-gp 2:1; rates 3e-4": [*WGAN_GP, "cycle.critic_steps=2", *rates(3e-4)],
}
FIELDS = ("variant", "seed", "images", "seconds", "frechet", "sure", "classes", "light")


class Classifier(nn.Module):
    """Letters from images [N, 3, 32, 32] in [-1, 1]; `features` gives 128 numbers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
            blocks += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(2048, 128), nn.ReLU())
        self.head = nn.Linear(128, classes)


def floats(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def trained_classifier(store: Store, path: Path) -> Classifier:
    classifier = Classifier(len(store.class_names))
    if path.exists():
        classifier.load_state_dict(torch.load(path, weights_only=True))
        return classifier.eval()
    torch.manual_seed(0)
    classifier = Classifier(len(store.class_names))
    optimizer = torch.optim.Adam(classifier.parameters(), 1e-3)
    for _ in range(5):
        for rows in torch.randperm(store.count).split(128):
            x, y = floats(store.images(rows.numpy())), torch.from_numpy(store.labels(rows.numpy()))
            loss = nn.functional.cross_entropy(classifier.head(classifier.features(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(classifier.state_dict(), path)
    return classifier.eval()


@torch.no_grad()
def features(classifier: Classifier, images: np.ndarray) -> Tensor:
    return torch.cat([classifier.features(floats(part)) for part in np.array_split(images, -(-len(images) // 500))])


def frechet(a: Tensor, b: Tensor) -> float:
    a, b = a.double(), b.double()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    first, second = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(first)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return float(mean + first.trace() + second.trace() - 2 * cross)


def light(images: np.ndarray) -> float:
    """Share of images whose corners are light: 0.31 of the real ones. Shows whether the generator dropped a background."""
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].astype(float).mean((1, 2))
    return float((corners > 128).mean())


def score(classifier: Classifier, real: Tensor, config: Config, state: State) -> dict[str, float]:
    network = config.generator
    images = generate_images(state.average, latents(range(1000, 4000), network.latent_dim, network.latent))
    made = features(classifier, images)
    chances = classifier.head(made).softmax(1)
    counts = torch.bincount(chances.argmax(1), minlength=chances.shape[1])
    sure = (chances.max(1).values > 0.9).float().mean().item()
    return {
        "frechet": frechet(made, real),
        "sure": sure,
        "classes": int((counts > len(made) / 360).sum()),
        "light": light(images),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=120_000)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("docs/recipe.csv"))
    parser.add_argument("--sheets", type=Path, help="folder for a grid of each run")
    options = parser.parse_args()
    cache = cache_folder(None)
    store, _, _ = open_set(resolve(), 32, DatasetCache(cache, note=print))
    classifier = trained_classifier(store, cache / "benchmarks" / "letters.pt")
    real = features(classifier, store.whole())
    print(f"real against real: {frechet(real[::2], real[1::2]):.2f}")
    rows = list(csv.DictReader(options.out.open())) if options.out.exists() else []
    done = {(row["variant"], row["seed"], row["images"]) for row in rows}
    for seed in options.seeds.split(","):
        for name in options.variants.split(","):
            targets = [options.images // 4, options.images // 2, options.images]
            if (name, seed, str(targets[-1])) in done:
                continue
            new_rows = run(name, int(seed), targets, store, classifier, real, options.sheets)
            fresh = not options.out.exists()
            with options.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, FIELDS)
                if fresh:
                    writer.writeheader()
                writer.writerows(new_rows)


def run(
    name: str, seed: int, targets: list[int], store: Store, classifier: Classifier, real: Tensor, sheets: Path | None
) -> list[dict[str, object]]:
    overrides = dict(parse_override(text) for text in VARIANTS[name])
    config = resolve(overrides={**overrides, "train.seed": seed})
    device = torch.device("cpu")
    state, feed = State(config, store.spec, 0, device), Feed(store, seed, device)
    steps = Steps(config, build_objective(config.objective), choose_precision("auto", device)[0], targets[-1])
    rows, elapsed_s = [], 0.0
    for target in targets:
        began_s = time.monotonic()
        while state.counters.images_seen < target:
            steps.cycle(state, feed)
        elapsed_s += time.monotonic() - began_s
        values = score(classifier, real, config, state)
        row = {"variant": name, "seed": seed, "images": target, "seconds": round(elapsed_s, 1)}
        rows.append(row | {key: round(value, 3) for key, value in values.items()})
        print(rows[-1], flush=True)
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        z = latents(range(64), config.generator.latent_dim, config.generator.latent)
        path = sheets / f"{name.replace(' ', '-').replace(',', '').replace(':', '-')}-{seed}.png"
        path.write_bytes(png_bytes(grid(generate_images(state.average, z), columns=16)))
    return rows


if __name__ == "__main__":
    main()
