"""FreezeD: the critic's first layers, counted from the image, stay as they are, and all else is as if nothing were frozen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kantor.config.io import resolve
from kantor.engine import optimizers
from kantor.engine.compiled import Compiler, Kernel
from kantor.engine.cuda_graphs import Recorder
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.errors import ConfigError
from kantor.nets import build_critic, freeze
from kantor.types import ImageSpec
from support.engine_fakes import CPU, SPEC, feed, parts, same
from support.tape import Tape

CYCLES = 6
STACK: dict[str, Any] = {
    "critic": {"kind": "stack", "layers": [{"width": 4, "stride": 2}, {"width": 4}, {"width": 4, "stride": 2}]}
}
WAYS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [  # preset, fields, the layer that is frozen
    ("wgan-gp", {}, ("layers.0", "norms.0")),
    ("wgan-gp", {"critic.kind": "upsampling"}, ("picture",)),
    ("wgan-gp", {"critic.kind": "resnet"}, ("picture",)),
    ("wgan-gp", {"critic.kind": "resnet", "critic.first": "block", "critic.norm": "none"}, ("picture",)),
    ("wgan-gp", STACK, ("layers.0",)),
    ("wgan-gp", {"critic.kind": "channels"}, ("stems",)),
    ("wgan-gp", {"critic.equalised": True}, ("layers.0", "norms.0")),
    ("default", {"train.augment": 1.0}, ("layers.0", "norms.0")),
    ("default", {"train.micro_batch": 2, "objective.penalties.r1.every": 2}, ("layers.0", "norms.0")),
    ("wgan", {"optimizer.critic.lr": 0.05}, ("layers.0", "norms.0")),  # its weights are clipped
    ("dcgan", {"critic.activated_score": True}, ("layers.0", "norms.0")),
]  # fmt: skip


def frozen(name: str, layer: tuple[str, ...]) -> bool:
    return name.startswith(tuple(f"{prefix}." for prefix in layer))


def after(state: State, steps: Steps) -> dict[str, Tensor]:
    stream = feed()
    for _ in range(CYCLES):
        steps.cycle(state, stream)
    return state.critic.state_dict()


@pytest.mark.parametrize(("preset", "fields", "layer"), WAYS, ids=str)
def test_frozen_layers_stay_and_the_rest_moves(preset: str, fields: dict[str, Any], layer: tuple[str, ...]) -> None:
    state, steps = parts(preset, fields, {"critic.freeze": 1})
    before = {name: value.clone() for name, value in state.critic.state_dict().items()}
    now = after(state, steps)
    kept = [name for name in before if frozen(name, layer)]
    assert kept
    assert all(torch.equal(now[name], before[name]) for name in kept)
    weights = [name for name, _ in state.critic.named_parameters() if name not in kept and not name.endswith("bias")]
    assert weights
    assert all(not torch.equal(now[name], before[name]) for name in weights)
    assert not any(
        frozen(name.rpartition("/")[0], layer)
        for name, _ in optimizers.state_tensors(state.critic_optimizer, state.critic)
    )


@pytest.mark.parametrize(("preset", "fields", "layer"), WAYS, ids=str)
def test_steps_are_those_of_weights_without_gradients(
    preset: str, fields: dict[str, Any], layer: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses, gradients and all networks, beside the plain way: requires_grad is false for these weights, and nothing else is done."""
    state, steps = parts(preset, fields, {"critic.freeze": 1})
    stream, other_stream = feed(), feed()

    def by_hand(network: nn.Module, count: int) -> None:
        for name, weight in network.named_parameters():
            weight.requires_grad_(not frozen(name, layer))

    monkeypatch.setattr("kantor.nets.freeze", by_hand)
    reference, _ = parts(preset, fields)
    for _ in range(CYCLES):
        steps.cycle(state, stream)
        steps.cycle(reference, other_stream)
        assert state.values() == reference.values()  # losses, penalties, norms of gradients
    assert same(state.model_tensors(), reference.model_tensors())


