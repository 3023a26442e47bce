"""A stand-in for CUDA graphs that records on a processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from kantor.engine.cuda_graphs import CudaGraphs

FIELDS: list[dict[str, Any]] = [
    {"cycle.critic_steps": 3, "generator.norm": "pixel"},
    {"objective.kind": "relativistic", "critic.norm": "layer"},
    {"objective.kind": "dragan", "critic.norm": "none", "train.micro_batch": 3, "generator.norm": "none"},
    {"objective.kind": "wgan", "optimizer.critic.kind": "rmsprop", "optimizer.generator.kind": "sgd"},
    {
        "objective.kind": "wgan",
        "cycle.split_updates": True,
        "objective.constraint.when": "before",
        "cycle.generator_batch": 6,
    },
    {"objective.kind": "wgan", "objective.constraint.kind": "gradient-clipping", "cycle.reuse": "everything"},
    {
        "generator.kind": "upsampling",
        "generator.norm": "pixel",
        "generator.modulation": True,
        "optimizer.generator": {"kind": "shampoo", "betas": (0.5, 0.9)},
        "optimizer.critic.kind": "shampoo",
    },
]


class Tape(CudaGraphs):
    """Replays by calling again what it was given, and always gives the same tensor."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        self.recorded += 1
        kept = compute()

        def replay() -> None:
            self.replayed += 1
            again = compute()
            if isinstance(kept, Tensor):
                kept.copy_(again)

        return replay, kept

    def forget(self) -> None:
        pass
