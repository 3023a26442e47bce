"""Peak memory against the plain loop's."""

from __future__ import annotations

import gc
from collections.abc import Callable

import peers
import step
import torch
from timing import wait

from gpu_parts.check import Check

MEMORY = 0.7  # of the plain loop's: a target


def memory(check: Check) -> str:
    """Peak memory of a cycle of WGAN-GP at batch 64 against the plain loop's, same networks and batch."""
    config = check.wgan_gp(64)
    batch = config.train.batch

    def ours(precision: str, record: bool) -> Callable[[], object]:
        return step.Ours(config, 64, precision, check.device, record=record, images=2 * batch).cycle

    def plain(precision: str) -> Callable[[], object]:
        loop, real = peers.plain(check.width, check.device, precision), torch.zeros(batch, 3, 64, 64).to(check.device)
        return lambda: loop(real)

    peak_mb(check, lambda: plain("float32"))  # libraries allocate their workspaces now
    texts = []
    for precision in check.precisions:
        peaks = {
            "plain loop": peak_mb(check, lambda precision=precision: plain(precision)),
            "kantor eager": peak_mb(check, lambda precision=precision: ours(precision, False)),
            "kantor recorded": peak_mb(check, lambda precision=precision: ours(precision, True)),
        }
        for name, (allocated, reserved) in peaks.items():
            check.row(name, precision, "peak memory, allocated", allocated, "MB")
            check.row(name, precision, "peak memory, reserved", reserved, "MB")
            for measure, mb, against in zip(("allocated", "reserved"), peaks[name], peaks["plain loop"], strict=True):
                if name != "plain loop":
                    check.row(
                        name, precision, f"peak memory against the plain loop's, {measure}", mb / against, "", MEMORY
                    )
        texts.append(f"{peaks['kantor recorded'][0] / peaks['plain loop'][0]:.2f} of the plain loop's in {precision}")
    return f"peak memory of a WGAN-GP cycle at batch {batch} is {' and '.join(texts)} (target {MEMORY})"


def peak_mb(check: Check, build: Callable[[], Callable[[], object]]) -> tuple[float, float]:
    """Peak memory of some cycles above what is in use, with weights, in MB: of tensors, and with what the allocator keeps."""
    gc.collect()
    if check.device.type != "cuda":
        return (peak_on_cpu_mb(lambda: build()()),) * 2
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    cycle = build()
    for _ in range(6):
        cycle()
    wait(check.device)
    peaks = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return (peaks[0] - before[0]) / 1e6, (peaks[1] - before[1]) / 1e6


def peak_on_cpu_mb(call: Callable[[], object]) -> float:
    """The same on a CPU, by the events of torch's allocator."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    total = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return peak / 1e6