def test_batch_norm_of_a_frozen_layer_keeps_its_statistics() -> None:
    """And still normalises by the batch, so that the losses are those of any other run."""
    ways = {"critic.width": 8}
    spec = ImageSpec(32, 32, 3)
    state, steps = parts("dcgan", ways, {"critic.freeze": 2}, spec=spec)
    before = {name: value.clone() for name, value in state.critic.state_dict().items()}
    assert any("norms.1.running_mean" in name for name in before)
    stream = feed(spec)
    for _ in range(CYCLES):
        steps.cycle(state, stream)
    now = state.critic.state_dict()
    moved = {name for name in now if not torch.equal(now[name], before[name])}
    assert not any(frozen(name, ("layers.0", "layers.1", "norms.0", "norms.1")) for name in moved)
    assert {"norms.2.running_mean", "norms.2.num_batches_tracked", "layers.2.weight"} <= moved
    images = torch.randn(4, *spec[2:], *spec[:2])
    free = build_critic(resolve("dcgan", overrides=ways).critic, spec)
    free.load_state_dict(before)
    state.critic.load_state_dict(before)
    torch.testing.assert_close(state.critic(images), free(images))


@pytest.mark.parametrize(
    "fields", [{}, {"critic.kind": "resnet"}, {"objective.kind": "wgan", "objective.penalties": {}}], ids=str
)
def test_compiled_and_recorded_steps_are_the_same(fields: dict[str, Any]) -> None:
    def traced(graph: torch.fx.GraphModule) -> Kernel:
        return graph

    fields = {**fields, "critic.freeze": 1, "generator.norm": "pixel"}
    notes: list[str] = []
    found = []
    for using in ({}, {"compiler": Compiler(traced, note=notes.append)}, {"recorder": Recorder(Tape(), notes.append)}):
        state, steps = parts("wgan-gp", fields)
        after(state, replace(steps, **using))  # type: ignore[arg-type]
        found.append(state)
    assert notes == []
    for state in found[1:]:
        assert same(state.model_tensors(), found[0].model_tensors())


def test_a_step_takes_fewer_gradients() -> None:
    state, _ = parts("wgan-gp", {"critic.freeze": 1})
    whole, _ = parts("wgan-gp")
    assert len(optimizers.trained(state.critic)) == len(optimizers.trained(whole.critic)) - 2


@pytest.mark.parametrize("condition", [0, 1])
def test_more_layers_than_there_are(condition: int) -> None:
    config = resolve("wgan-gp", overrides={"critic.freeze": 3})
    with pytest.raises(
        ConfigError, match=r"critic\.freeze = 3: this critic has 2 layers before its score; choose at most 2"
    ):
        build_critic(config.critic, SPEC, condition=condition)
    build_critic(config.critic, SPEC._replace(height=32, width=32))


def test_a_critic_of_pairs_is_frozen_too() -> None:
    config = resolve("wgan-gp", overrides={"critic.freeze": 1})
    critic = build_critic(config.critic, SPEC, condition=1)
    assert [name for name, weight in critic.named_parameters() if not weight.requires_grad] == [
        "network.layers.0.weight", "network.layers.0.bias",
    ]  # fmt: skip


def test_a_resumed_state_is_frozen(tmp_path: Any) -> None:
    state, steps = parts("wgan-gp", {"critic.freeze": 1})
    after(state, steps)
    again = State(steps.config, SPEC, 0, CPU)
    again.load(state.model_tensors(), state.optimizer_tensors(), state.values())
    assert same(again.optimizer_tensors(), state.optimizer_tensors())
    assert len(optimizers.trained(again.critic)) < len([*again.critic.parameters()])


def test_a_custom_critic_is_frozen_in_the_order_of_its_parts() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
            self.score = nn.Linear(4, 1)

    critic = Own()
    freeze(critic, 2)
    assert [name for name, weight in critic.named_parameters() if weight.requires_grad] == [
        "body.3.weight", "body.3.bias", "score.weight", "score.bias",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="this critic has 3 layers before its score; choose at most 3"):
        freeze(critic, 4)
