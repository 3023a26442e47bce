"""`kantor paint PIPELINE.toml`: runs the stages that a file names, and keeps what each makes of each seed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from kantor.app.output_paths import require_free_files
from kantor.app.sampling.compose import PLACES, entries
from kantor.app.sampling.image_files import into_folder, refuse_other_images
from kantor.app.sampling.options import PaintOptions
from kantor.app.sampling.stages import Apply, Opened, Work, Workshop, open_stage
from kantor.config.pipeline import Stage, at_stage, read_pipeline
from kantor.engine.device import choose_device
from kantor.errors import ConfigError
from kantor.progress import Progress, silent
from kantor.sample.grid import COMFORTABLE_CELL, png_bytes
from kantor.sample.strip import strips
from kantor.types import Images

DEFAULT_COUNT = 16
MAX_COUNT = 10_000
SHEET = "sheet.png"
_MOST_ROWS = 64  # of the sheet
_STRIP_SIDE, _SHEET_HEIGHT = 256, 3072  # pixels
_AT_ONCE = 32  # seeds: what a batch of generated images holds


def is_pipeline(text: str) -> bool:
    """Whether what the user names is a pipeline, not a model or drawings."""
    return text.lower().endswith(".toml")


def paint_by_stages(options: PaintOptions, progress: Progress = silent) -> tuple[Path, Path, int]:
    """Runs a pipeline; returns the sheet, its folder, and how many paintings there are.

    The whole file is checked first: ConfigError, ModelError and DataError name the stage.
    """
    _check(options)
    seeds = list(dict.fromkeys(options.seeds or range(DEFAULT_COUNT)))
    if len(seeds) > MAX_COUNT:
        raise ConfigError("--seeds", f"{len(seeds):,} paintings in all", f"stay below {MAX_COUNT:,}")
    path = Path(options.lines)
    stages = read_pipeline(path)
    names = stage_names(stages)
    ours = "|".join(map(re.escape, [*names[:-1], "strip"]))
    refuse_other_images(options.out, re.compile(rf"seed-[0-9]{{8,20}}(-({ours}))?\.png|{SHEET}"))
    assembles = any(stage.kind == "assemble" for stage in stages)
    files = [f"seed-{seed:08d}{end}.png" for seed in seeds for end in _endings(names)]
    files += [SHEET, PLACES] if assembles else [SHEET]
    require_free_files((options.out / file for file in files), options.overwrite)
    shop = Workshop(path.parent, options.runs, options.truncation, choose_device(options.device), seeds)
    applied = open_stages(path, stages, shop)
    rows, placed = list[list[Images]](), list[dict[str, Any]]()
    with into_folder(options.out) as write:
        for done, (seed, images, entry) in enumerate(_each_seed(path, stages, applied, seeds), 1):
            shown = [*images, strips([images], names, _side([images], _STRIP_SIDE), options.gutter)]
            for image, end in zip(shown, _endings(names), strict=True):
                write(f"seed-{seed:08d}{end}.png", png_bytes(image))
            rows += [images] if len(rows) < _MOST_ROWS else []
            placed += [entry] if entry else []
            progress(done, len(seeds))
        side = _side(rows, _SHEET_HEIGHT // len(rows) // 32 * 32)
        write(SHEET, png_bytes(strips(rows, names, side, options.gutter)))
        if assembles:
            write(PLACES, (json.dumps({"pictures": placed}, indent=1, ensure_ascii=False) + "\n").encode())
    return options.out / SHEET, options.out, len(seeds)


def painted(
    path: Path, seeds: Sequence[int], runs: Path, truncation: float, device: torch.device
) -> list[dict[str, Images]]:
    """What each stage makes of each seed, by its name, uint8 [H, W, C]. Raises as `paint_by_stages`."""
    stages = read_pipeline(path)
    applied = open_stages(path, stages, Workshop(path.parent, runs, truncation, device, seeds))
    names = stage_names(stages)
    return [dict(zip(names, images, strict=True)) for _, images, _ in _each_seed(path, stages, applied, seeds)]


def stage_names(stages: Sequence[Stage]) -> list[str]:
    """The kind of each stage, with its number behind, as `upscale-4`, if several have it."""
    kinds = [stage.kind for stage in stages]
    return [kind if kinds.count(kind) == 1 else f"{kind}-{number}" for number, kind in enumerate(kinds, 1)]


def open_stages(path: Path, stages: Sequence[Stage], shop: Workshop) -> list[Apply]:
    """Loads all models and checks that they fit. Raises UserError that names the stage."""
    applied, known = [], Opened()
    for number, stage in enumerate(stages):
        with at_stage(path, number + 1, stage.kind):
            applied.append(open_stage(shop, stages, number, known))
    return applied


def _check(options: PaintOptions) -> None:
    if options.colours is not None:
        what = f"stands beside {options.lines}, which names all models"
        raise ConfigError(options.colours, what, "leave it out, or name a model of lines first")
    if options.grid is not None:
        raise ConfigError("--grid", "does not go with a pipeline, whose sheet has a row for each seed", "leave it out")


def _side(rows: Sequence[Sequence[Images]], most: int) -> int:
    """Pixels of a cell: as the largest image has them, from COMFORTABLE_CELL to `most`."""
    largest: int = max(max(image.shape[0], image.shape[1]) for row in rows for image in row)
    return max(COMFORTABLE_CELL, min(largest, most, _STRIP_SIDE))


def _endings(names: Sequence[str]) -> list[str]:
    """What follows the seed in the names of files: nothing for the last stage, whose picture is the painting."""
    return [*(f"-{name}" for name in names[:-1]), "", "-strip"]


def _each_seed(
    path: Path, stages: Sequence[Stage], applied: Sequence[Apply], seeds: Sequence[int]
) -> Iterator[tuple[int, list[Images], dict[str, Any]]]:
    """Seed, the image of each stage, and where its sprites stand; {} without sprites."""
    for start in range(0, len(seeds), _AT_ONCE):
        work, shown = Work(seeds[start : start + _AT_ONCE]), []
        for number, (stage, apply) in enumerate(zip(stages, applied, strict=True), 1):
            with at_stage(path, number, stage.kind):
                work = apply(work)
            shown.append(work.shown)
        for i, seed in enumerate(work.seeds):
            yield seed, [images[i] for images in shown], _entry(work, i)


def _entry(work: Work, i: int) -> dict[str, Any]:
    """What places.json says of a seed: as that of `kantor compose`, in the pixels of the assembled picture."""
    if not work.placed:
        return {}
    seed, (height, width) = work.seeds[i], work.grounds[i].shape[:2]
    sprites = entries(work.sprites[i], work.placed[i], (height, width))
    return {"file": f"seed-{seed:08d}.png", "height": height, "width": width, "layout": seed, "sprites": sprites}
