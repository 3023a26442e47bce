"""Does the critic overfit? Its gap on the 1,000 digits that it trains on, and on digits that it never sees (figure 5b)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
import torch

from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.data.loading.image_set import ArrayImages
from kantor.engine.precision import choose_precision
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.objectives.objective import build_objective
from kantor.sample.latents import latents
from kantor.types import Images
from paper_parts.digits import as_floats, read

mpl.use("Agg")
import matplotlib.pyplot as plt

TRAINED, EVERY, JUDGED = 1000, 50, 1000
CLIPPING = {
    "objective.kind": "wgan", "objective.constraint.kind": "weight-clipping", "objective.constraint.bound": 0.01,
    "objective.penalties.gradient.weight": 0.0, "optimizer.critic.kind": "rmsprop", "optimizer.critic.lr": 5e-5,
    "optimizer.generator.kind": "rmsprop", "optimizer.generator.lr": 5e-5,
}  # fmt: skip
OBJECTIVES: dict[str, dict[str, Any]] = {"penalty": {}, "clipping": CLIPPING}


class Table(Protocol):
    rows: list[dict[str, Any]]

    def add(self, row: dict[str, Any]) -> None: ...


def study(table: Table, data: Path, steps: int, images: Path) -> Iterator[str]:
    """Trains a WGAN with each objective on 1,000 digits; yields the verdict."""
    digits, _ = read(data, 28)
    trained, others = digits[:TRAINED], digits[TRAINED : TRAINED + JUDGED]
    for objective, fields in OBJECTIVES.items():
        known = [int(row["step"]) for row in table.rows if row["objective"] == objective]
        if known and max(known) >= steps:
            continue
        table.rows[:] = [row for row in table.rows if row["objective"] != objective]  # begin it again
        slim = {"generator.slim": 2, "critic.slim": 2}
        config = resolve("paper-mnist28-wgan-gp", overrides={**fields, **slim})
        for row in _curve(config, trained, others, steps):
            table.add({"objective": objective, **row})
    curves = {name: [row for row in table.rows if row["objective"] == name] for name in OBJECTIVES}
    _draw(curves, images / "overfitting.png")
    for name, rows in curves.items():
        last = rows[-max(1, len(rows) // 10) :]
        on, off = (float(np.mean([float(row[column]) for row in last])) for column in ("trained", "unseen"))
        best = max(float(row["unseen"]) for row in rows)
        yield f"{name}: at the end {on:.3g} on digits that it trains on, {off:.3g} on others, of which the highest was {best:.3g}"
    on, off = (np.array([float(row[column]) for row in curves["penalty"]]) for column in ("trained", "unseen"))
    tenth = max(1, len(on) // 10)
    holds = on[-tenth:].mean() - off[-tenth:].mean() > 2 * abs(on[:tenth].mean() - off[:tenth].mean())
    yield ("Gulrajani et al. 2017, 5.3, given enough capacity and too few data the critic overfits, and its loss on "
           f"other images tells so: {'holds' if holds else 'not seen'} here (one run each)")  # fmt: skip


def _curve(config: Config, trained: Images, others: Images, steps: int) -> Iterator[dict[str, Any]]:
    device = torch.device("cpu")
    store = ArrayImages(trained)
    state, feed = State(config, store.spec, 0, device), Feed(store, 0, device)
    per_cycle = config.cycle.critic_steps * config.train.batch
    work = Steps(config, build_objective(config.objective), choose_precision("auto", device)[0], steps * per_cycle)
    z = torch.from_numpy(latents(range(JUDGED), config.generator.latent_dim, config.generator.latent))
    seen, unseen = as_floats(trained), as_floats(others)
    for step in range(1, steps + 1):
        work.cycle(state, feed)
        if step % EVERY and step > 1:
            continue
        with torch.no_grad():
            fake = state.critic(state.generator(z)).mean()
            yield {
                "step": step, "trained": round(float(state.critic(seen).mean() - fake), 5),
                "unseen": round(float(state.critic(unseen).mean() - fake), 5),
            }  # fmt: skip


def _draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    figure, axes = plt.subplots(1, len(curves), figsize=(3.6 * len(curves), 2.6))
    for panel, (name, rows) in zip(axes, curves.items(), strict=True):
        for column, label, colour in (
            ("trained", "digits trained on", "#c2410c"),
            ("unseen", "other digits", "#0f766e"),
        ):
            panel.plot(
                [int(row["step"]) for row in rows], [float(row[column]) for row in rows], c=colour, lw=1.2, label=label
            )
        panel.set(title=f"{name}: the critic's gap", xlabel="generator steps")
        panel.legend(frameon=False, fontsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
