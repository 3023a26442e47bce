"""What a step computes before it is taken: gradients of a critic's and a generator's loss, in as few passes as the
networks allow.

Real and generated images are scored in one pass, and R1 and R2 are taken on those very scores. Nothing in here waits
for the device or touches an optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kantor.engine import optimizers
from kantor.engine.device import autocast
from kantor.nets import traits_of
from kantor.objectives.objective import Objective
from kantor.objectives.penalties import GradientPenalty, gradient_norm, input_gradient
from kantor.types import Batch


class Outcome(NamedTuple):
    """What a pass found.

    Attributes:
        gradients: of the loss, one for each trained parameter of the network.
        values: by name, one number an image, [N].
    """

    gradients: list[Tensor]
    values: dict[str, Tensor]


def critic_pass(
    critic: nn.Module,
    objective: Objective,
    due: Mapping[str, GradientPenalty],
    real: Batch,
    fake: Tensor,
    points: Mapping[str, Tensor],
    precision: str,
) -> Outcome:
    """The critic's loss, its penalties and their gradient.

    Args:
        due: the penalties that are applied.
        fake: [N, C, H, W], as many as `real` has.
        points: where a penalty is taken that is due and needs points of its own, [N, C, H, W].
    """
    with autocast(fake.device, precision):
        scores = _Scores(critic, real, fake, watched={p.at.batch for p in due.values() if p.at.batch})
        slopes = {}
        for name, penalty in due.items():
            if penalty.at.batch is not None:
                slopes[name] = scores.input_gradient(penalty.at.batch)
            else:
                at = points[name].detach().requires_grad_()
                slopes[name] = input_gradient(critic(at, *given(real)).to(torch.float32), at)
    losses = objective.critic(scores.real, scores.fake)
    values = {"critic_loss": losses, "critic_real": scores.real, "critic_fake": scores.fake}
    loss = losses.mean()
    for name, penalty in due.items():
        amounts = penalty.weight * penalty.of(slopes[name])
        loss = loss + penalty.every * amounts.mean()
        values |= {f"penalty/{name}": amounts, f"gradient_norm/{name}": gradient_norm(slopes[name])}
    if objective.drift is not None:
        loss = loss + objective.drift(scores.real, scores.fake).mean()
    gradients = torch.autograd.grad(loss, optimizers.trained(critic))
    return Outcome(list(gradients), {name: value.detach() for name, value in values.items()})


def half_pass(
    critic: nn.Module, objective: Objective, images: Tensor, like: Batch, real_scores: Tensor | None, precision: str
) -> Outcome:
    """Half of the critic's loss and its gradient: of real or of generated images alone.

    Args:
        images: [N, C, H, W], real or generated.
        like: their labels and condition.
        real_scores: of the real half, [N], where `images` are generated; None where they are real.
    """
    with autocast(images.device, precision):
        scores = critic(images, *given(like)).to(torch.float32)
    if real_scores is None:
        losses, values = objective.critic(scores, torch.zeros_like(scores)), {"critic_real": scores}
    else:
        losses = objective.critic(real_scores, scores)
        values = {"critic_loss": losses, "critic_fake": scores}
    gradients = torch.autograd.grad(losses.mean(), optimizers.trained(critic))
    return Outcome(list(gradients), {name: value.detach() for name, value in values.items()})


def generator_pass(
    generator: nn.Module, critic: nn.Module, objective: Objective, z: Tensor, real: Batch, precision: str
) -> Outcome:
    """The generator's loss on images of `z` and its gradient; labels and condition are those of `real`."""
    with autocast(z.device, precision):
        fake = generator(z, *given(real))
        fake_scores = critic(fake, *given(real)).to(torch.float32)
        real_scores = fake_scores.detach()  # most objectives do not look at it
        if objective.generator_needs_real:
            with torch.no_grad():  # nothing of the generator's depends on them
                real_scores = critic(real.images, *given(real)).to(torch.float32)
    losses = objective.generator(real_scores, fake_scores)
    if objective.l1:
        losses = losses + objective.l1 * (fake.to(torch.float32) - real.images).abs().mean(dim=(1, 2, 3))
    gradients = torch.autograd.grad(losses.mean(), optimizers.trained(generator))
    return Outcome(list(gradients), {"generator_loss": losses.detach()})


