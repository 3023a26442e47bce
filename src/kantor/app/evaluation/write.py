"""What `kantor evaluate` shows and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kantor import atomic
from kantor.app.evaluation.evaluate import Evaluation
from kantor.app.evaluation.open_images import Subject
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.output_paths import make_numbered, require_free
from kantor.metrics.memorisation import PIXELS, NearestImages
from kantor.metrics.score import Comparison, Scores
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
    """The scores line by line: value, interval, score of real images, meaning; before them a row for each class."""
    rows = [row(name, score) for name, score in evaluation.scores.items()]
    return [*_class_rows(evaluation.scores), *_aligned([("", "value", "95% interval", "real images", ""), *rows])]


def _class_rows(scores: Scores) -> list[str]:
    """One line for each class, without intervals; empty if the scores are not means over classes."""
    if not scores.per_class:
        return []
    names = list(dict.fromkeys(name for one in scores.per_class.values() for name in one))
    networks = {name.partition("@")[2] for name in names}
    heads = [name.partition("@")[0] if len(networks) == 1 else name for name in names]
    rows = [("class", "images", *heads, "")]
    for label, one in scores.per_class.items():
        cells = [f"{one[name].value:.4g}" if name in one else "" for name in names]
        rows.append((label, f"{one.provenance['drawn']:,}", *cells, ""))
    return [*_aligned(rows), f"mean over {len(scores.per_class)} classes:"]


def comparison(evaluation: Evaluation, earlier: Path) -> list[str]:
    """Differences from earlier scores, line by line."""
    rows = [("", f"minus {earlier.name}", "95% interval", "")]
    compared: Mapping[str, Comparison] = evaluation.comparisons or {}
    for name, difference in compared.items():
        rows.append((name, f"{difference.difference:+.4g}", interval_text(difference.interval), difference.verdict))
    rows += [(name, "", "", f"not in {earlier.name}") for name in evaluation.scores if name not in compared]
    disagreement = evaluation.comparisons.disagreement if evaluation.comparisons else ""
    return [*_aligned(rows), *([disagreement] if disagreement else [])]


def about(evaluation: Evaluation) -> list[str]:
    """What was measured: a line on the images, and one on each network of features."""
    origin = evaluation.scores.provenance
    seen = f" at {origin['images_seen']:,} images" if "images_seen" in origin else ""
    part = f" ({origin['reference_part']})" if "reference_part" in origin else ""
    scored = f"{origin['drawn']:,} {'generated' if evaluation.subject.card else 'scored'}{_of_classes(origin)}"
    return [
        f"{evaluation.subject.name}{seen}: {scored}, {origin['reals']:,} real images{part}, {origin['images']}",
        f"features: {origin['extractor']} ({origin['resize']})",
        *(
            f"features: {name} ({more['resize']}) of {more['drawn']:,} and {more['reals']:,} images"
            for name, more in origin.get("more_features", {}).items()
        ),
    ]


def _of_classes(origin: Mapping[str, Any]) -> str:
    """ " of class 1"; " of all classes, equally many" where that is not as in the reference."""
    if classes := origin.get("classes"):
        if origin.get("per_class"):
            return f" of {len(classes)} classes, each against its own"
        listed = f"es {', '.join(classes)}" if len(classes) > 1 else f" {classes[0]}"
        return f" of class{listed}" if len(classes) <= 10 else f" of {len(classes)} classes"
    return " of all classes, equally many" if origin.get("class_shares") == "equal" else ""


class ScoresFolder:
    """Writes scores.json after each metric, marked as incomplete until `finish`: what is measured is never lost.

    Attributes:
        path: the folder; None until something is written, or for images that are no run's without --out.
    """

    def __init__(self, options: EvaluateOptions) -> None:
        """Raises ConfigError if --out may not be written."""
        self._out, self._overwrite = options.out, options.overwrite
        self.path: Path | None = None
        if options.out is not None:
            require_free(options.out, options.overwrite, OUTPUT_FILES)

    def keep(self, subject: Subject, scores: Scores) -> None:
        """Writes the scores so far."""
        if self.path is None:
            self.path = self._begin(subject)
        if self.path is not None:
            atomic.write_json(self.path / SCORES, {**scores.as_json(), "complete": False})

    def finish(self, evaluation: Evaluation) -> list[Path]:
        """Writes scores.json for good; with nn, neighbours.png and distances.png too."""
        if self.path is None:
            return []
        figures = {}
        if evaluation.training is not None:
            nearest = evaluation.inputs.nearest_images
            figures[NEIGHBOURS] = png_bytes(_neighbours(evaluation, nearest))
            title = f"Distances to the nearest image · {evaluation.subject.name}"
            figures[DISTANCES] = distances_png(nearest.histograms, title)
        for name, data in figures.items():
            atomic.write_bytes(self.path / name, data)
        atomic.write_json(self.path / SCORES, evaluation.scores.as_json())
        return [self.path / name for name in (SCORES, *figures)]

    def _begin(self, subject: Subject) -> Path | None:
        """Makes the folder; of an earlier --out the figures go, which would not belong to the new scores."""
        if self._out is not None:
            atomic.make_folder(self._out)
            for name in (NEIGHBOURS, DISTANCES):
                (self._out / name).unlink(missing_ok=True)
            return self._out
        if subject.run is None:
            return None
        return make_numbered(subject.run / EVALUATIONS)


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
