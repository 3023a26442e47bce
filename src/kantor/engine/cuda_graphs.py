"""Steps that are recorded once and replayed, where a device is kept waiting by whoever starts its kernels.

On a GPU the networks of small images are bound by the hundreds of launches of a step, not by arithmetic. A recording (a
CUDA graph) starts them all at once. It is always the same kernels on the same memory, so that whatever changes from step
to step goes in through buffers: images, latents and random numbers are copied there, rates are tensors anyway.

A recording has to prove itself before it is used: its first replay is compared with the step done in the ordinary way.
Where that differs, or recording fails, all goes on in the ordinary way, with a word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

Inputs = Sequence[Tensor | None]
Compute = Callable[..., Any]
Groups = Mapping[str, Sequence[Tensor]]

WARM_UP = 3  # of each kind: kernels are chosen and the optimisers' moments made in the first
_MOST_DIFFERENT = 0.05  # of what a step changes: kernels may add in another order, and Adam makes much of little


class Backend(Protocol):
    """What can record."""

    def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        """Records what `compute` does, without doing it.

        Returns:
            What does it, and what `compute` gave: tensors that each replay fills anew.
        """
        ...

    def forget(self) -> None:
        """No recording that was made will be replayed again."""
        ...


class CudaGraphs:
    """Recordings as CUDA graphs, which share their memory: one is replayed at a time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = compute()
        self._pool = graph.pool()
        return graph.replay, result

    def forget(self) -> None:
        self._pool = None


@dataclass
class _Kind:
    """One kind of step. replay: None until it is recorded."""

    calls: int = 0
    replay: Callable[[], object] | None = None
    buffers: list[Tensor | None] = field(default_factory=list)
    result: Any = None


class Recorder:
    """Runs steps, and replays those that it has recorded.

    Args:
        backend: None runs everything in the ordinary way.
        note: is told in a line why recording was given up.
    """

    def __init__(self, backend: Backend | None = None, note: Callable[[str], None] = lambda line: None) -> None:
        self._backend, self._note = backend, note
        self._kinds: dict[Hashable, _Kind] = {}

    @property
    def records(self) -> bool:
        return self._backend is not None

    def forget(self) -> None:
        """For when tensors were replaced that recordings work on."""
        self._kinds.clear()
        if self._backend is not None:
            self._backend.forget()

    def run(self, kind: Hashable, compute: Compute, inputs: Inputs, changed: Callable[[], Groups]) -> Any:
        """What `compute(*inputs)` gives and does.

        Args:
            kind: of step. Steps of one kind run the same operators on tensors of the same shapes.
            compute: changes tensors in place and gives tensors or what is the same for all steps of a kind. It draws no
                random numbers, and reads and changes nothing else.
            changed: the tensors that it may change, in groups of those that are of one magnitude.
        """
        if self._backend is None:
            return compute(*inputs)
        kind = with_shapes(kind, inputs)
        known = self._kinds.setdefault(kind, _Kind())
        known.calls += 1
        if known.replay is None and known.calls <= WARM_UP:
            return compute(*inputs)
        if known.replay is None:
            return self._record(known, compute, inputs, changed())
        for buffer, value in zip(known.buffers, inputs, strict=True):
            if buffer is not None and value is not None:
                buffer.copy_(value, non_blocking=True)
        known.replay()
        return known.result

    def _record(self, kind: _Kind, compute: Compute, inputs: Inputs, changed: Groups) -> Any:
        """Records a step, tries the recording beside the ordinary step, and leaves what the ordinary one has done."""
        assert self._backend is not None
        before: dict[str, list[Tensor]] = {}
        try:
            before = _clones(changed)
            kind.buffers = [None if t is None else t.clone(memory_format=torch.preserve_format) for t in inputs]
            replay, kind.result = self._backend.record(lambda: compute(*kind.buffers))
            _copy(before, changed)  # a recording does nothing, but for what the host does
            replay()
            recorded = {**_clones(changed), "result": [t.clone() for t in _tensors(kind.result)]}
        except RuntimeError as error:
            self._give_up(f"steps cannot be recorded here ({str(error).splitlines()[0][:200]})")
            _copy(before, changed)
            return compute(*inputs)
        _copy(before, changed)
        result = compute(*inputs)
        ordinary = {**changed, "result": _tensors(result)}
        if not all(finite(tensors) for tensors in ordinary.values()):
            return result  # a step that was skipped says nothing: the next one is tried
        worst = max(difference(recorded[name], ordinary[name], before.get(name)) for name in ordinary)
        if worst <= _MOST_DIFFERENT:
            kind.replay = replay
        else:
            self._give_up(f"a recorded step differs from an ordinary one by {worst:.1%} of what it changes")
        return result

    def _give_up(self, why: str) -> None:
        self._backend = None
        self._kinds.clear()
        self._note(f"{why}; training goes on in the ordinary way, which is slower")


def _clones(groups: Groups) -> dict[str, list[Tensor]]:
    return {name: [tensor.detach().clone() for tensor in tensors] for name, tensors in groups.items()}


def _copy(values: Groups, groups: Groups) -> None:
    for name, kept in values.items():
        for tensor, value in zip(groups[name], kept, strict=True):
            tensor.detach().copy_(value)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for t in value if isinstance(t, Tensor)] if isinstance(value, tuple | list) else []


def with_shapes(kind: Hashable, inputs: Inputs) -> Hashable:
    """The kind of a step on such inputs: what is made for one of them does for the next."""
    return kind, *(None if t is None else (tuple(t.shape), t.dtype) for t in inputs)


def finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all numbers are. Waits for the device."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


@torch.no_grad()
def difference(mine: Sequence[Tensor], right: Sequence[Tensor], before: Sequence[Tensor] | None = None) -> float:
    """Distance between two results as a share of how far the right one is from where it began (None: from zero)."""
    began = before or [torch.zeros_like(tensor) for tensor in right]
    apart = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(mine, right, strict=True))
    moved = sum(float((b.double() - c.double()).square().sum()) for b, c in zip(right, began, strict=True))
    if not moved or not math.isfinite(apart):
        return 0.0 if apart == 0 else math.inf
    return float((apart / moved) ** 0.5)


def recorder_for(device: torch.device, note: Callable[[str], None] = lambda line: None) -> Recorder:
    """The one for this device: only CUDA has something to record with."""
    return Recorder(CudaGraphs() if device.type == "cuda" else None, note)
