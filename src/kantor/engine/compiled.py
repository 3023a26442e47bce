"""Compiled passes: networks, penalties and all derivatives as one graph of plain operators, turned into fused kernels.

`torch.compile` cannot differentiate twice what it has compiled. So a pass is traced as it runs, with its gradients of
gradients (and without the work that `nets.double_backward` leaves out), down to operators that need no differentiation:
that graph is compiled, and takes weights, buffers and images as inputs.

The first run of a compiled pass is compared with the eager pass before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kantor.engine.cuda_graphs import cloned, copy, finite, relative_error
from kantor.engine.execution import Inputs, Work, map_tensors, tensors_of, with_shapes
from kantor.engine.passes import Outcome

Kernel = Callable[..., Sequence[Tensor]]
Compile = Callable[[torch.fx.GraphModule], Kernel]
MAX_REL_ERROR = {"float32": 0.02, "bfloat16": 0.25}
"""Of all gradients together, of each value, and of what buffers change. The first generator pass in bfloat16 differs by
3 to 9% from float32, compiled or not: fused kernels only round in other places."""
MAX_REL_ERROR_PER_TENSOR = 2  # times that of all gradients
NEGLIGIBLE_NORM = 0.01  # of the norm of all gradients: smaller ones are not compared one by one


def inductor(graph: torch.fx.GraphModule) -> Kernel:
    """Compiles with torch's own compiler, which needs a C++ compiler for CPUs and Triton for NVIDIA GPUs."""
    kernel: Kernel = torch.compile(graph, fullgraph=True, dynamic=False)
    return kernel


class _CompiledPass(NamedTuple):
    """One kind of pass. values: names of the values that follow its gradients."""

    kernel: Kernel
    values: tuple[str, ...]

    def __call__(self, networks: Sequence[nn.Module], inputs: object) -> Outcome:
        with torch.no_grad():
            tensors = list(self.kernel(*_arguments(networks, inputs)))
        count = len(tensors) - len(self.values)
        return Outcome(tensors[:count], dict(zip(self.values, tensors[count:], strict=True)))


Kernels = dict[Hashable, _CompiledPass]
"""By kind of pass. They hold no weights, and serve all states of networks that are built alike."""


class Compiler:
    """Executes passes, and compiles each kind of pass the first time.

    Args:
        compile: makes a kernel of a graph; None leaves all passes eager.
        precision: sets how much rounding may change.
        note: called with a line that says why compiling was given up.
        kernels: existing ones; new ones are added to them.
    """

    def __init__(
        self,
        compile: Compile | None = None,
        precision: str = "float32",
        note: Callable[[str], None] = lambda line: None,
        kernels: Kernels | None = None,
    ) -> None:
        self._compile, self._note, self._max_error = compile, note, MAX_REL_ERROR[precision]
        self._kernels: Kernels = {} if kernels is None else kernels

    @property
    def compiles(self) -> bool:
        return self._compile is not None

    def __call__(self, work: Work[Inputs, Outcome], inputs: Inputs) -> Outcome:
        """Returns what `work.run(inputs)` returns."""
        if self._compile is None or work.state.has_dropout:
            return work.run(inputs)
        kind = with_shapes(work.kind, inputs)
        if kind in self._kernels:
            return self._kernels[kind](work.networks, inputs)
        return self._first(self._compile, kind, work, inputs)

    def _first(self, compile: Compile, kind: Hashable, work: Work[Inputs, Outcome], inputs: Inputs) -> Outcome:
        """Compiles a kind of pass, and compares the results and buffers of the compiled and the eager pass."""
        buffers = [buffer for network in work.networks for buffer in network.buffers()]
        before = cloned(buffers)
        eager = work.run(inputs)
        after = cloned(buffers)
        if not finite(eager):
            return eager  # it proves nothing: try the next one
        copy(before, buffers)
        try:
            compiled_pass = _CompiledPass(compile(_traced(work, inputs)), tuple(eager.values))
            compiled = compiled_pass(work.networks, inputs)
        except Exception as error:  # a compiler may raise anything
            lines = str(error).strip().splitlines() or [type(error).__name__]
            why = f"steps cannot be compiled here ({lines[0][:200]})"
        else:
            worst = max(_error(compiled, eager), _error_of_buffers(buffers, after, before))
            if worst <= self._max_error:
                self._kernels[kind] = compiled_pass
                # not the eager one: a resumed run compiles at this step too, and must get the same bits
                return compiled
            why = f"a compiled step differs from an eager one by {worst:.1%}"
        copy(after, buffers)
        self._compile = None
        self._note(f"{why}; falling back to eager steps")
        return eager


def _traced(work: Work[Inputs, Outcome], inputs: Inputs) -> torch.fx.GraphModule:
    """The operators of a pass, as a function of [all weights, all buffers, all inputs] that returns a list of tensors."""
    from torch.fx.experimental.proxy_tensor import make_fx

    whole = _Whole(work)
    weights, buffers = dict(whole.named_parameters()), dict(whole.named_buffers())

    def run(*tensors: Tensor) -> list[Tensor]:
        values = iter(tensors)
        replaced = {name: next(values).detach().requires_grad_(old.requires_grad) for name, old in weights.items()}
        replaced |= {name: next(values) for name in buffers}
        arguments = (map_tensors(lambda _: next(values), inputs),)
        return [tensor.detach() for tensor in tensors_of(torch.func.functional_call(whole, replaced, arguments))]

    return make_fx(run, tracing_mode="real")(*cloned(_arguments(work.networks, inputs)))


class _Whole(nn.Module):
    """The networks of a pass as one, so that all of their tensors can be replaced at once."""

    def __init__(self, work: Work[Inputs, Outcome]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(work.networks)
        self._run = work.run

    def forward(self, inputs: Any) -> Outcome:
        return self._run(inputs)


def _arguments(networks: Sequence[nn.Module], inputs: object) -> list[Tensor]:
    weights = [parameter for network in networks for parameter in network.parameters()]
    buffers = [buffer for network in networks for buffer in network.buffers()]
    return [tensor.detach() for tensor in (*weights, *buffers, *tensors_of(inputs))]


def _error(outcome: Outcome, expected: Outcome) -> float:
    """The largest relative error: of all gradients together, of each that is not negligible, and of each value."""
    errors = [relative_error(outcome.gradients, expected.gradients)]
    errors += [relative_error([outcome.values[name]], [value]) for name, value in expected.values.items()]
    norm = float(torch.nn.utils.get_total_norm(expected.gradients))
    for gradient, other in zip(outcome.gradients, expected.gradients, strict=True):
        if float(other.norm()) > NEGLIGIBLE_NORM * norm:
            errors.append(relative_error([gradient], [other]) / MAX_REL_ERROR_PER_TENSOR)
    return max(errors)


def _error_of_buffers(buffers: Sequence[Tensor], expected: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    """The error of what a pass leaves in buffers, relative to what it changes. Counts have to be equal."""
    triples = list(zip(buffers, expected, before, strict=True))
    if not all(torch.equal(a, b) for a, b, _ in triples if not b.is_floating_point()):
        return math.inf
    real = [triple for triple in triples if triple[1].is_floating_point()]
    return relative_error([a for a, _, _ in real], [b for _, b, _ in real], [c for _, _, c in real])
