"""Steps that are recorded or compiled against eager ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import step
import torch
from torch import Tensor

from gpu_parts.check import Check
from kantor.config.schema import Config
from kantor.engine import cuda_graphs
from kantor.engine.compiled import MAX_REL_ERROR, Compiler, inductor
from kantor.engine.cuda_graphs import CudaGraphs, Recorder, cloned, copy, relative_error
from kantor.engine.execution import tensors_of, with_shapes

REPLAYS, MOST_CYCLES = 3, 80  # of each kind of step; the default's penalties are due in every eighth cycle
AFTER_CYCLES = 0.1  # of what the cycles change: rounding differences grow from step to step


class CheckedRecorder(Recorder):
    """Takes each step that is replayed twice more, eagerly and from the same state, and leaves what the eager step does.

    errors: by kind of step, for each replay (recorded against eager, eager against eager) of what the step changes.
    """

    def __init__(self, backend: CudaGraphs, note: Callable[[str], None]) -> None:
        super().__init__(backend, note)
        self.errors: dict[Hashable, list[tuple[float, float]]] = {}

    def __call__(self, work: Any, inputs: Any) -> Any:
        errors, recording = self.errors.setdefault(work.kind, []), self._recordings.get(with_shapes(work.kind, inputs))
        replay = super().__call__
        if recording is None or recording.replay is None:
            return replay(work, inputs)
        changed = work.state.tensors()
        before, outcomes, result = cloned(changed), [], None
        for execute in (replay, lambda work, inputs: work.run(inputs), lambda work, inputs: work.run(inputs)):
            copy(before, changed)
            result = execute(work, inputs)
            outcomes.append(cloned({**changed, "result": tensors_of(result)}))
        replayed, eager, again = outcomes
        errors.append((worst(replayed, eager, before), worst(again, eager, before)))
        return result


Groups = dict[str, list[Tensor]]


def worst(values: Groups, expected: Groups, before: Groups) -> float:
    """The largest relative error of a group of tensors."""
    return max(relative_error(values[name], expected[name], before.get(name)) for name in expected)


def recorded(check: Check) -> str:
    """Each kind of step as a CUDA graph against the eager step, and weights after as many cycles of both."""
    steps, ends = [0.0], [0.0]
    for preset, config, precision in check.cases():
        notes: list[str] = []
        ours, recorder = check.ours(config, precision, record=False), CheckedRecorder(check.backend(), notes.append)
        ours.steps.recorder, cycles = recorder, 0
        while (
            cycles < MOST_CYCLES
            and recorder.backend is not None
            and not replayed(recorder, 1 if check.tiny else REPLAYS)
        ):
            ours.cycle()
            cycles += 1
        missing = [str(kind) for kind, errors in recorder.errors.items() if not errors]
        check.row(preset, precision, "kinds of step that are not recorded", len(missing), "", 0, equality=True)
        for line in [*notes, *missing]:
            print(f"{preset} {precision}: not recorded: {line}")
        for kind, errors in recorder.errors.items():
            case, unit = f"{preset}: {name_of(kind)}", "of the change"
            error, noise = (max((e[i] for e in errors), default=math.inf) for i in (0, 1))
            check.row(case, precision, "eager step against eager", noise, unit)
            most = max(cuda_graphs.MAX_REL_ERROR, 3 * noise) if errors else 0
            check.row(case, precision, "recorded step against eager", error, unit, most, equality=True)
            steps.append(error)
        ends += after_cycles(check, preset, config, precision, cycles if check.tiny else max(cycles, 12))
    text = f"steps differ from eager ones by at most {max(steps):.2%} of what they change"
    return f"{text}, weights after many cycles by {max(ends):.2%}"


def name_of(kind: Hashable) -> str:
    return "+".join(kind) if isinstance(kind, tuple) else str(kind)


def replayed(recorder: CheckedRecorder, times: int) -> bool:
    return bool(recorder.errors) and all(len(errors) >= times for errors in recorder.errors.values())


def after_cycles(check: Check, preset: str, config: Config, precision: str, cycles: int) -> list[float]:
    """Weights of recorded and of eager cycles, with the kernels that users get and with deterministic ones."""

    def weights(recorder: Recorder, count: int = cycles) -> Groups:
        ours = check.ours(config, precision, record=False)
        ours.steps.recorder = recorder
        for _ in range(count):
            ours.cycle()
        return {name: cloned([*network.parameters()]) for name, network in ours.state.networks.items()}

    differences, start = [], weights(Recorder(), 0)
    kinds = {"usual kernels": False, "deterministic kernels": True}
    for kernels, deterministic in list(kinds.items())[: 1 if check.tiny else 2]:
        with torch.backends.cudnn.flags(enabled=True, deterministic=deterministic, allow_tf32=True):
            eager, again = weights(Recorder()), weights(Recorder())
            noise = worst(again, eager, start)
            differences.append(worst(weights(Recorder(check.backend(), print)), eager, start))
        case, unit = f"{preset}: {cycles} cycles, {kernels}", "of the change"
        check.row(case, precision, "eager cycles against eager", noise, unit)
        most = max(AFTER_CYCLES, 3 * noise)
        check.row(case, precision, "recorded cycles against eager", differences[-1], unit, most, equality=True)
    return differences


# --- compiled -----------------------------------------------------------------------------------------------------


class CheckedCompiler(Compiler):
    """Runs each compiled pass once more eagerly, on the same weights, buffers and inputs.

    errors: by kind of pass, for each of them the largest relative error: of all gradients together, and of each value.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.errors: dict[Hashable, list[float]] = {}

    def __call__(self, work: Any, inputs: Any) -> Any:
        errors = self.errors.setdefault(work.kind, [])
        if with_shapes(work.kind, inputs) not in self._kernels:
            return super().__call__(work, inputs)
        buffers = [buffer for network in work.networks for buffer in network.buffers()]
        before = cloned(buffers)
        eager = cloned(work.run(inputs))
        copy(before, buffers)
        outcome = super().__call__(work, inputs)
        pairs = [(outcome.gradients, eager.gradients)] if eager.gradients else []
        pairs += [([outcome.values[name]], [value]) for name, value in eager.values.items()]
        errors.append(max(relative_error(*pair) for pair in pairs))
        return outcome


