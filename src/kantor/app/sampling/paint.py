"""Colours lines with one model; the lines come from another model or from drawings by hand. Other conditions likewise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from kantor.app.class_names import class_numbers
from kantor.app.dataset.image_size import CHANNELS, size_text
from kantor.app.images import join_pairs
from kantor.app.load_model import load_model
from kantor.app.output_paths import require_free_files
from kantor.app.sampling.drawings import find_drawings, read_drawings, stems_of
from kantor.app.sampling.generate import grid_columns
from kantor.app.sampling.image_files import refuse_other_images, write_images
from kantor.app.sampling.options import PaintOptions
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, ModelError
from kantor.export.weights import Card
from kantor.sample.generate import generate_images
from kantor.sample.grid import COMFORTABLE_CELL, grid

DEFAULT_COUNT = 16
MAX_PAINTINGS = 10_000
_OUTPUT_FILES = re.compile(r"(.+-)?seed-[0-9]{8,20}(-lines)?\.png|sheet\.png")
_FEW_PAINTINGS = 64


def paint(options: PaintOptions) -> tuple[Path, Path, int]:
    """Generates or reads lines, colours them, and writes both; returns the grid, its folder and how many there are."""
    if options.colours is None:
        what, do = (
            "is no pipeline, and a COLOUR_MODEL is missing",
            "name the model that colours, or a file PIPELINE.toml",
        )
        raise ConfigError(options.lines, what, do)
    drawings = find_drawings(options.lines, options.runs)
    seeds = list(options.seeds or range(1 if drawings else DEFAULT_COUNT))
    count = len(seeds) * max(1, len(drawings))
    if count > MAX_PAINTINGS:
        raise ConfigError("--seeds", f"{count:,} paintings in all", f"stay below {MAX_PAINTINGS:,}")
    columns = grid_columns(options.grid, count, "paintings") or (len(seeds) if drawings else None)  # a row per drawing
    refuse_other_images(options.out, _OUTPUT_FILES)
    device = choose_device(options.device)
    colourist, card, _ = load_model(options.colours, options.runs)
    if drawings:
        check_models(options.lines, options.colours, card, None)
        stems = stems_of(drawings, seeds)
        read = read_drawings(drawings, card, options.colours)
        lines, line_paths = np.repeat(np.stack(read), len(seeds), axis=0), []
    else:
        line_model, line_card, _ = load_model(options.lines, options.runs)
        check_models(options.lines, options.colours, card, line_card)
        z = line_card.latents(seeds, options.truncation)
        lines = generate_images(line_model.to(device), z, class_numbers((), line_card, seeds))
        stems = [f"seed-{seed:08d}" for seed in seeds]
        line_paths = [options.out / f"{stem}-lines.png" for stem in stems]
    grid_path = options.out / "sheet.png"
    painting_paths = [options.out / f"{stem}.png" for stem in stems]
    require_free_files([grid_path, *painting_paths, *line_paths], options.overwrite)
    all_seeds = seeds * (count // len(seeds))
    z = card.latents(all_seeds, options.truncation)
    painted = generate_images(colourist.to(device), z, class_numbers((), card, all_seeds), lines)
    pairs = join_pairs(lines, painted)
    # a pair is wide even if it is small
    scale = -(-COMFORTABLE_CELL // max(card.spec[:2])) if count <= _FEW_PAINTINGS else None
    write_images(line_paths, lines[: len(line_paths)])
    write_images([*painting_paths, grid_path], [*painted, grid(pairs, columns, options.gutter, scale=scale)])
    return grid_path, options.out, count


def check_models(lines_name: str, colours_name: str, colours: Card, lines: Card | None) -> None:
    """Raises ModelError or ConfigError if one model cannot colour the lines of the other; None: lines drawn by hand."""
    if not colours.condition and lines is not None and lines.condition:
        what = f"makes lines, and {lines_name} colours them: the two are swapped"
        raise ModelError(colours_name, what, f"write kantor paint {colours_name} {lines_name}")
    if not colours.condition:
        do = "name one that was trained with --preset painter-colours"
        raise ModelError(colours_name, "this model does not colour outlines", do)
    if "smaller" in colours.condition_settings:
        what, do = "this model enlarges pictures", f"write kantor upscale {colours_name} PICTURES --out DIR"
        raise ModelError(colours_name, what, do)
    if lines is None:
        return
    do = "name one that was trained with --preset painter-lines, or a folder of line drawings"
    if lines.condition:
        raise ModelError(lines_name, "this model makes images of other images, and nothing to paint", do)
    if lines.spec.channels != colours.condition:
        kind = CHANNELS[colours.condition]
        wanted = "lines are grey" if not colours.condition_settings else f"{colours_name} starts from {kind} ones"
        raise ModelError(lines_name, f"makes {lines.spec} images, but {wanted}", do)
    if lines.spec[:2] != colours.spec[:2]:
        size = size_text(colours.spec)
        what = f"makes {size_text(lines.spec)}, {colours_name} colours {size}"
        raise ConfigError(lines_name, what, f"train one of them with --size {size}")
