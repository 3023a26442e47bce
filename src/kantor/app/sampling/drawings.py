"""Drawings and other images of the user's own that a model paints: found, and brought to what it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from kantor.app.sampling.pictures import read_bytes
from kantor.config.data import DataConfig
from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.packing.pack import decode_settings
from kantor.data.packing.value_range import ValueRanges
from kantor.data.reasons import Undecodable
from kantor.data.sources.names import IMAGES, is_clutter
from kantor.errors import DataError, ModelError, did_you_mean
from kantor.export.weights import Card
from kantor.runs import directory
from kantor.types import Images

_WHITE = (255, 255, 255)
_FAINTEST = 8  # grey levels: lines fainter than this count as stains


def find_drawings(text: str, runs: Path) -> list[Path]:
    """The image that `text` names, or the images in that folder; empty if it names a model."""
    path = Path(text)
    try:
        if path.is_file() and path.suffix.lower() in IMAGES:
            return [path]
        if directory.names_a_run(text, runs):
            return []
        if not path.exists():
            _require_model_name(path, runs)
        if not path.is_dir() or (path / directory.CONFIG).exists() or directory.is_checkpoint(path):
            return []
        return sorted(filter(_is_drawing, path.iterdir())) or _no_drawings(path)
    except OSError as error:
        raise DataError(text, f"cannot be read ({error.strerror})", "check the path") from error


def _is_drawing(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and not is_clutter(path.name) and path.is_file()


def _no_drawings(folder: Path) -> list[Path]:
    """Raises DataError for a folder without images at its top."""
    below = (entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not is_clutter(entry.name))
    inner = next((entry for entry in below if any(map(_is_drawing, entry.rglob("*")))), None)
    if inner is not None:
        raise DataError(folder, "has images only in its sub-folders, which are not read", f"name one of them: {inner}")
    raise DataError(folder, "is not a run directory, and there are no images in it", "name a run, an image or a folder")


def _require_model_name(path: Path, runs: Path) -> None:
    """Raises ModelError if a path that does not exist cannot stand for a model either, with the nearest name."""
    if path.suffix == ".safetensors" or path.name == "latest" or path.name.isdigit():
        return  # what loads models says more
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    wanted = _is_drawing if path.suffix.lower() in IMAGES else Path.is_dir
    near = [str(path.parent / entry.name) for entry in beside if not is_clutter(entry.name) and wanted(entry)]
    all_runs = [run.name for run in directory.listed(runs)]
    near += [name for run in all_runs for name in (run, run.partition("-")[2])]
    last = f"choose a run ({', '.join(all_runs[-5:])}), " if all_runs else "name a run, "
    do = did_you_mean(str(path), near) or f"{last}an image or a folder of images"
    raise ModelError(path, f"there is no image, folder or run of this name in {path.parent} or {runs}", do)


def stems_of(drawings: list[Path], seeds: list[int]) -> list[str]:
    """File names without suffix: each drawing once per seed."""
    names = [path.stem for path in drawings]
    twice = next((path for path in drawings if names.count(path.stem) > 1), None)
    if twice is not None:
        raise DataError(twice, "has the same name as another drawing, except for its suffix", "rename one of them")
    return [f"{name}-seed-{seed:08d}" for name in names for seed in seeds]


def read_drawings(drawings: list[Path], card: Card, model: str) -> list[Images]:
    """What a model of `card` starts from [H, W, K], of each file: as it was trained on, or drawn by hand."""
    return _as_trained(drawings, card, model) if card.condition_settings else _by_hand(drawings, card)


def _by_hand(drawings: list[Path], card: Card) -> list[Images]:
    """Uncropped lines [H, W, 1], black on white."""
    settings = DecodeSettings(card.spec._replace(channels=1), 0, "contain", _WHITE, 1)
    return [_inked(path, _read(path, settings)) for path in drawings]


def _as_trained(images: list[Path], card: Card, model: str) -> list[Images]:
    """Conditions [H, W, K], brought to size and values as those that the model was trained on."""
    names = ("crop", "fit", "background", "pad", "transpose", "range", "nodata")
    known = {name: value for name, value in card.condition_settings.items() if name in names}
    try:
        config = DataConfig.model_validate({**known, "min_size": 1})
        ranges = TypeAdapter(dict[str, tuple[float, float]]).validate_python(card.condition_settings["ranges"])
    except (ValueError, KeyError) as error:
        raise ModelError(model, "describes conditions that this version does not know", "check the file") from error
    spec = card.spec._replace(channels=card.condition)
    settings = decode_settings(config, spec, ValueRanges(ranges, True, {}))
    return [_read(path, settings) for path in images]


def _inked(path: Path, image: Images) -> Images:
    """Makes the paper (the median) white and the darkest line black: scans are yellowish, small lines pale."""
    paper = float(np.median(image))
    if paper < 128:
        raise DataError(path, "is mostly dark, but lines must be dark on light paper", "invert it")
    ink = np.clip(paper - image.astype(np.float64), 0, None)
    if ink.max() < _FAINTEST:
        raise DataError(path, "shows no lines", "remove it, or draw darker lines")
    inked: Images = np.rint(255 - ink * (255 / ink.max())).astype(np.uint8)
    return inked


def _read(path: Path, settings: DecodeSettings) -> Images:
    try:
        return decode(read_bytes(path), settings)[0]
    except Undecodable as error:
        raise DataError(path, f"cannot be used: {error}", "save it as a PNG, or remove it from the folder") from error
