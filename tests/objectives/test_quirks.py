"""Named quirks of published code, each against what that code computes, written out by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kantor.config.io import resolve
from kantor.config.objective import (
    GradientClipping,
    InterpolatesProbe,
    PenaltyConfig,
    SquaredDrift,
    WeightClipping,
    WganGp,
)
from kantor.config.optimizer import AdamConfig, JumpRate, OverdoseCycle, PiecewiseRate
from kantor.config.training import StepEmaConfig
from kantor.engine import ema
from kantor.engine.schedule import TrainingProgress, learning_rate, steps_in_cycle
from kantor.engine.step_random import StepRandom
from kantor.errors import ConfigError
from kantor.objectives.constraints import clip_gradients, clip_weights, drift
from kantor.objectives.objective import build_objective
from kantor.objectives.penalties import by_columns, input_gradient, points, two_sided
from kantor.types import Batch
from support.commands import exit_of
from support.engine_fakes import CPU, feed, parts

NORMAL = torch.Generator().manual_seed


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=NORMAL(seed), dtype=torch.float64)


# --- penalties --------------------------------------------------------------------------------------------------


def test_normal_interpolation_weights_are_normal() -> None:
    """Fish, as coded: points beyond both ends of the line, with the moments of N(0, 1)."""
    n = 20_000
    uniform = (torch.arange(n) + 0.5) / n
    real, fake = torch.ones(n, 1, 1, 1), torch.zeros(n, 1, 1, 1)
    weights = points(InterpolatesProbe(alpha="normal"), real, fake, uniform).flatten()
    assert weights.mean() == pytest.approx(0, abs=1e-3)
    assert weights.std() == pytest.approx(1, abs=2e-3)
    assert (weights > 1).float().mean() == pytest.approx(0.1587, abs=1e-3)
    assert points(InterpolatesProbe(alpha="normal"), real[:2], fake[:2], torch.tensor([0.0, 1.0])).isfinite().all()


def test_one_weight_a_batch_and_a_minus_sign() -> None:
    """CelebA study, as coded: G (1 - eps) - x eps with one eps."""
    real, fake = normal(3, 2, 4, 5, seed=1), normal(3, 2, 4, 5, seed=2)
    eps = torch.tensor([0.3, 0.9, 0.1], dtype=torch.float64)
    got = points(InterpolatesProbe(alpha="batch", sign="minus"), real, fake, eps)
    torch.testing.assert_close(got, fake * (1 - 0.3) - real * 0.3)


def test_norms_over_the_height_alone() -> None:
    """CelebA study, as coded: axis 1 of [N, H, W, C]."""
    grad = normal(3, 2, 4, 5, seed=3)
    nhwc = grad.permute(0, 2, 3, 1).numpy()
    expected = ((np.sqrt((nhwc**2).sum(axis=1)) - 1) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(by_columns(grad, two_sided).numpy(), expected)
    whole = build_objective(WganGp(penalties={"p": PenaltyConfig(over="columns")})).penalties["p"]
    np.testing.assert_allclose(whole.of(grad).numpy(), expected)


def test_a_slope_of_one_in_zero_to_one_is_half_in_minus_one_to_one() -> None:
    """paper-mnist28: target 0.5 and weight 40 here are target 1 and weight 10 where images lie in [0, 1]."""
    weight = normal(6, seed=4)

    def critic(unit: Tensor) -> Tensor:  # what the paper's code has
        return torch.tanh(unit.flatten(1) @ weight) + (unit.flatten(1) ** 3).sum(1)

    x = normal(4, 1, 2, 3, seed=5).requires_grad_()
    config = resolve("paper-mnist28-wgan-gp").objective
    (penalty,) = build_objective(config).penalties.values()
    mine = penalty.weight * penalty.of(input_gradient(critic((x + 1) / 2), x))
    unit = ((x + 1) / 2).detach().requires_grad_()
    paper = 10 * two_sided(input_gradient(critic(unit), unit))
    torch.testing.assert_close(mine, paper)


def test_a_target_makes_no_sense_for_norm_zero() -> None:
    with pytest.raises(ConfigError, match="always pulls the norm to 0"):
        build_objective(WganGp(penalties={"p": PenaltyConfig(of="zero-centred", target=2.0)}))


# --- drift and bounds -------------------------------------------------------------------------------------------


def test_forms_of_drift() -> None:
    real, fake = normal(5, seed=6), normal(5, seed=7)
    for of, expected in (
        ("mean-real", 0.001 * (real**2).mean()),
        ("mean-both", 0.001 * torch.cat([real, fake]).square().mean()),
        ("half-sum-real", 0.001 * (real**2).sum() / 2),  # TensorFlow's l2_loss
    ):
        torch.testing.assert_close(drift(SquaredDrift(weight=0.001, of=of), real, fake).mean(), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("bound", [0.05, 1e6])
def test_gradients_clipped_as_torch_does(bound: float) -> None:
    tensors = [normal(3, 4, seed=8), normal(7, seed=9)]
    other = [torch.nn.Parameter(torch.zeros_like(t)) for t in tensors]
    for parameter, t in zip(other, tensors, strict=True):
        parameter.grad = t.clone()
    torch.nn.utils.clip_grad_norm_(other, bound)
    clip_gradients(GradientClipping(bound=bound), tensors)
    for parameter, t in zip(other, tensors, strict=True):
        torch.testing.assert_close(t, parameter.grad, rtol=1e-4, atol=0)


def test_kernels_alone_are_clipped() -> None:
    kernel, gain = torch.full((2, 2, 3, 3), 9.0), torch.full((2,), 9.0)
    clip_weights(WeightClipping(bound=0.01, scope="kernels"), [kernel, gain])
    assert kernel.max() == pytest.approx(0.01)
    assert gain.min() == 9


def test_clipped_before_the_step() -> None:
    """The generator then meets weights one step out of bounds: RMSProp's first step is lr / sqrt(1 - alpha)."""
    fields = {"critic.norm": "none", "objective.constraint.bound": 0.01}
    state, steps = parts("wgan", fields, {"objective.constraint.when": "before"})
    real, random = feed().take(4), StepRandom(0, 0, 0, CPU)
    before = copy.deepcopy(state.critic)
    with torch.no_grad():
        for parameter in before.parameters():
            parameter.clamp_(-0.01, 0.01)
    (fake,) = steps.fakes(state, [real], random, 0)
    loss = before(fake).mean() - before(real.images).mean()
    optimizer = torch.optim.RMSprop(before.parameters(), 5e-5, 0.99)
    loss.backward()
    optimizer.step()
    steps.critic_step(state, real, fake, random, 0)
    for mine, plain in zip(state.critic.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=2e-7)
    largest = max(float(p.detach().abs().max()) for p in state.critic.parameters())
    assert 0.01 < largest <= 0.01 + 5e-5 / 0.1 * 1.01  # lr / sqrt(1 - alpha)


