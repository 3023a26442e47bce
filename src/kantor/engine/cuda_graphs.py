"""Steps that are recorded once and replayed, for devices that would wait for the host to launch kernels.

On a GPU, networks for small images are bound by the hundreds of launches in a step, not by arithmetic. A recording (a
CUDA graph) launches them all at once. It runs the same kernels on the same memory, so whatever changes from step to
step is copied into its buffers: images, latents and random numbers. Learning rates are tensors anyway.

The first replay of a recording is compared with the eager step. If they differ, or recording fails, all steps stay eager.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kantor.engine.execution import Inputs, Result, Tree, Work, map_tensors, tensors_of, with_shapes
from kantor.engine.state import State

WARM_UP = 3  # eager steps of each kind: they choose kernels and create the optimizers' state
MAX_REL_ERROR = 0.05  # of what a step changes: kernels may add in another order, and Adam magnifies small differences


class CudaGraphs:
    """Recordings as CUDA graphs, which share their memory: one is replayed at a time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        """Records what `compute` does, without doing it.

        Returns:
            A function that replays it, and what `compute` returned: tensors that each replay fills anew.
        """
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = compute()
        self._pool = graph.pool()
        return graph.replay, result

    def forget(self) -> None:
        """Frees all recordings: none will be replayed again."""
        self._pool = None


@dataclass
class _Recording:
    """One kind of step. replay: None until it is recorded."""

    calls: int = 0
    replay: Callable[[], object] | None = None
    buffers: list[Tensor] = field(default_factory=list)
    result: Any = None


class Recorder:
    """Executes steps, and replays those that it has recorded.

    Args:
        backend: None leaves all steps eager.
        note: is called with a line that says why recording was given up.
    """

    def __init__(self, backend: CudaGraphs | None = None, note: Callable[[str], None] = lambda line: None) -> None:
        self.backend, self._note = backend, note
        self._recordings: dict[Hashable, _Recording] = {}
        self._recorded: tuple[State | None, int] = (None, 0)

    def __call__(self, work: Work[Inputs, Result], inputs: Inputs) -> Result:
        """Does what `work.run(inputs)` does and returns what it returns."""
        if self.backend is None or work.state.has_dropout:
            return work.run(inputs)
        if self._recorded != (work.state, work.state.loaded):  # recordings hold the tensors of one state
            self._recordings.clear()
            self.backend.forget()
            self._recorded = work.state, work.state.loaded
        recording = self._recordings.setdefault(with_shapes(work.kind, inputs), _Recording())
        recording.calls += 1
        if recording.replay is None:
            if recording.calls <= WARM_UP:
                return work.run(inputs)
            return self._record(self.backend, recording, work, inputs)
        for buffer, value in zip(recording.buffers, tensors_of(inputs), strict=True):
            buffer.copy_(value, non_blocking=True)
        recording.replay()
        result: Result = recording.result
        return result

    def _record(self, backend: CudaGraphs, recording: _Recording, work: Work[Inputs, Result], inputs: Inputs) -> Result:
        """Records a step, compares the recording with the eager step, and leaves what the eager one has done."""
        changed = work.state.tensors()
        before: dict[str, list[Tensor]] = {}
        try:
            before = cloned(changed)
            buffers = cloned(inputs)
            recording.buffers = tensors_of(buffers)
            replay, recording.result = backend.record(lambda: work.run(buffers))
            copy(before, changed)  # recording changes nothing, except what runs on the host
            replay()
            recorded = cloned({**changed, "result": tensors_of(recording.result)})
        except RuntimeError as error:
            self._give_up(f"steps cannot be recorded here ({str(error).splitlines()[0][:200]})")
            if before:
                copy(before, changed)
            return work.run(inputs)
        copy(before, changed)
        result = work.run(inputs)
        eager = {**changed, "result": tensors_of(result)}
        if not finite(eager):
            return result  # a skipped step proves nothing: try the next one
        worst = max(relative_error(recorded[name], eager[name], before.get(name)) for name in eager)
        if worst <= MAX_REL_ERROR:
            recording.replay = replay
        else:
            self._give_up(f"a recorded step differs from an eager one by {worst:.1%} of what it changes")
        return result

    def _give_up(self, why: str) -> None:
        self.backend = None
        self._recordings.clear()
        self._note(f"{why}; falling back to eager steps (slower)")


def cloned(tree: Tree) -> Tree:
    return map_tensors(lambda tensor: tensor.detach().clone(), tree)


def copy(values: object, tensors: object) -> None:
    """Overwrites all tensors of a tree with those of another."""
    for tensor, value in zip(tensors_of(tensors), tensors_of(values), strict=True):
        tensor.detach().copy_(value)


def finite(tree: object) -> bool:
    """Whether all numbers of all tensors are finite. Waits for the device."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors_of(tree))


@torch.no_grad()
def relative_error(
    values: Sequence[Tensor], expected: Sequence[Tensor], before: Sequence[Tensor] | None = None
) -> float:
    """Distance from the expected values as a fraction of how far those are from `before` (None: from zero)."""
    origin = before or [torch.zeros_like(tensor) for tensor in expected]
    error = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(values, expected, strict=True))
    change = sum(float((b.double() - c.double()).square().sum()) for b, c in zip(expected, origin, strict=True))
    if not change or not math.isfinite(error):
        return 0.0 if error == 0 else math.inf
    return float((error / change) ** 0.5)


def recorder_for(device: torch.device, note: Callable[[str], None] = lambda line: None) -> Recorder:
    """The recorder for this device: only CUDA has something to record with."""
    return Recorder(CudaGraphs() if device.type == "cuda" else None, note)
