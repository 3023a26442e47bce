"""Steps against the same steps written out in plain torch, with separate passes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from kantor.engine.compiled import Compiler
from kantor.engine.step_random import StepRandom
from support.dispatch import HostWaits
from support.engine_fakes import CPU, copies, feed, parts, same

SGD = {f"optimizer.{network}": {"kind": "sgd", "lr": 0.1} for network in ("critic", "generator")}
ADAM = {
    f"optimizer.{n}": {"kind": "adam", "lr": 0.01, "eps": 1e-3, "betas": (0.5, 0.9)} for n in ("critic", "generator")
}


def plain_step(network: nn.Module, loss: Tensor, fields: dict[str, Any]) -> None:
    parameters = list(network.parameters())
    optimizer: torch.optim.Optimizer = torch.optim.SGD(parameters, 0.1, foreach=False)
    if fields is ADAM:
        optimizer = torch.optim.Adam(parameters, 0.01, (0.5, 0.9), 1e-3, foreach=False)
    loss.backward(inputs=parameters)
    optimizer.step()
    optimizer.zero_grad()


def assert_close(mine: nn.Module, plain: nn.Module, before: nn.Module) -> None:
    for a, b, c in zip(mine.parameters(), plain.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        assert a.ndim < 4 or (a - c).abs().max() > 1e-5  # the last bias has no gradient: it cancels out


def slopes(critic: nn.Module, x: Tensor) -> Tensor:
    """Squared norm of each image's gradient, [N], one image at a time."""
    squares = []
    for image in x.detach().split(1):
        point = image.clone().requires_grad_()
        (slope,) = torch.autograd.grad(critic(point)[0], point, create_graph=True)
        squares.append((slope**2).sum())
    return torch.stack(squares)


