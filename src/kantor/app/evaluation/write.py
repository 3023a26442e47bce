"""What `kantor evaluate` shows and writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kantor import atomic
from kantor.app.evaluation.evaluate import Evaluation
from kantor.app.output_paths import require_free
from kantor.metrics.memorisation import PIXELS, Memory
from kantor.report.distances import distances_png
from kantor.report.scores import ends, row
from kantor.sample.grid import PAPER, grid, png_bytes

FOLDER = "evaluations"
SCORES, NEIGHBOURS, DISTANCES = "scores.json", "neighbours.png", "distances.png"
OURS = r"scores\.json|(neighbours|distances)\.png"
SUSPECTS = 12
NEAREST = 3


def table(evaluation: Evaluation) -> list[str]:
    """The scores, line by line: value, interval, what reals get, what it means."""
    rows = [row(name, score) for name, score in evaluation.scores.items()]
    return _aligned([("", "value", "95% interval", "reals", ""), *rows])


def comparison(evaluation: Evaluation, earlier: Path) -> list[str]:
    """The differences to earlier scores, line by line."""
    rows = [("", f"minus {earlier.name}", "95% interval", "")]
    for name, one in (evaluation.compared or {}).items():
        rows.append((name, f"{one.difference:+.4g}", ends(one.interval), one.verdict))
    return _aligned(rows)


def about(evaluation: Evaluation) -> list[str]:
    """What was measured, in two lines."""
    told = evaluation.scores.provenance
    seen = f" at {told['images_seen']:,} images" if "images_seen" in told else ""
    part = f" ({told['reference_part']})" if "reference_part" in told else ""
    kinds = "drawn" if evaluation.subject.card else "pictures"
    return [
        f"{evaluation.subject.name}{seen}: {told['drawn']:,} {kinds}, {told['reals']:,} real{part}, {told['pictures']}",
        f"features: {told['extractor']} ({told['resize']})",
    ]


def next_folder(run: Path) -> Path:
    """RUN/evaluations/00000, or the next number that is free."""
    inside = (run / FOLDER).iterdir() if (run / FOLDER).is_dir() else ()
    taken = [int(path.name) for path in inside if re.fullmatch("[0-9]{5,9}", path.name)]
    return run / FOLDER / f"{max(taken, default=-1) + 1:05d}"


def write(evaluation: Evaluation, out: Path, overwrite: bool) -> list[Path]:
    """Writes scores.json, and where copies were looked for neighbours.png and distances.png, into `out`.

    Raises:
        ConfigError: `out` is there already.
    """
    require_free(out, overwrite, OURS)
    files = {}
    if evaluation.training is not None:
        memory = evaluation.material.memory
        files[NEIGHBOURS] = png_bytes(_neighbours(evaluation, memory))
        title = f"Distances to the nearest image · {evaluation.subject.name}"
        files[DISTANCES] = distances_png(memory.histograms, title)
    with atomic.new_folder(out, exist_ok=overwrite) as temporary:
        atomic.write_json(temporary / SCORES, evaluation.scores.as_json())
        for name, data in files.items():
            atomic.write_bytes(temporary / name, data)
    return [out / name for name in (SCORES, *files)]


def _neighbours(evaluation: Evaluation, memory: Memory) -> np.ndarray:
    """The drawn images that are most likely copies, of as many training images, each beside the nearest ones."""
    assert evaluation.training is not None and evaluation.material.training is not None
    ratios = np.min(
        [memory.distances[space][:, 0] / (judged.limit or 1.0) for space, judged in memory.judged.items()], axis=0
    )
    order = np.argsort(ratios, kind="stable")
    _, first = np.unique(memory.nearest[PIXELS][order, 0], return_index=True)  # one of those near the same image
    worst = order[np.sort(first)[:SUSPECTS]]
    drawn = evaluation.fakes.pick(evaluation.material.fakes.order[worst])
    blank = np.empty_like(drawn[:1])
    blank[:] = {1: PAPER[:1], 3: PAPER, 4: (*PAPER, 255)}[drawn.shape[3]]
    cells = []
    for i, fake in enumerate(worst):
        cells.append(drawn[i : i + 1])
        for rows in memory.nearest.values():
            near = rows[fake][rows[fake] >= 0]
            found = evaluation.training.pick(evaluation.material.training.order[near])
            cells += [blank, found, *[blank] * (NEAREST - len(near))]
    count = len(memory.distances[PIXELS])
    caption = f"drawn · {NEAREST} nearest by pixels · {NEAREST} nearest by features; the {len(worst)} likeliest copies of {count:,}"
    return grid(np.concatenate(cells), 1 + 2 * (1 + NEAREST), caption=caption)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of equal width: the first and the last to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1

    def line(cells: tuple[str, ...]) -> str:
        placed = [
            c.ljust(w) if i in (0, last) else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(placed).rstrip()

    return [line(cells) for cells in rows]
