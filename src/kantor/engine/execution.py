"""How work on tensors is executed: as it is, in micro-batches, compiled, or replayed.

All wrappers have one signature: `execute(work, inputs)` returns what `work.run(inputs)` returns. `Steps` composes them
once: a recorder around each whole step, and inside it `micro_batched(compiler)` around each pass.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from kantor.engine.passes import Outcome
from kantor.engine.state import State

Tree = TypeVar("Tree")
Inputs = TypeVar("Inputs")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Work(Generic[Inputs, Result]):
    """A function of tensors.

    Attributes:
        kind: work of one kind runs the same operators on inputs of the same shapes.
        run: maps a tree of tensors to another. It samples no random numbers and takes no decision by their values. A
            pass is pure but for the buffers of its networks; a step may change all tensors of `state` in place.
        state: what it belongs to.
        networks: the networks that a pass reads.
    """

    kind: Hashable
    run: Callable[[Inputs], Result]
    state: State
    networks: tuple[nn.Module, ...] = ()


Compute = Callable[[Work[Any, Outcome], Any], Outcome]
"""Executes a pass."""


def micro_batched(compute: Compute, most: int) -> Compute:
    """Computes batches in parts of at most `most` images; 0 for whole batches.

    The loss is a mean over images, so its gradient is the mean of the parts' gradients, weighted by their sizes.
    """
    if not most:
        return compute

    def compute_parts(work: Work[Inputs, Outcome], inputs: Inputs) -> Outcome:
        count = len(tensors_of(inputs)[0])
        if count <= most:
            return compute(work, inputs)
        gradients: list[Tensor] = []
        values: list[dict[str, Tensor]] = []
        for start in range(0, count, most):
            stop = min(start + most, count)
            part, share = compute(work, rows_of(inputs, slice(start, stop))), (stop - start) / count
            if gradients:
                torch._foreach_add_(gradients, part.gradients, alpha=share)
            else:
                gradients = [gradient * share for gradient in part.gradients]
            values.append(part.values)
        return Outcome(gradients, {name: torch.cat([part[name] for part in values]) for name in values[0]})

    return compute_parts


def tensors_of(tree: object) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, tuple | list):
        return []
    return [tensor for branch in tree for tensor in tensors_of(branch)]


def map_tensors(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """The same tree with `function` applied to each of its tensors, in the order of `tensors_of`."""

    def mapped(tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return function(tree)
        if isinstance(tree, dict):
            return {key: mapped(branch) for key, branch in tree.items()}
        if isinstance(tree, tuple | list):
            branches = [mapped(branch) for branch in tree]
            return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
        return tree

    return cast(Tree, mapped(tree))


def rows_of(tree: Tree, rows: slice | Tensor) -> Tree:
    """Some images of a batch, with all that belongs to them."""
    return map_tensors(lambda tensor: tensor[rows], tree)


def with_shapes(kind: Hashable, inputs: object) -> Hashable:
    """The kind of work on inputs of such shapes: what was made for one serves the next."""
    return kind, *((tensor.shape, tensor.dtype) for tensor in tensors_of(inputs))
