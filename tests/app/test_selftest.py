"""The self-test holds here, and fails where the maths is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kantor.app.selftest import prove
from kantor.engine import optimizers
from kantor.objectives import losses, penalties
from support.commands import exit_of

CPU = torch.device("cpu")


def failing() -> list[str]:
    return [proof.name for proof in prove(CPU) if not proof.holds]


def test_all_proofs_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("selftest", "--device", "cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("all ") and len(lines) > 20
    assert all(line.startswith("ok ") for line in lines[1:-1])


def norm_by_pixel(grad: torch.Tensor) -> torch.Tensor:
    """The usual mistake: a norm over channels only."""
    return (grad.norm(dim=1) - 1).square().mean(dim=(1, 2))


def penalty_of_the_batch(grad: torch.Tensor) -> torch.Tensor:
    """Right for a batch of one."""
    return (grad.norm() - 1).square().expand(len(grad))


@pytest.mark.parametrize("wrong", [norm_by_pixel, penalty_of_the_batch])
def test_a_wrong_penalty_is_found(wrong: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(penalties, "two_sided", wrong)
    assert any("linear critic" in name for name in failing())
    assert exit_of("selftest", "--device", "cpu") == 70
    assert "BAD  gradient penalty of a linear critic" in capsys.readouterr().out


def test_one_place_for_the_whole_batch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(at: Any, real: Any, fake: Any, uniform: Any, noise: Any = None) -> Any:
        return (
            torch.lerp(fake, real, uniform[0]) if at.kind == "interpolates" else inner(at, real, fake, uniform, noise)
        )

    inner = penalties.points
    monkeypatch.setattr(penalties, "points", points)
    assert failing() == ["interpolates lie between real and generated images, at one position for each pair"]


def test_a_wrong_sign_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "wasserstein_critic", lambda real, fake: real - fake)
    assert any("Wasserstein" in name for name in failing())


def test_updates_of_other_weights_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused Adam goes by the order in memory: without this care it moves the wrong weights."""
    monkeypatch.setattr(optimizers, "_laid_out_like", lambda tensor, like: tensor)
    assert any("first step of Adam" in name for name in failing())


def test_a_proof_that_breaks_down_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(losses, "hinge_critic")
    assert any("AttributeError" in name for name in failing())
