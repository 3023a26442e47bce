"""Differentiable augmentation: each image against plain slicing, and steps on changed images."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from kantor.config.training import TrainConfig
from kantor.engine import passes
from kantor.engine.augment import as_seen, changed, choose_augmentation, sample_changes
from kantor.engine.step_random import StepRandom
from kantor.types import Batch
from support.engine_fakes import CPU, feed, parts

HEIGHT, WIDTH = 6, 10


def changes_of(count: int, step: int = 0, height: int = HEIGHT, width: int = WIDTH, **fields: float) -> Any:
    train = TrainConfig(**{"augment": 1.0, "augment_shift": 0.3, "augment_cutout": 0.5, **fields})
    return sample_changes(train, StepRandom(0, 0, 0, CPU), "augment", step, torch.empty(count, 1, height, width))


def test_images_are_shifted_by_whole_pixels() -> None:
    changes = changes_of(200, augment_cutout=0.0)
    images = torch.randn(200, 3, HEIGHT, WIDTH)
    seen = set()
    for old, new, rows, columns in zip(images, changed(images, changes), changes.rows, changes.columns, strict=True):
        shifts = []
        for matrix, side in ((rows, HEIGHT), (columns, WIDTH)):
            at, to = (int(i[0]) for i in matrix.nonzero(as_tuple=True))
            assert torch.equal(matrix, torch.diag(torch.ones(side - abs(to - at)), to - at))
            shifts.append(to - at)
        seen.add(tuple(shifts))
        expected = np.zeros_like(old)
        down, right = shifts
        source = old.numpy()[:, max(down, 0) : HEIGHT + min(down, 0), max(right, 0) : WIDTH + min(right, 0)]
        expected[:, max(-down, 0) : HEIGHT + min(-down, 0), max(-right, 0) : WIDTH + min(-right, 0)] = source
        assert np.array_equal(new, expected)
    assert seen == {(down, right) for down in range(-2, 3) for right in range(-3, 4)}  # round(6 * 0.3), round(10 * 0.3)


def test_a_part_of_each_image_is_blanked() -> None:
    changes = changes_of(500, augment_shift=0.0)
    images = torch.randn(500, 3, HEIGHT, WIDTH)
    new = changed(images, changes)
    sizes = []
    for old, image in zip(images, new, strict=True):
        hidden = (image == 0).all(0)
        assert torch.equal(image[:, ~hidden], old[:, ~hidden])
        rows, columns = hidden.any(1), hidden.any(0)
        assert torch.equal(hidden, rows[:, None] & columns[None, :])
        sizes.append((int(rows.sum()), int(columns.sum())))
    assert max(sizes) == (3, 5) and min(sizes)[0] < 3  # centred on any pixel, so that a part may lie outside
    assert (new[:, 0] == 0).any(0).all()  # anywhere


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_both_ends_are_blanked_equally_often(length: int) -> None:
    changes = changes_of(20_000, height=8, width=8, augment_shift=0.0, augment_cutout=length / 8)
    hidden = (changes.visible[:, 0] == 0).any(2).double().mean(0)
    assert float((hidden - hidden.flip(0)).abs().max()) < 0.015
    assert float(hidden.min()) > 0


def test_few_images_are_augmented() -> None:
    assert choose_augmentation(200)[0] == choose_augmentation(3_999)[0] == 1.0
    assert choose_augmentation(4_000) == (0.0, "4,000 images, 4,000 or more: enough for the critic without")


def test_l1_is_of_the_unchanged_images() -> None:
    fields = {
        "objective.l1": 3.0,
        "critic.init": "he",
        "objective.penalties.r1.weight": 0.0,
        "cycle.shared_images": False,
    }
    state, steps = parts("default", fields, {"objective.penalties.r2.weight": 0.0, "train.augment": 1.0})
    real, random = feed().take(4), StepRandom(0, 0, 0, CPU)
    z = random.latents("generator-latents", 0, 4, steps.config.generator)
    changes = sample_changes(steps.config.train, random, "augment-generator", 0, real.images)
    assert changes is not None
    inputs = passes.GeneratorInputs(z, real, changes=changes)
    outcome = passes.generator_pass(state.generator, state.critic, steps.objective, "float32", inputs)
    made = state.generator(z)
    difference = state.critic(changed(real.images, changes)) - state.critic(changed(made, changes))
    expected = softplus(difference) + 3.0 * (made - real.images).abs().mean((1, 2, 3))
    torch.testing.assert_close(outcome.values["generator_loss"], expected.detach())


def test_images_are_changed_with_the_probability_given() -> None:
    changes = changes_of(2000, augment=0.25)
    images = torch.ones(2000, 1, HEIGHT, WIDTH)
    unmoved = (changes.rows == torch.eye(HEIGHT)).all(2).all(1) & (changes.columns == torch.eye(WIDTH)).all(2).all(1)
    assert float(unmoved.float().mean()) == pytest.approx(0.75 + 0.25 / 35, abs=0.03)
    whole = (changes.visible == 1).flatten(1).all(1)
    assert float(whole.float().mean()) == pytest.approx(0.75, abs=0.03)
    assert torch.equal(changed(images, changes)[unmoved & whole], images[unmoved & whole])
    assert changes_of(4, augment=0.0) is None


def test_changes_are_linear_and_their_gradient_is_the_adjoint() -> None:
    changes = changes_of(5)
    x, y = torch.randn(5, 2, HEIGHT, WIDTH, requires_grad=True), torch.randn(5, 2, HEIGHT, WIDTH)
    (gradient,) = torch.autograd.grad((changed(x, changes) * y).sum(), x)
    basis = torch.randn_like(x)
    inner = (changed(basis, changes) * y).sum()
    torch.testing.assert_close((gradient * basis).sum(), inner)
    torch.testing.assert_close(changed(x + 2 * basis, changes), changed(x, changes) + 2 * changed(basis, changes))


def test_real_and_generated_images_and_conditions_are_changed_alike() -> None:
    changes = changes_of(4)
    images, fake = torch.randn(4, 3, HEIGHT, WIDTH), torch.randn(4, 3, HEIGHT, WIDTH)
    batch = as_seen(Batch(images, torch.arange(4), images[:, :1]), changes)
    assert torch.equal(batch.images[:, :1], batch.condition)
    torch.testing.assert_close(batch.images - changed(fake, changes), changed(images - fake, changes))
    again = changes_of(4)
    assert all(torch.equal(a, b) for a, b in zip(changes, again, strict=True))
    assert not torch.equal(changes.visible, changes_of(4, step=1).visible)


@pytest.mark.parametrize("shared", [True, False])
def test_a_cycle_with_augmentation_by_hand(shared: bool) -> None:
    fields = {f"optimizer.{network}": {"kind": "sgd", "lr": 0.1} for network in ("critic", "generator")}
    fields |= {"objective.penalties.r1.weight": 0.0, "objective.penalties.r2.weight": 0.0, "critic.init": "he"}
    state, steps = parts("default", fields, {"train.augment": 1.0, "cycle.shared_images": shared})
    generator, critic = copy.deepcopy(state.generator), copy.deepcopy(state.critic)
    random, real = StepRandom(0, 0, 0, CPU), feed().take(4).images
    steps.cycle(state, feed())

    train = steps.config.train
    changes = sample_changes(train, random, "augment", 0, real)
    assert changes is not None
    made = generator(random.latents("critic-latents", 0, 4, steps.config.generator))
    real_scores = critic(changed(real, changes))
    loss = softplus(critic(changed(made.detach(), changes)) - real_scores).mean()
    gradients = torch.autograd.grad(loss, list(critic.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(critic.parameters(), gradients, strict=True):
            parameter -= 0.1 * gradient
    if not shared:
        changes = sample_changes(train, random, "augment-generator", 0, real)
        assert changes is not None
        made = generator(random.latents("generator-latents", 0, 4, steps.config.generator))
        real_scores = critic(changed(real, changes))
    loss = softplus(real_scores.detach() - critic(changed(made, changes))).mean()
    gradients = torch.autograd.grad(loss, list(generator.parameters()))
    for mine, old, gradient in zip(state.generator.parameters(), generator.parameters(), gradients, strict=True):
        torch.testing.assert_close(mine, old - 0.1 * gradient, rtol=1e-4, atol=1e-6)
    for mine, plain in zip(state.critic.parameters(), critic.parameters(), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-6)
