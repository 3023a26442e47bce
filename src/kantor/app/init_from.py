"""Starting a new run from the weights of another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kantor.app.generate import load_model
from kantor.engine.state import State
from kantor.errors import ModelError
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory

PARTS = ("generator", "critic", "average")


@dataclass(frozen=True)
class Weights:
    """Weights to start from.

    Attributes:
        path: absolute, of the checkpoint or model file that they came from.
        parts: "generator", "critic", "average" -> tensors by name; a model file has no critic.
    """

    path: Path
    parts: Mapping[str, Mapping[str, Tensor]]

    @property
    def digest(self) -> str:
        """SHA-256 over all tensors: equal for equal weights."""
        digest = hashlib.sha256()
        for part, tensors in sorted(self.parts.items()):
            for name in sorted(tensors):
                digest.update(f"{part}/{name}:{checkpoints.tensor_digest(tensors[name])}".encode())
        return digest.hexdigest()


def read_weights(text: str, runs: Path) -> Weights:
    """The weights of a run's newest checkpoint, of a checkpoint, or of a generator.safetensors.

    Raises:
        ModelError: there are none, or they are damaged.
    """
    path = Path(text)
    if path.is_file() or path.suffix == ".safetensors":
        network, _, _ = load_model(text, runs)
        return Weights(path.resolve(), {"generator": network.state_dict(), "average": network.state_dict()})
    if not (path.parent.name == directory.CHECKPOINTS and path.name.isdigit()):
        run = directory.find(text, runs)
        newest, _ = checkpoints.last(run / directory.CHECKPOINTS)
        if newest is None:
            raise ModelError(run, "has no checkpoint that can be used", "train it first")
        path = newest
    found = checkpoints.load(path).model
    parts = {
        part: {name.removeprefix(f"{part}/"): t for name, t in found.items() if name.startswith(f"{part}/")}
        for part in PARTS
    }
    return Weights(path.resolve(), parts)


def start_from(state: State, weights: Weights) -> list[str]:
    """Copies every tensor whose name and shape fit into the networks of `state`. Optimisers start afresh.

    Returns:
        A line for each network: how many tensors were taken, and which start afresh.
    Raises:
        ModelError: not one weight of the generator fits; nothing is changed then.
    """
    networks: dict[str, nn.Module] = {"generator": state.generator, "critic": state.critic, "average": state.average}
    plans = {part: _fitting(networks[part], weights.parts.get(part, {})) for part in PARTS}
    if not any(name.endswith(("weight", "original")) for name in plans["generator"]):
        do = "choose the same kind of networks with --preset and --set"
        raise ModelError(weights.path, "not one of its generator's layers fits this run's", do)
    lines = []
    for part, plan in plans.items():
        own = networks[part].state_dict()
        with torch.no_grad():
            for name, tensor in plan.items():
                own[name].copy_(tensor)
        if part == "average":
            continue
        fresh = [name for name in own if name not in plan]
        listed = ", ".join(fresh[:4]) + (" ..." if len(fresh) > 4 else "")
        tail = f"; fresh: {listed}" if fresh else ""
        lines.append(f"{part}: took {len(plan)} of {len(own)} tensors from {weights.path}{tail}")
    return lines


def _fitting(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = network.state_dict()
    return {name: t for name, t in tensors.items() if name in own and own[name].shape == t.shape}
