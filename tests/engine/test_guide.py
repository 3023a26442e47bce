"""Training with guided latents: what the networks see, what the loss is, and that a generator learns to obey."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from kantor.config.io import resolve
from kantor.controls import CONTROLS, controls_of, guide_of
from kantor.data.loading.feed import Feed
from kantor.engine import passes
from kantor.engine.compiled import Compiler
from kantor.engine.cuda_graphs import Recorder
from kantor.engine.passes import GeneratorInputs
from kantor.engine.state import State
from kantor.engine.step_random import StepRandom
from kantor.engine.steps import Steps
from kantor.metrics.asked import correlation
from kantor.objectives.objective import build_objective
from kantor.sample.generate import generate_images
from kantor.sample.guided import controls_of_seeds, guided_latents
from kantor.types import Batch, ImageSpec
from support.engine_fakes import CPU, TINY, InMemory, copies, feed, same
from support.painters import Painter, table
from support.tape import Tape

SPEC = ImageSpec(16, 16, 3)
GUIDED = {"guide.controls": [*CONTROLS]}


def guided_parts(preset: str, more: dict[str, Any], spec: ImageSpec = SPEC, weight: float = 1.0) -> tuple[State, Steps]:
    config = resolve(preset, overrides=TINY | GUIDED | more)
    objective = build_objective(config.objective, weight)
    return State(config, spec, 0, CPU, table=table()), Steps(config, objective, "float32", 400)


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        ("default", {}),
        ("default", {"cycle.shared_images": False, "train.augment": 1.0}),
        ("dcgan", {"critic.norm": "batch"}),
        ("wgan-gp", {"generator.kind": "resnet", "critic.kind": "resnet", "critic.norm": "layer"}),
        ("wgan-gp", {"cycle.generator_batch": 8, "train.micro_batch": 2, "generator.norm": "none"}),
        ("wgan", {"critic.norm": "none", "cycle.split_updates": True}),
    ],
)
def test_every_way_to_train_takes_controls(preset: str, more: dict[str, Any]) -> None:
    state, steps = guided_parts(preset, more)
    before, stream = copies(state.model_tensors()), feed()
    for _ in range(3):
        steps.cycle(state, stream)
    after = state.model_tensors()
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert state.tally.read().get("skipped_generator", (0, 0))[0] == 0
    assert torch.equal(after["generator/guide.table"], table()) and torch.equal(after["average/guide.table"], table())
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert any(name.startswith("generator/") for name in changed) and any(
        name.startswith("critic/") for name in changed
    )


def test_the_generator_is_asked_for_the_controls_of_the_real_images() -> None:
    state, steps = guided_parts("default", {})
    real = steps._take(state, feed())
    guide = guide_of(state.generator)
    assert guide is not None and real.controls is not None
    assert torch.equal(real.controls, controls_of(real.images, CONTROLS))
    latents = steps._latents(state, real, StepRandom(0, 0, 0, CPU), "critic-latents", 0)
    assert latents.shape == (4, 4 + 6) and torch.equal(latents[:, 4:], guide.scaled(real.controls))


def test_the_generators_loss_has_the_squared_difference() -> None:
    """Closed form of the term, in standard deviations, and none if the weight is 0."""
    state, steps = guided_parts("default", {})
    painter, real = Painter(), Batch(torch.zeros(4, 3, 16, 16))
    asked = table()[:4] + torch.tensor([0, 0, 0, 0.1, 0, 0])
    real = real._replace(controls=asked)
    fake = painter(painter.guide.scaled(table()[:4]))[:, :, ::2, ::2].contiguous().detach()
    values = {}
    for weight in (0.0, 3.0):
        objective = replace(steps.objective, guide=weight, generator_needs_real=False)
        objective = replace(objective, generator=lambda real, fake: -fake)
        image = fake * painter.scale
        inputs = GeneratorInputs(torch.zeros(4, 10), real)
        outcome = passes.generator_pass_on(image, painter, state.critic, objective, "float32", inputs)
        values[weight] = outcome.values["generator_loss"]
    got, std = controls_of(fake, CONTROLS), table().std(dim=0)
    expected = 3 * ((got - asked) / std).square().mean(dim=1)
    torch.testing.assert_close(values[3.0] - values[0.0], expected, atol=1e-4, rtol=1e-4)
    assert expected.min() > 0.01


def test_the_critic_scores_an_image_by_its_controls() -> None:
    state, _ = guided_parts("wgan-gp", {"critic.norm": "none"})
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    scores = [
        passes.scores_of(state.critic, Batch(images, controls=controls)) for controls in (table()[:4], table()[4:8])
    ]
    assert (scores[0] - scores[1]).abs().min() > 0


def test_resuming_gives_the_same_bits() -> None:
    whole, steps = guided_parts("default", {})
    stream = feed()
    for _ in range(2):
        steps.cycle(whole, stream)
    model, optimizer, values = copies(whole.model_tensors()), copies(whole.optimizer_tensors()), whole.values()
    position = stream.position
    steps.cycle(whole, stream)
    config = steps.config
    again = State(config, SPEC, 0, CPU)  # which takes its table from the checkpoint
    again.load(model, optimizer, values)
    rewound = feed()
    rewound.position = position
    Steps(config, steps.objective, "float32", 400).cycle(again, rewound)
    assert same(whole.model_tensors(), again.model_tensors())


class Squares(InMemory):
    """What the painter paints, by the rows of its table."""

    def __init__(self) -> None:
        super().__init__(SPEC, 512, labelled=False)
        painter = Painter()
        with torch.no_grad():
            images = painter(painter.guide.scaled(table()[:512]))
        self.pixels = generate_like(torch.nn.functional.avg_pool2d(images, 2))


def generate_like(images: torch.Tensor) -> np.ndarray:
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_a_generator_learns_to_do_what_it_is_asked() -> None:
    """Coloured squares, some seconds of training: the place asked for is the place got. It is not if controls are ignored."""
    more = {"generator.width": 8, "critic.width": 8, "train.batch": 32, "guide.controls": ["colour", "place"]}
    config = resolve("default", overrides=TINY | more)
    state = State(config, SPEC, 0, CPU, table=table()[:, :5])
    steps, stream = Steps(config, build_objective(config.objective, 1.0), "float32", 10_000), Feed(Squares(), 7, CPU)
    for _ in range(60):
        steps.cycle(state, stream)
    guide = guide_of(state.generator)
    assert guide is not None
    seeds = range(128)
    z = guided_latents(seeds, config.generator, guide)
    images = generate_images(state.generator.eval(), z)
    got = controls_of(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1, ("colour", "place")).numpy()
    asked = controls_of_seeds(guide, seeds)
    found = [correlation(asked[:, k].astype(np.float64), got[:, k].astype(np.float64))[0] for k in range(5)]
    assert min(found[3:]) > 0.6, found


def test_recorded_and_compiled_steps_take_controls() -> None:
    """Replays and traced passes end where eager steps do: none has a batch's controls built in."""
    more = {"cycle.shared_images": False, "critic.minibatch_stddev": "none", "train.batch": 2}
    ends, tape, notes = [], Tape(), list[str]()
    for how in ({}, {"recorder": Recorder(tape)}, {"compiler": Compiler(lambda graph: graph, note=notes.append)}):
        state, steps = guided_parts("default", more, ImageSpec(8, 8, 3))
        steps, stream = replace(steps, **how), feed(ImageSpec(8, 8, 3))
        for _ in range(6):
            steps.cycle(state, stream)
        ends.append(copies(state.model_tensors()))
    assert tape.replayed and not notes
    assert same(ends[0], ends[1])
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[2][name], value, atol=1e-4, rtol=1e-3, msg=name)