def test_split_updates() -> None:
    """Colour WGAN, as coded: a step on real images, clipped, then one on generated ones, clipped."""
    fields = {"critic.norm": "none", "cycle.split_updates": True, "objective.constraint.scope": "kernels"}
    state, steps = parts("wgan", fields, {"optimizer.critic.lr": 0.01, "critic.init": "he"})
    real, random = feed().take(4), StepRandom(0, 0, 0, CPU)
    plain = copy.deepcopy(state.critic)
    (fake,) = steps.fakes(state, [real], random, 0)
    steps.critic_step(state, real, fake, random, 0)
    optimizer = torch.optim.RMSprop(plain.parameters(), 0.01, 0.99)
    found = []
    for images, sign in ((real.images, -1), (fake, 1)):
        optimizer.zero_grad()
        scores = plain(images)
        (sign * scores).mean().backward()
        optimizer.step()
        found.append(float(scores.detach().mean()))
        with torch.no_grad():
            for parameter in plain.parameters():
                if parameter.ndim == 4:
                    parameter.clamp_(-0.01, 0.01)
    for mine, other in zip(state.critic.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    tally = {name: total / count for name, (total, count) in state.tally.read().items()}
    assert tally["critic_real"] == pytest.approx(found[0], rel=1e-4)
    assert tally["critic_fake"] == pytest.approx(found[1], rel=1e-4)
    assert tally["critic_loss"] == pytest.approx(found[1] - found[0], rel=1e-3)


# --- cycles -----------------------------------------------------------------------------------------------------


class Watched:
    """What each step of a cycle was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
        self.state, self.steps = parts("wgan-gp", fields)
        self.feed, self.real, self.fake, self.z = feed(), [], [], []  # type: ignore[var-annotated]
        critic_step, generator_step = self.steps.critic_step, self.steps.generator_step

        def critic(state: Any, real: Batch, fake: Tensor, *more: Any) -> None:
            self.real.append(real.images.clone())
            self.fake.append(fake.clone())
            critic_step(state, real, fake, *more)

        def generator(state: Any, real: Batch, *more: Any) -> None:
            hook = state.generator.register_forward_pre_hook(lambda _, given: self.z.append(given[0].clone()))
            generator_step(state, real, *more)
            hook.remove()

        monkeypatch.setattr(self.steps, "critic_step", critic)
        monkeypatch.setattr(self.steps, "generator_step", generator)
        self.steps.cycle(self.state, self.feed)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_new_images_for_each_critic_step(monkeypatch: pytest.MonkeyPatch, norm: str) -> None:
    seen = Watched(monkeypatch, {"cycle.critic_steps": 3, "generator.norm": norm})
    assert seen.feed.position == seen.state.counters.images_seen == 12
    assert not torch.equal(seen.real[0], seen.real[1])


def test_one_real_batch_for_all_critic_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Watched(monkeypatch, {"cycle.critic_steps": 3, "cycle.reuse": "images", "generator.norm": "none"})
    assert seen.feed.position == seen.state.counters.images_seen == 4  # it counts once
    assert torch.equal(seen.real[0], seen.real[2])
    assert not torch.equal(seen.fake[0], seen.fake[1])


def test_one_batch_and_its_latents_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"cycle.critic_steps": 3, "cycle.reuse": "everything", "generator.norm": "none"}
    seen = Watched(monkeypatch, fields)
    assert seen.state.counters.images_seen == 4
    assert torch.equal(seen.real[0], seen.real[2])
    assert torch.equal(seen.fake[0], seen.fake[2])
    state, _ = parts("wgan-gp", fields)  # the generator's step has the latents of the critic's
    torch.testing.assert_close(state.generator(seen.z[0]), seen.fake[0])


@pytest.mark.parametrize(("count", "expected"), [(0, 4), (8, 8), (3, 3)])
def test_images_in_a_generator_step(monkeypatch: pytest.MonkeyPatch, count: int, expected: int) -> None:
    seen = Watched(
        monkeypatch, {"cycle.generator_batch": count, "objective.kind": "relativistic", "critic.norm": "none"}
    )
    assert [len(z) for z in seen.z] == [expected]
    assert all(len(fake) == 4 for fake in seen.fake)


def test_overdose_counted_in_epochs_as_on_celeba() -> None:
    """24 generator steps take 2,400 of 3,166 batches of the first epoch, which so reaches 177; later ones some 614."""
    config, batches = OverdoseCycle(first_cycles=24, counted="epoch"), 202_599 // 64
    done, shown = [], 0
    for epoch in range(3):
        cycles, left = 0, batches
        while left > 0:
            critic_steps, _ = steps_in_cycle(config, sum(done) + cycles, epoch, cycles)
            left, cycles = left - critic_steps, cycles + 1
            shown += critic_steps == 100
        done.append(cycles)
    assert done == [177, 614, 614]
    assert shown == 24 + 0 + 1 + 1


def test_cycles_of_an_epoch_are_counted() -> None:
    state, steps = parts("wgan-gp", {"cycle": {"kind": "overdose", "counted": "epoch", "critic_steps": 1, "first_cycles": 2,
                                               "overdose_steps": 2, "every_cycles": 3}})  # fmt: skip
    stream, critic_steps = feed(), []  # ten images, four a step
    for _ in range(7):
        before = state.counters.critic_steps
        steps.cycle(state, stream)
        critic_steps.append(state.counters.critic_steps - before)
    # images seen before each cycle: 0, 8, 16, 20, 24, 28, 36 and epochs 0, 0, 1, 2, 2, 2, 3
    assert critic_steps == [2, 2, 1, 1, 1, 2, 1]


# --- rates and averages -----------------------------------------------------------------------------------------


def rates(schedule: Any, epoch: float, count: int = 4000) -> np.ndarray:
    config = AdamConfig(lr=1e-3, schedule=schedule)
    return np.array([learning_rate(config, TrainingProgress(i, 0, epoch, 0.0, 5), "critic") for i in range(count)])


def test_a_random_piece_changes_each_cycle() -> None:
    schedule = PiecewiseRate(until=[10, 20], rates=[1e-4, (6e-5, 2e-5), 2e-5])
    assert set(rates(schedule, 9.9, 3)) == {1e-4}
    assert set(rates(schedule, 20, 3)) == {2e-5}
    sampled = rates(schedule, 10)
    share = (1 / sampled - 1 / 6e-5) * 2e-5  # uniform in the inverse
    assert share.min() >= 0
    assert share.max() <= 1
    assert share.mean() == pytest.approx(0.5, abs=0.02)
    assert share.std() == pytest.approx(12**-0.5, abs=0.01)


def test_rare_jumps_over_random_rates() -> None:
    found = rates(JumpRate(probability=0.1, rate=0.005, low=1e-4), 0)
    jumps = found == 0.005
    assert jumps.mean() == pytest.approx(0.1, abs=0.02)
    share = (1 / found[~jumps] - 1e3) * 1e-4
    assert share.mean() == pytest.approx(0.5, abs=0.02)  # sampled apart from the jumps


def test_per_step_ema() -> None:
    assert ema.decay(StepEmaConfig(decay=0.999), 128, 0) == ema.decay(StepEmaConfig(decay=0.999), 7, 10**6) == 0.999


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "fields", "message"),
    [
        ("wgan-gp", {"cycle.split_updates": True}, "cycle.split_updates"),
        ("wgan", {"objective.l1": 10.0}, "objective.l1"),
        ("default", {"cycle.generator_steps": 2}, "add --set cycle.shared_images=false"),
        ("default", {"cycle.generator_batch": 99}, "add --set cycle.shared_images=false"),
        ("wgan", {"cycle.split_updates": True, "cycle.shared_images": True}, "set one of them to false"),
        ("fish32-as-coded", {"train.micro_batch": 8, "critic.minibatch_stddev": "none"}, "half-sum-real"),
    ],
)
def test_rejected_combinations(
    preset: str, fields: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = fields | {"data.glyphs.count": 40, "data.pack_size": "auto", "data.fit": "cover"}
    sets = [word for name, value in fields.items() for word in ("--set", f"{name}={str(value).lower()}")]
    assert exit_of("train", "--preset", preset, *sets, "--images", 64, "--runs", tmp_path, "--cache", tmp_path) == 2
    assert message in capsys.readouterr().err
