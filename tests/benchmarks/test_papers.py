"""What the statements of the papers are judged by."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from paper_parts import architectures, points, surfaces
from paper_parts.digits import inception_score


def test_exact_w1_is_the_least_of_all_matches() -> None:
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        x, y = torch.randn(6, 2, generator=random), torch.randn(6, 2, generator=random)
        least = min(float((x - y[list(order)]).double().norm(dim=1).mean()) for order in permutations(range(6)))
        assert points.exact_w1(x, y) == pytest.approx(least, abs=1e-6)
    assert points.exact_w1(x, x + torch.tensor([3.0, 4.0])) == pytest.approx(5.0, abs=1e-5)


def test_exact_critic_is_the_dual_of_exact_w1() -> None:
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 2, generator=random), 1 + torch.randn(50, 2, generator=random)
    on_x, on_y = points.exact_critic(x, y)
    assert on_x.mean() - on_y.mean() == pytest.approx(points.exact_w1(x, y), abs=1e-6)
    far = torch.cdist(x.double(), y.double()).numpy()
    assert ((on_x[:, None] - on_y[None]) <= far + 1e-9).all()


@pytest.mark.parametrize("dataset", points.DATASETS)
def test_points_have_the_papers_scale(dataset: str) -> None:
    real = points.real_points(dataset, 5000, np.random.default_rng(0))
    assert real.dtype == torch.float32 and real.shape == (5000, 2)
    assert 1.2 < float(real.abs().max()) < 2.2
    if dataset != "swissroll":
        modes, near = points.modes_hit(dataset, real)
        assert modes == int(dataset.removesuffix("gaussians")) and near > 0.998  # four deviations in the plane: 0.9997
        assert points.modes_hit(dataset, torch.zeros(100, 2))[0] == (1 if dataset == "25gaussians" else 0)


@pytest.mark.parametrize("objective", surfaces.OBJECTIVES)
def test_no_critic_sees_more_than_there_is(objective: str) -> None:
    """By duality a gap over the steepest slope is at most the exact distance; a trained critic's is above 0."""
    row = surfaces.value("8gaussians", objective, 0, 30)
    assert -1 <= row["seen"] <= 1 and row["slope_max"] >= row["slope_mean"] > 0
    if objective == "clipping":
        player = surfaces.Player(objective, 0)
        player.train_critic(torch.randn(8, 2), torch.randn(8, 2))
        assert max(float(p.detach().abs().max()) for p in player.critic.parameters()) <= 0.01 + 1e-9


def test_a_penalty_pulls_slopes_to_one() -> None:
    assert surfaces.value("8gaussians", "penalty", 0, 60)["slope_mean"] == pytest.approx(1.0, abs=0.1)


def test_linear_share_of_a_linear_critic_is_one() -> None:
    player = surfaces.Player("penalty", 0)
    grid = torch.randn(50, 2)
    for layer in player.critic:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.constant_(layer.weight, 0.01)
            torch.nn.init.constant_(layer.bias, 10.0)  # every unit stays on
    assert surfaces.linear_share(player, grid) == pytest.approx(1.0, abs=1e-3)


class Sure(torch.nn.Module):
    """Classes by the first pixel, without a doubt."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 100.0 * torch.nn.functional.one_hot(((x[:, 0, 0, 0] + 1) * 127.5).round().long(), 10)


def test_inception_score_in_closed_form() -> None:
    images = np.zeros((100, 2, 2, 1), np.uint8)
    assert inception_score(Sure(), images) == pytest.approx(1.0)  # type: ignore[arg-type]
    images[:, 0, 0, 0] = np.arange(100) % 5
    assert inception_score(Sure(), images) == pytest.approx(5.0)  # type: ignore[arg-type]


def test_verdict_counts_who_trains_what() -> None:
    scores = {"0": (1.0, 5.0, 9.0), "1": (9.0, 1.0, 9.0), "2": (9.0, 1.0, 1.0), "3": (1.0, 1.0, 1.0)}
    rows: list[dict[str, Any]] = [
        {"number": number, "objective": name, "score": score}
        for number, own in scores.items()
        for name, score in zip(architectures.OBJECTIVES, own, strict=True)
    ]
    lines = list(architectures.verdict([*rows, {"number": "4", "objective": "dcgan", "score": 9.0}]))
    assert lines[0].startswith("4 networks") and lines[2] == "4.0: 1 / 1 / 1 / 1; 1"
    assert lines[-1].endswith("holds here")


def test_every_drawn_network_can_be_trained_with_every_objective() -> None:
    for number in range(12):
        choices = architectures.drawn(number)
        assert choices == architectures.drawn(number)
        for objective in architectures.OBJECTIVES:
            config = architectures.configured(choices, objective)
            norm = config.critic.norm
            assert norm == (
                ("layer" if objective == "wgan-gp" else "batch") if choices["critic_normalised"] else "none"
            )
            z = torch.zeros(2, config.generator.latent_dim)
            spec = architectures.ImageSpec(16, 16, 1)
            image = architectures.RandomGenerator(config.generator, spec, 0)(z)
            assert image.shape == (2, 1, 16, 16)
            assert architectures.RandomCritic(config.critic, spec, 0)(image).shape == (2,)
