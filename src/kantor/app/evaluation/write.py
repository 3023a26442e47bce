"""What `kantor evaluate` shows and writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kantor import atomic
from kantor.app.evaluation.evaluate import Evaluation
from kantor.app.output_paths import require_free
from kantor.metrics.memorisation import PIXELS, NearestImages
from kantor.report.distances import distances_png
from kantor.report.scores import interval_text, row
from kantor.runs.directory import EVALUATIONS
from kantor.sample.grid import PAPER, grid, png_bytes
from kantor.types import Images

SCORES, NEIGHBOURS, DISTANCES = "scores.json", "neighbours.png", "distances.png"
OUTPUT_FILES = r"scores\.json|(neighbours|distances)\.png"
LIKELIEST_COPIES = 12
NEIGHBOURS_SHOWN = 3


def table(evaluation: Evaluation) -> list[str]:
    """The scores line by line: value, interval, score of real images, meaning."""
    rows = [row(name, score) for name, score in evaluation.scores.items()]
    return _aligned([("", "value", "95% interval", "real images", ""), *rows])


def comparison(evaluation: Evaluation, earlier: Path) -> list[str]:
    """Differences from earlier scores, line by line."""
    rows = [("", f"minus {earlier.name}", "95% interval", "")]
    for name, difference in (evaluation.comparisons or {}).items():
        rows.append((name, f"{difference.difference:+.4g}", interval_text(difference.interval), difference.verdict))
    disagreement = evaluation.comparisons.disagreement if evaluation.comparisons else ""
    return [*_aligned(rows), *([disagreement] if disagreement else [])]


def about(evaluation: Evaluation) -> list[str]:
    """What was measured: a line on the images, and one on each network of features."""
    origin = evaluation.scores.provenance
    seen = f" at {origin['images_seen']:,} images" if "images_seen" in origin else ""
    part = f" ({origin['reference_part']})" if "reference_part" in origin else ""
    scored = f"{origin['drawn']:,} {'generated' if evaluation.subject.card else 'scored'}"
    return [
        f"{evaluation.subject.name}{seen}: {scored}, {origin['reals']:,} real images{part}, {origin['pictures']}",
        f"features: {origin['extractor']} ({origin['resize']})",
        *(
            f"features: {name} ({more['resize']}) of {more['drawn']:,} and {more['reals']:,} images"
            for name, more in origin.get("more_features", {}).items()
        ),
    ]


def next_folder(run: Path) -> Path:
    """RUN/evaluations/00000, or the next free number."""
    folder = run / EVALUATIONS
    entries = folder.iterdir() if folder.is_dir() else ()
    numbers = [int(path.name) for path in entries if re.fullmatch("[0-9]{5,9}", path.name)]
    return folder / f"{max(numbers, default=-1) + 1:05d}"


def write(evaluation: Evaluation, out: Path, overwrite: bool) -> list[Path]:
    """Writes scores.json into `out`; with nn, neighbours.png and distances.png too.

    Raises ConfigError if `out` already exists.
    """
    require_free(out, overwrite, OUTPUT_FILES)
    figures = {}
    if evaluation.training is not None:
        nearest = evaluation.inputs.nearest_images
        figures[NEIGHBOURS] = png_bytes(_neighbours(evaluation, nearest))
        title = f"Distances to the nearest image · {evaluation.subject.name}"
        figures[DISTANCES] = distances_png(nearest.histograms, title)
    with atomic.new_folder(out, exist_ok=overwrite) as temporary:
        atomic.write_json(temporary / SCORES, evaluation.scores.as_json())
        for name, data in figures.items():
            atomic.write_bytes(temporary / name, data)
    return [out / name for name in (SCORES, *figures)]


def _neighbours(evaluation: Evaluation, nearest: NearestImages) -> Images:
    """A grid: the likeliest copies of as many training images, each next to its nearest training images."""
    assert evaluation.training is not None and evaluation.inputs.training is not None
    ratios = [nearest.distances[space][:, 0] / (test.limit or 1.0) for space, test in nearest.copy_tests.items()]
    order = np.argsort(np.min(ratios, axis=0), kind="stable")
    _, first = np.unique(nearest.rows[PIXELS][order, 0], return_index=True)  # one copy of each training image
    likeliest = order[np.sort(first)[:LIKELIEST_COPIES]]
    images = evaluation.scored.images(evaluation.inputs.generated.order[likeliest])
    blank = np.full_like(images[:1], {1: PAPER[:1], 3: PAPER, 4: (*PAPER, 255)}[images.shape[3]])
    cells = []
    for i, index in enumerate(likeliest):
        cells.append(images[i : i + 1])
        for rows in nearest.rows.values():
            neighbours = rows[index][rows[index] >= 0]
            shown = evaluation.training.images(evaluation.inputs.training.order[neighbours])
            cells += [blank, shown, *[blank] * (NEIGHBOURS_SHOWN - len(neighbours))]
    count = len(nearest.distances[PIXELS])
    kind = "generated" if evaluation.subject.card else "scored"
    caption = (
        f"{kind} · {NEIGHBOURS_SHOWN} nearest by pixels · {NEIGHBOURS_SHOWN} nearest by features; "
        f"the {len(likeliest)} likeliest copies of {count:,}"
    )
    return grid(np.concatenate(cells), 1 + 2 * (1 + NEIGHBOURS_SHOWN), caption=caption)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of equal width: numbers flush right, the first and the last column flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *numbers, last in rows:
        padded = [cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *padded, last]).rstrip())
    return lines
