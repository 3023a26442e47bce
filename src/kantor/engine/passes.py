"""What a step computes before anything is applied: gradients of a loss, in as few passes as the networks allow.

Pure functions: none touches an optimizer, waits for the device or changes an input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kantor.controls import beside_planes, guide_of
from kantor.engine import optimizers
from kantor.engine.augment import Changes, as_seen
from kantor.engine.precision import autocast
from kantor.objectives.constraints import drift
from kantor.objectives.objective import Objective
from kantor.objectives.penalties import GradientPenalty, gradient_norm, input_gradient
from kantor.types import Batch, traits_of

Penalties = Mapping[str, GradientPenalty]


class CriticInputs(NamedTuple):
    """What the critic is trained on.

    Attributes:
        fake: generated images [N, C, H, W], as many as real ones.
        points: where the gradient is taken, [N, C, H, W], by penalty, but for those on a batch itself.
    """

    real: Batch
    fake: Tensor
    points: dict[str, Tensor]


class GeneratorInputs(NamedTuple):
    """What the generator is trained on: latents [N, D], and as many real images, whose labels and condition it is given.

    Attributes:
        real_scores: of the real images as the critic sees them, float32 [N], where they are known; else None.
        changes: with which the critic sees real and generated images; None if there are none.
    """

    latents: Tensor
    real: Batch
    real_scores: Tensor | None = None
    changes: Changes | None = None


class GenerationInputs(NamedTuple):
    """What images are generated from."""

    latents: Tensor
    labels: Tensor | None
    condition: Tensor | None


class Outcome(NamedTuple):
    """What a pass computes.

    Attributes:
        gradients: of the loss, one for each trained parameter of the network.
        values: by name, one for each image: numbers [N], or the images themselves.
    """

    gradients: list[Tensor]
    values: dict[str, Tensor]


def critic_pass(
    critic: nn.Module, objective: Objective, due: Penalties, precision: str, inputs: CriticInputs
) -> Outcome:
    """The critic's loss with the penalties that are due, and its gradient."""
    real, fake, _ = inputs
    with autocast(fake.device, precision):
        scores = _Scores(critic, real, fake, watched={str(p.batch) for p in due.values() if p.reuses_scores})
        slopes = {name: scores.input_gradient(str(p.batch)) for name, p in due.items() if p.reuses_scores}
        slopes |= _slopes(critic, _points_apart(due, inputs))
    losses = objective.critic(scores.real, scores.fake)
    values = {"critic_loss": losses, "critic_real": scores.real, "critic_fake": scores.fake}
    loss = losses.mean()
    for name, penalty in due.items():
        amounts = penalty.weight * penalty.of(slopes[name])
        loss = loss + penalty.every * amounts.mean()
        values |= {f"penalty/{name}": amounts, f"gradient_norm/{name}": gradient_norm(slopes[name])}
    if objective.drift is not None:
        loss = loss + drift(objective.drift, scores.real, scores.fake).mean()
    return _outcome(loss, critic, values)


def _points_apart(due: Penalties, inputs: CriticInputs) -> dict[str, Batch]:
    """Points that have to be scored by themselves, by penalty."""
    real, fake, points = inputs
    batches = {}
    for name, penalty in due.items():
        if not penalty.reuses_scores:
            images = points[name] if penalty.batch is None else real.images if penalty.batch == "real" else fake
            first = slice(penalty.images(len(images)))
            batches[name] = Batch(images[first], *(None if part is None else part[first] for part in real[1:]))
    return batches


def _slopes(critic: nn.Module, batches: Mapping[str, Batch]) -> dict[str, Tensor]:
    """Gradients of the scores of several batches with respect to their images, float32 [N, C, H, W] each, with a graph.

    All share one pass, unless the critic mixes the batch.
    """
    if len(batches) > 1 and traits_of(critic).mixes_batch:
        return {name: slope for name in batches for slope in _slopes(critic, {name: batches[name]}).values()}
    if not batches:
        return {}
    images, *others = (joined(parts) for parts in zip(*batches.values(), strict=True))
    assert images is not None
    at = images.detach().requires_grad_()
    scores = scores_of(critic, Batch(at, *others))
    counts = [len(batch.images) for batch in batches.values()]
    return dict(zip(batches, torch.split(input_gradient(scores, at), counts), strict=True))


def half_pass(critic: nn.Module, objective: Objective, precision: str, inputs: tuple[Batch, Tensor | None]) -> Outcome:
    """Half of the critic's loss, on real or on generated images alone, and its gradient.

    Args:
        inputs: a batch, and the scores [N] of the real half if its images are generated; None if they are real.
    """
    batch, real_scores = inputs
    with autocast(batch.images.device, precision):
        scores = scores_of(critic, batch)
    if real_scores is None:
        losses = objective.critic(scores, torch.zeros_like(scores))
        return _outcome(losses.mean(), critic, {"critic_real": scores})
    losses = objective.critic(real_scores, scores)
    return _outcome(losses.mean(), critic, {"critic_loss": losses, "critic_fake": scores})


