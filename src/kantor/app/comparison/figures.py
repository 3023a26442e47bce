"""The pictures of a comparison: curves over each other, and sheets of the same seeds."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from kantor.app.class_names import class_numbers
from kantor.app.comparison.conclusions import loss_families
from kantor.app.comparison.groups import Group
from kantor.app.comparison.load import ComparedRun
from kantor.app.load_model import load_generator
from kantor.errors import UserError
from kantor.metrics.score import BETTER, LOWER, kind, measured_how
from kantor.report.compare_page import Key
from kantor.report.curve_data import Column
from kantor.report.overlay import OverlayPanel, Trace, overlay_svg
from kantor.report.page import Curve, EmbeddedImage
from kantor.report.scores import title as score_title
from kantor.sample.generate import generate_images
from kantor.sample.grid import PAPER, grid
from kantor.types import Images

SEEDS = range(16)
_MOST_SCORES = 4
_LOSSES = (
    ("critic_gap", "critic gap", "mean score of real − of generated"),
    ("critic_loss", "critic loss", "what the critic minimises"),
    ("generator_loss", "generator loss", "what the generator minimises"),
)


def key(groups: Sequence[Group]) -> list[Key]:
    """Colours of groups and dashes of runs."""
    return [Key(g.label, i, [(run.name, j) for j, run in enumerate(g.runs)]) for i, g in enumerate(groups)]


def score_panels(groups: Sequence[Group], names: Sequence[str]) -> list[OverlayPanel]:
    """Scores during training against images and against time, of runs that measured them alike."""
    columns = dict.fromkeys(
        [*names, *(n for g in groups for run in g.runs for n in run.metrics if kind(n) in BETTER and "@" in n)]
    )
    panels: list[OverlayPanel] = []
    for name in columns:
        alike = Counter(way for group in groups for run in group.runs if (way := _way(run, name)))
        if not alike or len(panels) == 2 * _MOST_SCORES:
            continue
        way, count = alike.most_common(1)[0]
        if count < 2:
            continue
        traces = tuple(
            _trace(groups, i, j, name)
            for i, g in enumerate(groups)
            for j, run in enumerate(g.runs)
            if _way(run, name) == way
        )
        if not any(np.nanmax(np.abs(trace.values)) > 0 for trace in traces):
            continue  # a line at 0, such as the recall of young models
        better = "lower is better" if BETTER[kind(name)] == LOWER else "higher is better"
        over: Literal["kimg", "seconds"]
        for over, words in (("kimg", "at equal images"), ("seconds", "at equal time")):
            panels.append(OverlayPanel(score_title(name), f"{better}; {words}", traces, over))
    return panels


def _way(run: ComparedRun, name: str) -> str:
    """How a run measured a score while it was trained; "" if it did not."""
    measured = bool(np.isfinite(run.metrics.get(name, np.zeros(0))).any())
    return measured_how(name, run.summary.provenance) if measured and run.summary.scores else ""


def loss_panels(groups: Sequence[Group]) -> tuple[list[OverlayPanel], list[str]]:
    """Losses of runs with one and the same objective; and a sentence on each run that is alone with its own."""
    families = loss_families(groups)
    panels, notes = [], []
    for family in families:
        label = " / ".join(group.label for group in family)
        if sum(len(group.runs) for group in family) < 2:
            notes.append(f"{label} is the only run with its objective: its losses are in its own report.")
            continue
        places = [(groups.index(group), j, run) for group in family for j, run in enumerate(group.runs)]
        for column, name, hint in _LOSSES:
            having = [(i, j) for i, j, run in places if np.isfinite(run.metrics.get(column, np.zeros(0))).any()]
            if having:
                title = f"{label}: {name}" if len(families) > 1 else name.capitalize()
                panels.append(OverlayPanel(title, hint, tuple(_trace(groups, i, j, column) for i, j in having)))
    return panels, notes


def _trace(groups: Sequence[Group], i: int, j: int, column: str) -> Trace:
    metrics = groups[i].runs[j].metrics
    kimg: Column = metrics["images_seen"] / 1000
    seconds = metrics.get("seconds", np.full(len(kimg), np.nan))
    return Trace(groups[i].label, i, j, kimg, seconds, metrics[column])


def svgs(panels: Sequence[OverlayPanel], salt: str) -> list[Curve]:
    """Panels as they go into the page."""
    return [Curve(panel.title, f"{panel.hint}.", overlay_svg(panel, f"{salt}-{i}")) for i, panel in enumerate(panels)]


def sheets(groups: Sequence[Group]) -> tuple[list[EmbeddedImage], Any, str]:
    """A sheet of the same seeds for the page and a row of them, of each run; and a sentence on what they are.

    Returns:
        Sheets; uint8 [h, w, 3] with a row for each run, or None without any; the sentence.
    """
    found, rows, missing = [], [], []
    for group in groups:
        for run in group.runs:
            try:
                images, seen = images_of(run)
            except UserError as error:
                missing.append(f"{run.name}: {error.what}")
                continue
            caption = f"{run.name} ({group.label}, seed {run.seed}), {seen:,} images seen"
            found.append(_embedded(grid(images, 4), caption))
            rows.append(grid(images, len(SEEDS), caption=caption))
    note = f"Seeds {SEEDS[0]} to {SEEDS[-1]} in each model, as kantor generate draws them, at the same places."
    if missing:
        note += f" Not shown: {'; '.join(missing)}."
    return found, _stacked(rows), note


def images_of(run: ComparedRun) -> tuple[Images, int]:
    """The images of `SEEDS`, uint8 [16, H, W, C], of the model that is drawn, and the images it has seen.

    Raises UserError if it cannot generate from seeds.
    """
    network, card, _ = load_generator(str(run.path), run.path.parent)
    return generate_images(network, card.latents(SEEDS), class_numbers((), card, SEEDS)), card.images_seen


def _embedded(sheet: Images, caption: str) -> EmbeddedImage:
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "WEBP", quality=90, method=4)
    return EmbeddedImage(caption, file.getvalue(), sheet.shape[1])


def _stacked(rows: Sequence[Images]) -> Any:
    if not rows:
        return None
    width = max(row.shape[1] for row in rows)
    page = [np.empty((row.shape[0], width, 3), np.uint8) for row in rows]
    for place, row in zip(page, rows, strict=True):
        place[:] = PAPER
        place[:, : row.shape[1]] = row
    return np.concatenate(page)