def compiled(check: Check) -> str:
    """Passes that --compile compiles against eager ones, and what compiling gains for preset default."""
    texts = []
    for precision in reversed(check.precisions):
        if check.left_s() < 45 and texts:
            print(f"no time is left for {precision}")
            break
        config, notes = check.config("default"), list[str]()
        ours = check.ours(config, precision, record=False)
        compile = (lambda graph: graph) if check.tiny else inductor
        compiler = CheckedCompiler(compile, precision, notes.append)
        ours.steps = replace(ours.steps, compiler=compiler)
        for _ in range(2 * ours.steps.objective.round_of_penalties + 1):
            ours.cycle()
        check.row("default", precision, "compiling was given up", len(notes), "times", 0, equality=True)
        print(*notes, sep="\n", end="\n" if notes else "")
        for kind, errors in compiler.errors.items():
            case, unit, most = f"default: {name_of(kind)}", "relative error", MAX_REL_ERROR[precision]
            error = max(errors, default=math.inf)
            check.row(case, precision, "compiled pass against eager", error, unit, most, equality=True)
        largest = max((error for errors in compiler.errors.values() for error in errors), default=math.inf)
        texts.append(f"{precision}: differs by at most {largest:.2%}{_gain(check, precision)}")
    return f"compiled passes, preset default: {'; '.join(texts)}"


def _gain(check: Check, precision: str) -> str:
    if check.tiny:
        return ""
    (row,) = step.compiled(check.device, 5, [precision], [("default", check.size, 32, precision)])
    ratio = row["compiled is faster by"]
    check.row("default", precision, "images a second, recorded", row["images_per_second"])
    check.row("default", precision, "compiling, the first time", row["compiling_s"], "s")
    check.row("default", precision, "compiled and recorded is faster by", float(ratio.split()[0]))
    return f", recorded it is faster by {ratio}"
