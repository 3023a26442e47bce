"""The eight objectives as the configuration builds them."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter

from kantor.config.objective import (
    FakeProbe,
    InterpolatesProbe,
    ObjectiveConfig,
    PerturbedProbe,
    RealProbe,
    SquaredDrift,
    WeightClipping,
)
from kantor.objectives.constraints import clip_weights, drift
from kantor.objectives.objective import Objective, build_objective, name_of
from kantor.objectives.penalties import GradientPenalty, one_sided, two_sided, zero_centred
from kantor.types import Traits

ALL_KINDS = [kind.model_fields["kind"].default for kind in get_args(get_args(ObjectiveConfig)[0])]
KINDS = [kind for kind in ALL_KINDS if kind != "custom"]  # tests/docs/test_examples.py covers it
PLAIN = Traits(mixes_batch=False, normalisation="none")
BATCH_NORM = Traits(mixes_batch=True, normalisation="batch")


def build(kind: str, **fields: Any) -> Objective:
    return build_objective(TypeAdapter(ObjectiveConfig).validate_python({"kind": kind, **fields}))


GRADIENT = {
    "wgan-gp": {"gradient": GradientPenalty(InterpolatesProbe(), two_sided, 10.0, 1)},
    "wgan-lp": {"gradient": GradientPenalty(InterpolatesProbe(), one_sided, 10.0, 1)},
    "dragan": {"gradient": GradientPenalty(PerturbedProbe(std=0.5), two_sided, 10.0, 1)},
    "relativistic": {
        "r1": GradientPenalty(RealProbe(), zero_centred, 0.5, 1),
        "r2": GradientPenalty(FakeProbe(), zero_centred, 0.5, 1),
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_defaults(kind: str) -> None:
    objective = build(kind)
    assert name_of(TypeAdapter(ObjectiveConfig).validate_python({"kind": kind})) == kind
    assert objective.penalties == GRADIENT.get(kind, {})
    assert objective.drift is None
    assert objective.constraint == (WeightClipping(bound=0.01) if kind == "wgan" else None)
    assert objective.wasserstein == kind.startswith("wgan")
    assert objective.generator_needs_real == (kind == "relativistic")


def test_there_are_eight() -> None:
    assert len(KINDS) == len(set(KINDS)) == 8


LOG = math.log1p(math.exp(0.5)) + math.log1p(math.exp(-2)), math.log1p(math.exp(-0.5))
EXPECTED = {  # (critic's, generator's loss) at real score 2, fake score 0.5
    "dcgan": LOG,
    "dragan": LOG,
    "wgan": (-1.5, -0.5),
    "wgan-gp": (-1.5, -0.5),
    "wgan-lp": (-1.5, -0.5),
    "lsgan": (0.625, 0.125),
    "hinge": (1.5, -0.5),
    "relativistic": (math.log1p(math.exp(-1.5)), math.log1p(math.exp(1.5))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_own_losses(kind: str) -> None:
    real, fake = torch.full((2,), 2.0), torch.full((2,), 0.5)
    critic, generator = EXPECTED[kind]
    torch.testing.assert_close(build(kind).critic(real, fake), torch.full((2,), critic))
    torch.testing.assert_close(build(kind).generator(real, fake), torch.full((2,), generator))


@pytest.mark.parametrize("kind", KINDS)
def test_signs(kind: str) -> None:
    """Between the labels 0 and 1 and inside the margins every loss pulls the way its name promises."""
    objective = build(kind)
    rng = torch.Generator().manual_seed(3)
    real, fake = ((0.05 + 0.9 * torch.rand(64, generator=rng, dtype=torch.float64)).requires_grad_() for _ in range(2))
    by_real, by_fake = torch.autograd.grad(objective.critic(real, fake).mean(), (real, fake))
    assert (by_real < 0).all(), "the critic's loss falls when real scores rise"
    assert (by_fake > 0).all(), "the critic's loss rises when fake scores rise"
    loss = objective.generator(real, fake).mean()
    by_real, by_fake = torch.autograd.grad(loss, (real, fake), allow_unused=True)
    assert (by_fake < 0).all(), "the generator's loss falls when fake scores rise"
    assert (by_real is not None) == objective.generator_needs_real


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_per_sample(kind: str) -> None:
    """Each number depends on its own pair alone, so the mean over two halves is the mean over the whole."""
    objective = build(kind)
    rng = torch.Generator().manual_seed(4)
    real, fake = torch.randn(2, 6, generator=rng, dtype=torch.float64)
    for loss in (objective.critic, objective.generator):
        halves = torch.cat([loss(real[:2], fake[:2]), loss(real[2:], fake[2:])])
        assert torch.equal(loss(real, fake), halves)


@pytest.mark.parametrize("kind", [k for k in KINDS if k.startswith("wgan")])
def test_wasserstein_loss_is_minus_the_estimate(kind: str) -> None:
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 0.0])
    assert -build(kind).critic(real, fake).mean() == real.mean() - fake.mean()


def test_penalties_follow_the_configuration() -> None:
    objective = build(
        "hinge",
        penalties={
            "r1": {"at": {"kind": "real"}, "of": "zero-centred", "weight": 0.5, "every": 16},
            "off": {"weight": 0},
            "around": {"at": {"kind": "perturbed", "std": 2.0}, "of": "one-sided", "weight": 3},
        },
    )
    assert objective.penalties == {
        "r1": GradientPenalty(RealProbe(), zero_centred, 0.5, 16),
        "around": GradientPenalty(PerturbedProbe(std=2.0), one_sided, 3.0, 1),
    }
    assert [s for s in range(40) if objective.penalties["r1"].due(s)] == [0, 16, 32]


def test_drift() -> None:
    objective = build("wgan-gp", drift={"kind": "squared", "weight": 0.5})
    assert objective.drift == SquaredDrift(weight=0.5)
    assert objective.drift is not None
    assert drift(objective.drift, torch.tensor([2.0, -4.0]), torch.tensor([9.0, 9.0])).tolist() == [2.0, 8.0]
    assert drift(objective.drift, *torch.ones(2, 2, dtype=torch.bfloat16)).dtype == torch.float32
    assert build("wgan-gp", drift={"kind": "squared", "weight": 0}).drift is None


# --- weight clipping --------------------------------------------------------------------------------------------


def test_clipping_brings_every_parameter_within_the_bound_in_place() -> None:
    torch.manual_seed(0)
    critic = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 1, 1))
    before = [p.detach().clone() for p in critic.parameters()]
    places = [p.data_ptr() for p in critic.parameters()]
    clip_weights(WeightClipping(bound=0.05), list(critic.parameters()))
    for old, new in zip(before, critic.parameters(), strict=True):
        assert torch.equal(new.detach(), old.clamp(-0.05, 0.05))
        assert new.requires_grad and new.is_leaf
    assert places == [p.data_ptr() for p in critic.parameters()]
    assert any((old.abs() > 0.05).any() for old in before), "there was something to clip"


def test_clipping_after_the_step_leaves_no_weight_out_of_bounds() -> None:
    weight = torch.nn.Parameter(torch.zeros(3, 2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    (weight * torch.tensor([[1.0, -1.0]])).sum().backward()
    optimizer.step()
    clip_weights(WeightClipping(bound=0.01), [weight])
    assert torch.equal(weight.detach(), torch.tensor([[-0.01, 0.01]]).expand(3, 2))


def test_clipping_does_not_hide_a_nan() -> None:
    weight = torch.nn.Parameter(torch.tensor([float("nan"), 1.0]))
    clip_weights(WeightClipping(bound=0.01), [weight])
    assert weight[0].isnan()


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_penalty_refuses_batch_norm_with_the_reason_and_the_remedy(kind: str) -> None:
    objective = build(kind)
    assert objective.refuses(PLAIN) is None
    reason = objective.refuses(BATCH_NORM)
    if kind not in GRADIENT:
        assert reason is None
        return
    assert reason is not None
    for part in ("batch norm", "other images of its batch", "Gulrajani et al. 2017"):
        assert part in reason.what
    assert "--set critic.norm=layer" in reason.do
    assert "\n" not in reason.what + reason.do


def test_layer_norm_is_allowed() -> None:
    layer = Traits(mixes_batch=False, normalisation="layer")
    assert all(build(kind).refuses(layer) is None for kind in KINDS)


def test_minibatch_stddev_is_allowed() -> None:
    """As in ProGAN, which trains with it under WGAN-GP."""
    stddev = Traits(mixes_batch=True, normalisation="none")
    assert all(build(kind).refuses(stddev) is None for kind in KINDS)


def test_a_penalty_of_weight_0_refuses_nothing() -> None:
    objective = build("wgan-gp", penalties={"gradient": {"weight": 0}})
    assert objective.penalties == {}
    assert objective.refuses(BATCH_NORM) is None


def test_batch_norm_mixes_gradients_and_layer_norm_does_not() -> None:
    """With batch norm an image's gradient changes when another image of the batch does; with layer norm not."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 4)
    other = x.clone()
    other[1] = torch.randn(3, 5, 4)

    def first_gradient(norm: torch.nn.Module, points: torch.Tensor) -> torch.Tensor:
        points = points.clone().requires_grad_()
        return torch.autograd.grad(norm(points).tanh().sum((1, 2, 3)).sum(), points)[0][0]

    batch, layer = torch.nn.BatchNorm2d(3), torch.nn.GroupNorm(1, 3)
    assert not torch.allclose(first_gradient(batch, x), first_gradient(batch, other), atol=1e-3)
    assert torch.allclose(first_gradient(layer, x), first_gradient(layer, other))