def latents(random: StepRandom, purpose: str, step: int) -> Tensor:
    seed = random._rng(purpose, step).initial_seed()
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("fields", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_wgan_gp_step_by_hand(fields: dict[str, Any]) -> None:
    state, steps = parts("wgan-gp", fields, {"critic.norm": "none", "critic.init": "he"})
    real, random = feed().take(4), StepRandom(0, 3, 0, CPU)
    generator, critic, before = (copy.deepcopy(n) for n in (state.generator, state.critic, state.critic))
    steps.critic_step(state, real, *steps.fakes(state, [real], random, 2), random, 2)

    fake = generator(latents(random, "critic-latents", 2)).detach()
    u = torch.rand(4, generator=random._rng("interpolation", 2)).view(4, 1, 1, 1)
    norms = slopes(critic, u * real.images + (1 - u) * fake).sqrt()
    real_scores, fake_scores = critic(real.images), critic(fake)
    penalty = 10 * ((norms - 1) ** 2).mean()
    plain_step(critic, fake_scores.mean() - real_scores.mean() + penalty, fields)
    assert_close(state.critic, critic, before)
    tally = {name: total / count for name, (total, count) in state.tally.read().items()}
    expected = {
        "critic_loss": fake_scores.mean() - real_scores.mean(),
        "critic_real": real_scores.mean(),
        "critic_fake": fake_scores.mean(),
        "penalty/gradient": penalty,
        "gradient_norm/gradient": norms.mean(),
        "skipped_critic": 0.0,
    }
    assert tally == {
        name: pytest.approx(float(torch.as_tensor(value).detach()), rel=1e-4, abs=1e-6)
        for name, value in expected.items()
    }

    generator, before = copy.deepcopy(state.generator), copy.deepcopy(state.generator)
    steps.generator_step(state, real, random, 0, len(real.images))
    loss = -state.critic(generator(latents(random, "generator-latents", 0))).mean()
    plain_step(generator, loss, fields)
    for name in ("layers.0.weight", "layers.2.weight"):  # a bias before batch norm has no gradient but rounding
        mine, plain, old = (n.state_dict()[name] for n in (state.generator, generator, before))
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-6)
        assert not torch.equal(mine, old)
        assert torch.equal(state.average.state_dict()[name], mine)  # this preset has no running average


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("only", ["both", "r1", "r2"])
@pytest.mark.parametrize("fields", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_relativistic_step_by_hand(fields: dict[str, Any], only: str, share: float) -> None:
    """R1 and R2 every fourth step at four times the weight, on the whole batch or its first half; joint passes against separate ones."""
    weights = {name: 0.3 if only in ("both", name) else 0.0 for name in ("r1", "r2")}
    settings = {name: {"weight": weight, "every": 4, "share": share} for name, weight in weights.items()}
    penalties = {f"objective.penalties.{name}.{key}": v for name in settings for key, v in settings[name].items()}
    penalised = round(4 * share)
    state, steps = parts("default", fields, penalties, {"critic.init": "he"})
    random, stream = StepRandom(0, 0, 0, CPU), feed()
    for step in range(5):
        real = stream.take(4)
        generator, critic, before = (copy.deepcopy(n) for n in (state.generator, state.critic, state.critic))
        state.critic_optimizer.state.clear()  # each step on its own
        steps.critic_step(state, real, *steps.fakes(state, [real], random, step), random, step)
        fake = generator(latents(random, "critic-latents", step)).detach()
        loss = softplus(critic(fake) - critic(real.images)).mean()
        if step % 4 == 0:
            loss = loss + 4 * weights["r1"] * slopes(critic, real.images[:penalised]).mean()
            loss = loss + 4 * weights["r2"] * slopes(critic, fake[:penalised]).mean()
        plain_step(critic, loss, fields)
        assert_close(state.critic, critic, before)
    counts = {name: count for name, (_, count) in state.tally.read().items() if name.startswith("penalty/")}
    assert counts == {f"penalty/{name}": 2 for name, weight in weights.items() if weight}

    generator, before, average = (copy.deepcopy(n) for n in (state.generator, state.generator, state.average))
    state.counters.images_seen = 400
    steps.generator_step(state, real, random, 0, len(real.images))
    made = generator(latents(random, "generator-latents", 0))
    plain_step(generator, softplus(state.critic(real.images) - state.critic(made)).mean(), fields)
    assert_close(state.generator, generator, before)
    remains = 0.5 ** (4 / 20)  # the warm-up holds the half-life at a twentieth of 400
    for mine, old, new in zip(*(n.parameters() for n in (state.average, average, generator)), strict=True):
        torch.testing.assert_close(mine, remains * old + (1 - remains) * new, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("preset", "passes"), [("default", [8]), ("dcgan", [4, 4]), ("wgan-gp", [8, 4])])
def test_one_pass_unless_the_critic_mixes_the_batch(preset: str, passes: list[int]) -> None:
    state, steps = parts(preset, SGD)
    real, random, seen = feed().take(4), StepRandom(0, 0, 0, CPU), []
    critic, generator = copy.deepcopy(state.critic), copy.deepcopy(state.generator)
    state.critic.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    steps.critic_step(state, real, *steps.fakes(state, [real], random, 0), random, 0)
    assert seen == passes
    fake = generator(random.latents("critic-latents", 0, 4, steps.config.generator)).detach()
    for name, images in (("critic_real", real.images), ("critic_fake", fake)):
        assert state.tally.read()[name][0] == pytest.approx(critic(images).mean().item(), rel=1e-4, abs=1e-6)


SHARED = {"cycle.shared_images": True}


@pytest.mark.parametrize("critic_steps", [1, 2])
def test_a_cycle_on_shared_images_by_hand(critic_steps: int) -> None:
    """The generator's step is on the images and real scores of the last critic step, and through the critic after it."""
    fields = {"cycle.critic_steps": critic_steps, "critic.init": "he", **SHARED, **SGD}
    state, steps = parts("default", fields, {"objective.penalties.r1.every": 1, "objective.penalties.r2.weight": 0.0})
    generator, critic, old_generator, old_critic = (
        copy.deepcopy(n) for n in (state.generator, state.critic, state.generator, state.critic)
    )
    random, stream = StepRandom(0, 0, 0, CPU), feed()
    reals = [stream.take(4).images for _ in range(critic_steps)]
    steps.cycle(state, feed())
    for step, real in enumerate(reals):
        made = generator(latents(random, "critic-latents", step))
        scores = critic(real).detach()
        loss = softplus(critic(made.detach()) - critic(real)).mean() + 0.5 * slopes(critic, real).mean()
        plain_step(critic, loss, SGD)
    plain_step(generator, softplus(scores - critic(made)).mean(), SGD)
    assert_close(state.critic, critic, old_critic)
    assert_close(state.generator, generator, old_generator)
    counters = state.counters
    assert (counters.cycle, counters.critic_steps, counters.generator_steps) == (1, critic_steps, 1)
    assert counters.images_seen == 4 * critic_steps


CLIPPED = {"objective.constraint": {"kind": "weight-clipping", "bound": 0.05, "when": "before"}, "critic.init": "he"}


@pytest.mark.parametrize("separate", ["micro_batch", "compiled"])
@pytest.mark.parametrize(
    ("preset", "more"),
    [
        ("default", {}),
        ("default", CLIPPED),
        ("default", {"cycle.reuse": "everything"}),
        ("default", {"train.augment": 1.0}),
        ("wgan-gp", {}),
        ("wgan-gp", {"objective.kind": "dragan"}),
        ("wgan-gp", {"generator.norm": "batch"}),
    ],
    ids=["default", "clipped before", "reuse", "augment", "wgan-gp", "dragan", "batch norm"],
)
def test_shared_images_in_separate_passes_take_the_same_steps(preset: str, more: dict[str, Any], separate: str) -> None:
    fields = {"generator.norm": "pixel", "critic.norm": "none", "cycle.critic_steps": 2, **SHARED, **SGD, **more}
    if fields["generator.norm"] == "batch" and separate == "micro_batch":
        pytest.skip("refused")
    at_once, steps = parts(preset, fields)
    apart, separate_steps = parts(preset, fields, {"train.micro_batch": 4} if separate == "micro_batch" else {})
    if separate == "compiled":
        separate_steps = replace(separate_steps, compiler=Compiler(lambda graph: graph))
    for state, taken in ((at_once, steps), (apart, separate_steps)):
        stream = feed()
        for _ in range(2):
            taken.cycle(state, stream)
    for name, value in at_once.model_tensors().items():
        torch.testing.assert_close(apart.model_tensors()[name], value, rtol=1e-4, atol=1e-6)
    assert apart.counters == at_once.counters
    assert {n: c for n, (_, c) in apart.tally.read().items()} == {n: c for n, (_, c) in at_once.tally.read().items()}


def test_a_cycle_on_shared_images_with_dropout_depends_on_its_own_seeds_alone() -> None:
    fields = {**SHARED, "critic.dropout": 0.5, "critic.init": "he"}
    (state, steps), (again, other_steps) = parts("default", fields), parts("default", fields)
    stream = feed()
    steps.cycle(state, stream)
    model, optimizer = copies(state.model_tensors()), copies(state.optimizer_tensors())
    again.load(model, optimizer, copy.deepcopy(state.values()))
    stream_again = feed()
    stream_again.take(4)
    steps.cycle(state, stream)
    other_steps.cycle(again, stream_again)
    assert same(state.model_tensors(), again.model_tensors())


def test_counters_of_a_cycle() -> None:
    state, steps = parts("wgan-gp", {"cycle.critic_steps": 3, "cycle.generator_steps": 2})
    stream, counters = feed(), state.counters
    for n in (1, 2):
        steps.cycle(state, stream)
        assert (counters.cycle, counters.images_seen, counters.critic_steps, counters.generator_steps) == (
            n,
            12 * n,
            3 * n,
            2 * n,
        )
    assert stream.position == 24
    assert state.tally.read()["skipped_critic"][1] + state.tally.read()["skipped_generator"][1] == 10


@pytest.mark.parametrize(
    "preset, fields",
    [
        ("default", {}),
        ("default", {"train.augment": 0.5}),
        ("wgan", {}),
        ("wgan-gp", {}),
        ("dcgan", {}),
        ("default", {"critic.minibatch_stddev": 2, "critic.dropout": 0.5, "objective.kind": "dragan"}),
        ("wgan-gp", {"generator.kind": "resnet", "critic.kind": "resnet", "optimizer.critic.kind": "sgd"}),
        ("wgan", {"cycle.split_updates": True, "objective.constraint.when": "before", "cycle.generator_batch": 6}),
        ("wgan", {"objective.constraint.kind": "gradient-clipping", "cycle.reuse": "everything"}),
        ("default", {"cycle.shared_images": True, "objective.kind": "dragan"}),
        (
            "wgan-gp",
            {"objective.penalties.gradient.at.alpha": "normal", "objective.penalties.gradient.over": "columns"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_cycle_never_waits_for_the_device(preset: str, fields: dict[str, Any], precision: str) -> None:
    state, steps = parts(preset, fields, precision=precision)
    stream = feed(mirror=True)
    with HostWaits() as waits:
        for _ in range(2):
            steps.cycle(state, stream)
        assert waits.found == []


def test_host_waits_are_seen() -> None:
    x = torch.arange(4.0)
    waiting = {
        "_local_scalar_dense": lambda: float(x.sum()),
        "nonzero": lambda: x.nonzero(),
        "index": lambda: x[x > 1],
        "masked_select": lambda: x.masked_select(x > 1),
    }
    for name, call in waiting.items():
        with HostWaits() as waits:
            call()
        assert name in waits.found
    with HostWaits() as waits:
        _ = x[torch.tensor([1, 2])], x.sum() * 2, torch.where(x > 1, x, 0.0)
    assert waits.found == []


def test_images_for_several_critic_steps_are_generated_at_once() -> None:
    """The same images as one by one, unless the generator mixes a batch; never more than some at once."""
    for norm, passes in (("pixel", [12, 4]), ("batch", [4, 4, 4, 4])):
        state, steps = parts("wgan-gp", {"cycle.critic_steps": 3, "generator.norm": norm})
        seen: list[int] = []
        single = copy.deepcopy(state.generator)
        state.generator.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(len(inputs[0])))
        shown: list[Tensor] = []

        def note(*args: Any, inner: Any = steps.critic_step, shown: Any = shown) -> None:
            shown.append(args[2])
            inner(*args)

        steps.critic_step = note  # type: ignore[method-assign]
        steps.cycle(state, feed())
        assert seen == passes
        for step, fake in enumerate(shown):
            z = StepRandom(0, 0, 0, CPU).latents("critic-latents", step, 4, steps.config.generator)
            torch.testing.assert_close(fake, single(z).detach())
    state, steps = parts("wgan-gp", {"generator.norm": "pixel", "train.batch": 300})
    assert steps._critic_steps_at_once(state) == 1


@pytest.mark.parametrize("penalties", [{"r1": "real"}, {"r2": "fake"}, {"r1": "real", "r2": "fake"}], ids=str)
def test_passes_leave_their_inputs_alone(penalties: dict[str, str]) -> None:
    """No input begins to require a gradient, not even one whose penalty is taken on the very batch."""
    fields = {"objective.penalties": {name: {"at": {"kind": kind}} for name, kind in penalties.items()}}
    state, steps = parts("wgan-gp", {"objective.kind": "relativistic", "critic.norm": "none", **fields})
    real, random = feed().take(4), StepRandom(0, 0, 0, CPU)
    (fake,) = steps.fakes(state, [real], random, 0)
    before = real.images.clone(), fake.clone()
    steps.critic_step(state, real, fake, random, 0)
    steps.generator_step(state, real, random, 0, 4)
    assert not real.images.requires_grad and not fake.requires_grad
    assert torch.equal(real.images, before[0]) and torch.equal(fake, before[1])


def test_r2_on_images_generated_at_once() -> None:
    """A part of a larger batch is what a gradient is taken with respect to."""
    fields = {"cycle.critic_steps": 3, "objective.penalties.r1.weight": 0.0, "critic.minibatch_stddev": 2}
    state, steps = parts("default", fields, {"objective.penalties.r2.every": 1})
    steps.cycle(state, feed())
    total, count = state.tally.read()["gradient_norm/r2"]
    assert count == 3 and total > 0


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 9])
@pytest.mark.parametrize("preset", ["wgan-gp", "default", "dragan"])
def test_micro_batches_take_the_same_step(preset: str, micro_batch: int) -> None:
    """Seven images in parts, the last of them smaller, against all at once."""
    fields = {"generator.norm": "pixel", "critic.norm": "none", "train.batch": 7, **SGD}
    if preset == "dragan":
        preset, fields = "wgan-gp", fields | {"objective.kind": "dragan"}
    whole, steps = parts(preset, fields)
    split, in_parts = parts(preset, fields, {"train.micro_batch": micro_batch})
    steps.cycle(whole, feed())
    in_parts.cycle(split, feed())
    for name, value in whole.model_tensors().items():
        torch.testing.assert_close(split.model_tensors()[name], value, rtol=1e-4, atol=1e-6)
    tally = whole.tally.read()
    for name, (total, count) in split.tally.read().items():
        assert count == tally[name][1]
        assert total == pytest.approx(tally[name][0], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("critic", [{}, {"critic.minibatch_stddev": "batch"}], ids=["one pass", "a pass for each"])
def test_penalties_on_shares_of_a_batch(critic: dict[str, Any]) -> None:
    """Interpolates on half of the images and R1 on a quarter, each against its formula."""
    penalties = {
        "gradient": {"share": 0.5},
        "r1": {"at": {"kind": "real"}, "of": "zero-centred", "weight": 0.5, "share": 0.25},
    }
    state, steps = parts(
        "wgan-gp", {"critic.norm": "none", "critic.init": "he", "objective.penalties": penalties, **critic}
    )
    rows = []
    state.critic.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    real, random = feed().take(8), StepRandom(0, 0, 0, CPU)
    plain = copy.deepcopy(state.critic)
    (fake,) = steps.fakes(state, [real], random, 0)
    steps.critic_step(state, real, fake, random, 0)
    u = random.uniform("interpolation", 0, (8,)).view(8, 1, 1, 1)
    found = {name: total for name, (total, _) in state.tally.read().items()}
    if critic:
        assert rows == [8, 8, 4, 2]
        return
    assert rows == [16, 6]
    norms = slopes(plain, (u * real.images + (1 - u) * fake)[:4]).sqrt()
    assert found["penalty/gradient"] == pytest.approx(10 * (norms - 1).square().mean().item(), rel=1e-4)
    assert found["penalty/r1"] == pytest.approx(0.5 * slopes(plain, real.images[:2]).mean().item(), rel=1e-4)


@pytest.mark.parametrize(("batch", "pixels", "times"), [(6, 1, 1), (6, 1 << 20, 0), (0, 1, 0)])
def test_a_generator_step_on_many_more_pixels_returns_memory_first(
    batch: int, pixels: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, steps = parts("wgan", {"cycle.generator_batch": batch})
    returned: list[int] = []
    monkeypatch.setattr("kantor.engine.steps.return_memory", lambda: returned.append(state.counters.generator_steps))
    monkeypatch.setattr("kantor.engine.steps.MANY_PIXELS", pixels)
    steps.cycle(state, feed())
    assert returned == [0] * times
