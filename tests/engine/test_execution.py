"""Trees of tensors, and passes in micro-batches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from kantor.engine.execution import Work, map_tensors, micro_batched, rows_of, tensors_of, with_shapes
from kantor.engine.passes import CriticInputs, Outcome
from kantor.engine.state import State
from kantor.types import Batch

IMAGES, LABELS = torch.arange(12.0).view(6, 2), torch.arange(6)
INPUTS = CriticInputs(Batch(IMAGES, LABELS), -IMAGES, {"gradient": IMAGES + 1, "r1": IMAGES + 2})


def test_trees_keep_their_types_and_order() -> None:
    tensors = tensors_of(INPUTS)
    assert [float(tensor.flatten()[1]) for tensor in tensors] == [1, 1, -1, 2, 3]
    doubled = map_tensors(lambda tensor: tensor * 2, INPUTS)
    assert isinstance(doubled, CriticInputs) and isinstance(doubled.real, Batch) and doubled.real.condition is None
    assert list(doubled.points) == ["gradient", "r1"]
    assert all(torch.equal(a, 2 * b) for a, b in zip(tensors_of(doubled), tensors, strict=True))
    values = iter(tensors)
    again = map_tensors(lambda _: next(values), doubled)
    assert all(a is b for a, b in zip(tensors_of(again), tensors, strict=True))
    assert map_tensors(torch.neg, ("name", [1, None])) == ("name", [1, None])
    assert tensors_of(("name", None, 3)) == []
    assert torch.equal(rows_of(INPUTS, slice(2, 3)).points["r1"], IMAGES[2:3] + 2)


def test_kinds_differ_by_shapes() -> None:
    kinds = {with_shapes("critic", rows_of(INPUTS, slice(0, n))) for n in (6, 3, 3)}
    kinds |= {with_shapes("generator", INPUTS), with_shapes("critic", INPUTS._replace(real=Batch(IMAGES)))}
    assert len(kinds) == 4


@pytest.mark.parametrize(("most", "counts"), [(0, [6]), (6, [6]), (4, [4, 2]), (1, [1] * 6)])
def test_micro_batches_give_the_mean_over_all_images(most: int, counts: list[int]) -> None:
    seen: list[int] = []

    def run(inputs: CriticInputs) -> Outcome:
        seen.append(len(inputs.fake))
        return Outcome([inputs.points["r1"].mean(0)], {"critic_fake": inputs.fake.sum(1)})

    def compute(work: Work[Any, Outcome], inputs: Any) -> Outcome:
        return cast(Outcome, work.run(inputs))

    work: Work[CriticInputs, Outcome] = Work("critic", run, cast(State, SimpleNamespace()))
    outcome = micro_batched(compute, most)(work, INPUTS)
    assert seen == counts
    expected: Tensor = INPUTS.points["r1"].mean(0)
    torch.testing.assert_close(outcome.gradients[0], expected)
    assert torch.equal(outcome.values["critic_fake"], INPUTS.fake.sum(1))
