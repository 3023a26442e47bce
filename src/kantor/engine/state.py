"""All that changes during a run, as one value that goes into a checkpoint and comes back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kantor.config.schema import Config
from kantor.controls import guide_of
from kantor.engine import optimizers
from kantor.engine.tally import Tally
from kantor.nets import build_critic, build_generator
from kantor.nets.layers import has_dropout
from kantor.types import ImageSpec


@dataclass
class Counters:
    """A run's progress.

    Attributes:
        cycle: cycles done.
        attempt: roll-backs so far.
        images_seen: real images shown to the critic.
        critic_steps, generator_steps: steps done, skipped ones included.
        elapsed_s: seconds of training in all invocations.
        tick_elapsed_s: elapsed_s at the last tick.
        tick_images: images_seen at the last tick.
        skipped_ticks: ticks in a row in which a network skipped every step.
        epoch, epoch_cycle: the epoch that the last cycle began in, and cycles begun in it so far.
    """

    cycle: int = 0
    attempt: int = 0
    images_seen: int = 0
    critic_steps: int = 0
    generator_steps: int = 0
    elapsed_s: float = 0.0
    tick_elapsed_s: float = 0.0
    tick_images: int = 0
    skipped_ticks: int = 0
    epoch: int = 0
    epoch_cycle: int = 0


class State:
    """Networks, optimizers, counters and the partial tally.

    Args:
        condition: channels of the condition; 0 for none.
        table: of the guide, see `kantor.controls.Guide`, if `config.guide` has controls.

    Attributes:
        generator, critic: in training mode.
        average: EMA of the generator, in evaluation mode: what is shown and saved.
        networks: these three by name.
        optimizers: of the generator and of the critic, by name.
        has_dropout: a network generates random numbers as it runs: no two steps are alike.
        loaded: how often `load` has replaced tensors.
    """

    def __init__(
        self,
        config: Config,
        spec: ImageSpec,
        classes: int,
        device: torch.device,
        condition: int = 0,
        table: Tensor | None = None,
    ) -> None:
        seed = config.train.seed
        placement: dict[str, Any] = {"device": device, "memory_format": torch.channels_last}
        self.device = device
        self.generator = build_generator(config.generator, spec, classes, seed, condition, config.guide.controls)
        if table is not None and (guide := guide_of(self.generator)) is not None:
            guide.table.copy_(table)
        self.generator = self.generator.to(**placement)
        self.critic = build_critic(config.critic, spec, classes, seed, condition, config.guide.controls).to(**placement)
        self.has_dropout = has_dropout(self.generator) or has_dropout(self.critic)
        self.average: nn.Module = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.generator_optimizer = optimizers.build_optimizer(config.optimizer.generator, self.generator)
        self.critic_optimizer = optimizers.build_optimizer(config.optimizer.critic, self.critic)
        self.tally = Tally(device)
        self.counters = Counters()
        self.loaded = 0
        self.networks = {"generator": self.generator, "critic": self.critic, "average": self.average}
        self.optimizers = {"generator": self.generator_optimizer, "critic": self.critic_optimizer}

    def model_tensors(self) -> dict[str, Tensor]:
        """ "generator/layers.0.weight" and so on: weights and buffers of all three networks."""
        networks = self.networks.items()
        return {f"{part}/{name}": value for part, network in networks for name, value in network.state_dict().items()}

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """ "critic/layers.0.weight/exp_avg" and so on."""
        return {
            f"{part}/{name}": value
            for part, optimizer in self.optimizers.items()
            for name, value in optimizers.state_tensors(optimizer, self.networks[part])
        }

    def tensors(self) -> dict[str, list[Tensor]]:
        """All tensors that a step changes, but the EMA, in groups of one magnitude."""
        groups: dict[str, list[Tensor]] = {
            "generator": [*self.generator.parameters()],
            "critic": [*self.critic.parameters()],
            "buffers": [*self.generator.buffers(), *self.critic.buffers()],
        }
        for name, tensor in self.optimizer_tensors().items():
            network, moment = name.partition("/")[0], name.rpartition("/")[2]
            groups.setdefault(f"{network}/{moment}", []).append(tensor)
        for name, tensor in self.tally.sums.items():
            groups[f"tally/{name}"] = [tensor]
        return groups

    def values(self) -> dict[str, Any]:
        """Counters and the partial tally, as JSON values."""
        return {"counters": asdict(self.counters), "tally": self.tally.read()}

    def load(self, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restores model_tensors(), optimizer_tensors() and values(). `runs.checkpoint` has compared names and shapes."""
        for part, network in self.networks.items():
            network.load_state_dict(_part(model, part), strict=True)
        for part, owner in self.optimizers.items():
            optimizers.load_state_tensors(owner, self.networks[part], _part(optimizer, part))
        self.tally.load({name: tuple(pair) for name, pair in values["tally"].items()})
        self.counters = Counters(**values["counters"])
        self.loaded += 1


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = part + "/"
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
