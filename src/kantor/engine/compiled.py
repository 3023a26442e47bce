"""Passes that are compiled: networks, penalty and all derivatives as one graph of plain operators, made into fused kernels.

`torch.compile` cannot differentiate twice what it has compiled. So a pass is traced as it runs, with its gradients of
gradients (and without what `nets.pruned` leaves out), down to operators that have nothing to differentiate left: that graph
is compiled, and takes weights, buffers and images as inputs.

As a recording has to (`engine.record`), a compiled pass proves itself beside the ordinary one before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kantor.engine.cuda_graphs import Inputs, difference, finite, with_shapes
from kantor.engine.passes import Outcome

Result = Outcome | Tensor
Compute = Callable[..., Result]
Kernel = Callable[..., Sequence[Tensor]]
_MOST_DIFFERENT = {"float32": 0.02, "bfloat16": 0.25}  # of all gradients, of each value, of what buffers change
"""The first generator pass in bfloat16 is 3 to 9 % from float32, compiled or not: fused kernels just round elsewhere."""
_MOST_OF_ONE = 2  # times as much for the gradient of a single weight that is no dwarf
_DWARF = 0.01


def inductor(graph: torch.fx.GraphModule) -> Kernel:
    """Compiled by torch's own compiler, which needs a C++ compiler for processors and Triton for NVIDIA's GPUs."""
    kernel: Kernel = torch.compile(graph, fullgraph=True, dynamic=False)
    return kernel


class _Known(NamedTuple):
    """A compiled kind of pass. values: names of the values that follow its gradients; None where it gives one tensor."""

    kernel: Kernel
    values: tuple[str, ...] | None

    def __call__(self, networks: Sequence[nn.Module], inputs: Inputs) -> Result:
        with torch.no_grad():
            tensors = list(self.kernel(*_arguments(networks, inputs)))
        if self.values is None:
            return tensors[0]
        count = len(tensors) - len(self.values)
        return Outcome(tensors[:count], dict(zip(self.values, tensors[count:], strict=True)))


Kernels = dict[Hashable, _Known]
"""By kind of pass. They hold no weights, and serve all states of networks that are built alike."""


class Compiler:
    """Runs passes, in kernels compiled for them once it has any.

    Args:
        compile: makes a kernel of a graph; None runs everything in the ordinary way.
        precision: of the passes: how much they may differ by rounding.
        note: is told in a line why compiling was given up.
        kernels: that are there already; new ones are put there.
    """

    def __init__(
        self,
        compile: Callable[[torch.fx.GraphModule], Kernel] | None = None,
        precision: str = "float32",
        note: Callable[[str], None] = lambda line: None,
        kernels: Kernels | None = None,
    ) -> None:
        self._compile, self._note, self._most = compile, note, _MOST_DIFFERENT[precision]
        self._known: Kernels = {} if kernels is None else kernels

    @property
    def compiles(self) -> bool:
        return self._compile is not None

    def run(self, kind: Hashable, networks: Sequence[nn.Module], compute: Compute, inputs: Inputs) -> Any:
        """What `compute(*inputs)` gives.

        Args:
            kind: of pass. Passes of one kind run the same operators on tensors of the same shapes.
            networks: all whose tensors `compute` reads, or changes (buffers alone).
            compute: reads no other tensor but its inputs, draws no random numbers, decides by no values.
        """
        if self._compile is None:
            return compute(*inputs)
        kind = with_shapes(kind, inputs)
        if kind not in self._known:
            return self._first(self._compile, kind, networks, compute, inputs)
        return self._known[kind](networks, inputs)

    def _first(
        self,
        compile: Callable[[torch.fx.GraphModule], Kernel],
        kind: Hashable,
        networks: Sequence[nn.Module],
        compute: Compute,
        inputs: Inputs,
    ) -> Result:
        """Compiles a kind of pass, and compares what the ordinary and the compiled one give and leave in buffers."""
        buffers = [buffer for network in networks for buffer in network.buffers()]
        before = [buffer.clone() for buffer in buffers]
        result = compute(*inputs)
        after = [buffer.clone() for buffer in buffers]
        if not finite(_tensors(result)):
            return result  # it says nothing: the next one is tried
        _put(before, buffers)
        try:
            values = None if isinstance(result, Tensor) else tuple(result.values)
            known = _Known(compile(_traced(networks, compute, inputs)), values)
            compiled = known(networks, inputs)
        except Exception as error:  # whatever a compiler comes up with
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._give_up(f"steps cannot be compiled here ({lines[0][:200]})")
            _put(after, buffers)
            return result
        worst = max(_apart(compiled, result), _apart_in_buffers(buffers, after, before))
        if worst > self._most:
            self._give_up(f"a compiled step differs from an ordinary one by {worst:.1%}")
            _put(after, buffers)
            return result
        self._known[kind] = known
        return compiled  # a resumed run compiles where an unbroken one has: both must go on with the same bits

    def _give_up(self, why: str) -> None:
        self._compile = None
        self._note(f"{why}; training goes on in the ordinary way")


def _traced(networks: Sequence[nn.Module], compute: Compute, inputs: Inputs) -> torch.fx.GraphModule:
    """The operators of a pass, as a function of [all weights, all buffers, all inputs] that gives `_tensors(result)`."""
    from torch.fx.experimental.proxy_tensor import make_fx

    whole = _Whole(networks, compute)
    weights, buffers = dict(whole.named_parameters()), dict(whole.named_buffers())

    def run(*tensors: Tensor) -> list[Tensor]:
        values = iter(tensors)
        replaced = {name: next(values).detach().requires_grad_(old.requires_grad) for name, old in weights.items()}
        replaced |= {name: next(values) for name in buffers}
        given = tuple(None if old is None else next(values) for old in inputs)
        return [tensor.detach() for tensor in _tensors(torch.func.functional_call(whole, replaced, given))]

    some = [t.detach().clone(memory_format=torch.preserve_format) for t in _arguments(networks, inputs)]
    return make_fx(run, tracing_mode="real")(*some)


class _Whole(nn.Module):
    """Networks as one, so that all of their tensors can give way to others at once."""

    def __init__(self, networks: Sequence[nn.Module], compute: Compute) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._compute = compute

    def forward(self, *inputs: Tensor | None) -> Result:
        return self._compute(*inputs)


def _arguments(networks: Sequence[nn.Module], inputs: Inputs) -> list[Tensor]:
    weights = [parameter for network in networks for parameter in network.parameters()]
    buffers = [buffer for network in networks for buffer in network.buffers()]
    return [tensor.detach() for tensor in (*weights, *buffers, *inputs) if tensor is not None]


def _apart(mine: Result, right: Result) -> float:
    """How far results are from each other, as a share: all gradients at once, each of those that count, each value."""
    if isinstance(right, Tensor) or isinstance(mine, Tensor):
        return difference(_tensors(mine), _tensors(right))
    found = [difference(mine.gradients, right.gradients)]
    found += [difference([mine.values[name]], [value]) for name, value in right.values.items()]
    whole = float(torch.nn.utils.get_total_norm(right.gradients))
    for one, other in zip(mine.gradients, right.gradients, strict=True):
        if float(other.norm()) > _DWARF * whole:
            found.append(difference([one], [other]) / _MOST_OF_ONE)
    return max(found)


def _apart_in_buffers(mine: Sequence[Tensor], right: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    """The same of what a pass leaves in buffers, as a share of what it changes. Counts have to be equal."""
    lots = list(zip(mine, right, before, strict=True))
    if not all(torch.equal(a, b) for a, b, _ in lots if not b.is_floating_point()):
        return math.inf
    real = [lot for lot in lots if lot[1].is_floating_point()]
    return difference([a for a, _, _ in real], [b for _, b, _ in real], [c for _, _, c in real])


def _tensors(result: Result) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [*result.gradients, *result.values.values()]


def _put(values: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