def generator_pass(
    generator: nn.Module, critic: nn.Module, objective: Objective, precision: str, inputs: GeneratorInputs
) -> Outcome:
    """The generator's loss and its gradient."""
    fake = generated(generator, precision, inputs)
    return generator_pass_on(fake, generator, critic, objective, precision, inputs)


def generated(generator: nn.Module, precision: str, inputs: GeneratorInputs) -> Tensor:
    """Images [N, C, H, W] of the latents, to be differentiated through."""
    with autocast(inputs.latents.device, precision):
        images: Tensor = generator(inputs.latents, *conditioning(inputs.real))
    return images


def generator_pass_on(
    fake: Tensor,
    generator: nn.Module,
    critic: nn.Module,
    objective: Objective,
    precision: str,
    inputs: GeneratorInputs,
) -> Outcome:
    """The generator's loss on images `fake` that it has `generated` from `inputs`, and its gradient."""
    real, real_scores, changes = inputs.real, inputs.real_scores, inputs.changes
    seen = as_seen(real._replace(images=fake), changes)
    with autocast(fake.device, precision):
        fake_scores = scores_of(critic, seen)
        if not objective.generator_needs_real:
            real_scores = fake_scores.detach()  # which the loss does not look at
        elif real_scores is None:
            real_scores = score_pass(critic, precision, as_seen(real, changes)).values["scores"]
    losses = objective.generator(real_scores, fake_scores)
    if objective.l1:
        losses = losses + objective.l1 * (fake.to(torch.float32) - real.images).abs().mean(dim=(1, 2, 3))
    if objective.feature_distance is not None:
        with autocast(fake.device, precision):
            distances = objective.feature_distance(fake.to(torch.float32), real.images)
        losses = losses + objective.features * distances
    if objective.guide and (guide := guide_of(generator)) is not None and real.controls is not None:
        got = guide.measured(fake.to(torch.float32))
        losses = losses + objective.guide * (guide.scaled(got) - guide.scaled(real.controls)).square().mean(dim=1)
    return _outcome(losses.mean(), generator, {"generator_loss": losses})


def score_pass(critic: nn.Module, precision: str, batch: Batch) -> Outcome:
    """The "scores" of images, float32 [N]; nothing is differentiated through them."""
    with torch.no_grad(), autocast(batch.images.device, precision):
        return Outcome([], {"scores": scores_of(critic, batch)})


def generation_pass(generator: nn.Module, precision: str, inputs: GenerationInputs) -> Outcome:
    """Generated "images", float32 [N, C, H, W]; nothing is differentiated through them."""
    with torch.no_grad(), autocast(inputs.latents.device, precision):
        images = generator(inputs.latents, *conditioning(inputs))
        return Outcome([], {"images": images.to(torch.float32)})


def conditioning(batch: Batch | GenerationInputs) -> tuple[Tensor | None, ...]:
    """What networks are given besides latents or images: labels, and of paired images the condition."""
    return batch[1:3] if batch.condition is not None else batch[1:2]


def scores_of(critic: nn.Module, batch: Batch) -> Tensor:
    """The critic's scores of a batch with all that belongs to it, float32 [N]."""
    images = batch.images
    if batch.controls is not None:
        images = beside_planes(images, batch.controls, critic.controls)  # type: ignore[arg-type]
    scores: Tensor = critic(images, *conditioning(batch))
    return scores.to(torch.float32)


def _outcome(loss: Tensor, network: nn.Module, values: dict[str, Tensor]) -> Outcome:
    gradients = torch.autograd.grad(loss, optimizers.trained(network))
    return Outcome(list(gradients), {name: value.detach() for name, value in values.items()})


def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Several batches as one; None where they have none."""
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if len(tensors) > 1 else next(iter(tensors), None)


class _Scores:
    """Scores of a real and a generated batch, float32 [N] each, and their input gradients for those in `watched`.

    Both share one pass, unless the critic mixes the batch, or the input gradient of only one of them is needed.
    """

    def __init__(self, critic: nn.Module, real: Batch, fake: Tensor, watched: set[str]) -> None:
        count = len(fake)
        self._gradients: dict[str, Tensor] = {}
        if traits_of(critic).mixes_batch or len(watched) == 1:
            self._inputs = {"real": real.images, "fake": fake}
            for part in watched:
                self._inputs[part] = self._inputs[part].detach().requires_grad_()
            self.real = scores_of(critic, real._replace(images=self._inputs["real"]))
            self.fake = scores_of(critic, real._replace(images=self._inputs["fake"]))
            return
        images = torch.cat([real.images, fake])
        both = Batch(images, *(joined([part] * 2) for part in real[1:]))
        self._inputs = {"both": images.requires_grad_() if watched else images}
        self._all = scores_of(critic, both)
        self.real, self.fake = self._all[:count], self._all[count:]

    def input_gradient(self, part: str) -> Tensor:
        """Gradient of the scores of "real" or "fake" with respect to its images, float32 [N, C, H, W], with a graph."""
        if "both" not in self._inputs:
            return input_gradient(self.real if part == "real" else self.fake, self._inputs[part])
        if not self._gradients:
            both = input_gradient(self._all, self._inputs["both"])
            self._gradients = {"real": both[: len(self.real)], "fake": both[len(self.real) :]}
        return self._gradients[part]