def generated_images(
    generator: nn.Module, z: Tensor, labels: Tensor | None, condition: Tensor | None, precision: str
) -> Tensor:
    """Generated images that nothing is differentiated through, float32 [N, C, H, W]."""
    with torch.no_grad(), autocast(z.device, precision):
        return generator(z, *given(Batch(z, labels, condition))).to(torch.float32)  # type: ignore[no-any-return]


def given(batch: Batch) -> tuple[Tensor | None, ...]:
    """What networks are given beside latents or images: labels, and of paired images the condition."""
    return batch[1:] if batch.condition is not None else batch[1:2]


def in_parts(count: int, most: int, run: Callable[[slice], Outcome]) -> Outcome:
    """What `run` finds on a batch, from parts of at most `most` images each; 0 for the whole batch at once.

    The loss is a mean over images, so that its gradient is the mean of those of the parts, weighted by their sizes.
    """
    if not 0 < most < count:
        return run(slice(0, count))
    gradients: list[Tensor] = []
    values: list[dict[str, Tensor]] = []
    for rows in slices(count, most):
        part = run(rows)
        share = (rows.stop - rows.start) / count
        if gradients:
            torch._foreach_add_(gradients, part.gradients, alpha=share)
        else:
            gradients = [gradient * share for gradient in part.gradients]
        values.append(part.values)
    return Outcome(gradients, {name: torch.cat([v[name] for v in values]) for name in values[0]})


def slices(count: int, most: int) -> Iterator[slice]:
    """range(count) in parts of at most `most`; 0 for one part."""
    most = most or count
    for start in range(0, count, most):
        yield slice(start, min(start + most, count))


def rows_of(batch: Batch, rows: slice | Tensor) -> Batch:
    """Some images of a batch."""
    return Batch(*(None if part is None else part[rows] for part in batch))  # type: ignore[arg-type]


class _Scores:
    """Scores of a real and a generated batch, float32 [N] each.

    Both share one pass, unless the critic mixes the batch, or the gradient of just one of them will be asked for.

    Args:
        watched: of "real" and "fake", those whose input gradients will be asked for: they need no pass of their own.
    """

    def __init__(self, critic: nn.Module, real: Batch, fake: Tensor, watched: set[str]) -> None:
        count = len(fake)
        self._gradients: dict[str, Tensor] = {}
        if traits_of(critic).mixes_batch or len(watched) == 1:
            self._inputs = {"real": real.images, "fake": fake}
            for part in watched:
                self._inputs[part].requires_grad_()
            self.real = critic(real.images, *given(real)).to(torch.float32)
            self.fake = critic(fake, *given(real)).to(torch.float32)
            return
        images = torch.cat([real.images, fake])
        twice = Batch(images, *(None if part is None else torch.cat([part, part]) for part in real[1:]))
        self._inputs = {"both": images.requires_grad_() if watched else images}
        self._all = critic(images, *given(twice)).to(torch.float32)
        self.real, self.fake = self._all[:count], self._all[count:]

    def input_gradient(self, part: str) -> Tensor:
        """Gradient of the scores of "real" or "fake" with respect to its images, float32 [N, C, H, W], with a graph."""
        if "both" not in self._inputs:
            return input_gradient(self.real if part == "real" else self.fake, self._inputs[part])
        if not self._gradients:
            both = input_gradient(self._all, self._inputs["both"])
            self._gradients = {"real": both[: len(self.real)], "fake": both[len(self.real) :]}
        return self._gradients[part]
