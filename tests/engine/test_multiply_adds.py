"""How much work a step does, counted exactly from the operators that are run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kantor.engine.state import State
from kantor.engine.step_random import StepRandom
from kantor.engine.steps import Steps
from kantor.nets import double_backward, ops, pixel_norm
from kantor.types import Batch
from support.dispatch import MultiplyAdds
from support.engine_fakes import BATCH, LARGE, feed, large


@pytest.fixture(autouse=True)
def no_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are exact without them (a block at the edge of an image reaches over it), and without means by products."""
    monkeypatch.setattr(pixel_norm, "_FEW_CHANNELS", 0)
    for module in (ops, double_backward):
        monkeypatch.setattr(module, "better_as_blocks", lambda *_: False)


def counted(call: Any, *args: Any) -> int:
    with MultiplyAdds() as work:
        call(*args)
    return work.total


def of_layers(network: nn.Module, *args: Any) -> list[int]:
    """Multiply-adds of each convolution in one forward pass over a batch, in the order in which they are met."""
    found: list[int] = []

    def note(layer: nn.Conv2d, inputs: Any, output: torch.Tensor) -> None:
        found.append(output.numel() * layer.weight[0].numel())

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, nn.Conv2d)]  # type: ignore[arg-type]
    network(*args)
    for hook in hooks:
        hook.remove()
    return found


def critic_step(state: State, steps: Steps, real: Batch, random: StepRandom) -> int:
    (fake,) = steps.fakes(state, [real], random, 0)
    return counted(steps.critic_step, state, real, fake, random, 0)


def test_a_wgan_gp_critic_step_is_ten_forward_passes_and_twelve_with_stock_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, steps, real, random = large("wgan-gp")
    layers = of_layers(state.critic, real.images)
    f, first, score = sum(layers), layers[0], layers[-1]
    assert f == counted(state.critic, real.images)
    ours = critic_step(state, steps, real, random)
    # real and fake: 2F + 2F for the weights + 2F for the inputs, but for the images themselves; interpolates: F, their
    # gradient F, and of the penalty on it F through the layers below the score and F for the weights
    assert ours == 10 * f - 2 * first - score
    monkeypatch.setattr(ops, "_differentiated", lambda *_: False)
    stock = critic_step(state, steps, real, random)
    # and once more through the interpolates, for zeros: weights and inputs of all layers below the score
    assert stock == 12 * f - 3 * first - 2 * score
    assert stock / ours > 1.18


@pytest.mark.parametrize("kind", ["upsampling", "resnet"])
def test_other_critics_without_a_norm_do_as_little_work(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state, steps, real, random = large("wgan-gp", critic__kind=kind, critic__norm="none")
    f = sum(of_layers(state.critic, real.images))
    assert 9.5 * f < critic_step(state, steps, real, random) < 10 * f
    monkeypatch.setattr(ops, "_differentiated", lambda *_: False)
    assert 11.3 * f < critic_step(state, steps, real, random) < 12 * f


def test_lazy_penalties_cost_a_fraction() -> None:
    state, steps, real, random = large("default")
    every = steps.config.objective.penalties["r1"].every
    layers = of_layers(state.critic, real.images)
    f, first, score = sum(layers), layers[0], layers[-1]
    work = [critic_step(state, steps, real, random) for _ in range(2 * every)]
    plain = 6 * f - 2 * first
    # on the scores at hand: their gradient 2F, of the penalty on it 2F through the layers and 2F for the weights
    assert work == ([plain + 6 * f - 2 * score] + [plain] * (every - 1)) * 2
    share = (sum(work) / len(work) - plain) / plain
    assert every == 8 and share < 0.14


def test_a_single_penalty_differentiates_its_own_images_only() -> None:
    state, steps, real, random = large("default", objective__penalties__r2__weight=0.0)
    layers = of_layers(state.critic, real.images)
    f, first, score = sum(layers), layers[0], layers[-1]
    assert critic_step(state, steps, real, random) == 6 * f - 2 * first + 3 * f - score


@pytest.mark.parametrize("preset", ["wgan-gp", "default"])
def test_a_generator_step_computes_no_unused_gradients(preset: str) -> None:
    state, steps, real, random = large(preset, generator__kind="upsampling", generator__norm="pixel")
    z = random.latents("generator-latents", 0, BATCH, steps.config.generator)
    generator, critic = counted(state.generator, z), counted(state.critic, real.images)
    base = BATCH * state.generator.base.weight.numel()  # type: ignore[operator, union-attr]
    needs_real = steps.objective.generator_needs_real
    modulation = getattr(state.generator, "modulation", None)
    linear = 0 if modulation is None else BATCH * modulation.linear.weight.numel()  # type: ignore[union-attr, operator]
    # no gradient of latents, none of critic's weights
    expected = 3 * generator - base - linear + 2 * critic + needs_real * critic
    assert counted(steps.generator_step, state, real, random, 0, BATCH) == expected


def test_a_cycle_on_shared_images_saves_a_pass_of_each_network() -> None:
    def work(shared: bool) -> tuple[int, int]:
        state, steps, real, random = large("default", cycle__shared_images=shared, generator__kind="upsampling")
        z = random.latents("generator-latents", 0, BATCH, steps.config.generator)
        passes = counted(state.generator, z) + counted(state.critic, real.images)
        stream = feed(LARGE)
        return counted(steps.cycle, state, stream), passes

    (fewer, passes), (more, _) = work(True), work(False)
    assert more - fewer == passes
