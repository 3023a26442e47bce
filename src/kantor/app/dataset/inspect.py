"""`kantor pack --inspect`: describes images before anything is trained on them."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kantor import atomic
from kantor.app.dataset.image_size import CHANNELS
from kantor.app.output_paths import require_free, target
from kantor.config.io import resolve
from kantor.data.decoding.decode import Header
from kantor.data.loading import layout
from kantor.data.loading.store import Store, is_packed
from kantor.data.packing.choose_size import headers
from kantor.data.packing.pack import pack
from kantor.data.packing.pool import worker_count
from kantor.data.packing.scan import require_images, scan
from kantor.data.packing.selection import open_images
from kantor.data.packing.worker import is_near_constant
from kantor.data.sources import GLYPHS, Item
from kantor.disk_errors import resource_errors
from kantor.progress import Progress
from kantor.report.figures import dataset_png
from kantor.sample.grid import grid, png_bytes
from kantor.types import ImageSpec

OURS = r"(contact-sheet|figures|duplicates|near-constant)\.png|inspect\.json|rejected\.jsonl"
THUMBNAIL = ImageSpec(64, 64, 3)
_ON_GRID, _SUSPECTS = 100, 64
_KINDS = {"gray": "grey", "rgb": "colour", "rgba": "with transparency"}
_THUMBNAIL_NOTES = ("enlarged", "grey to RGB")  # conversions to thumbnails say nothing about the images
_SIZES = (32, 48, 64, 96, 128, 192, 256, 512)


class Findings(NamedTuple):
    """What inspecting a dataset found."""

    public: dict[str, Any]  # in inspect.json
    sizes: list[tuple[int, int]]  # (height, width) of each image
    rejected: list[dict[str, Any]]  # lines of rejected.jsonl
    copies: list[int]  # rows of images whose bytes occur more than once, equal ones together
    near_constant: list[int]  # rows of images of nearly one colour


def inspect(overrides: Mapping[str, Any], out: Path, overwrite: bool, progress: Progress) -> list[str]:
    """Looks at every image and writes the folder `out`: see docs/commands.md. Returns a summary, line by line.

    Raises DataError if there are no images, ConfigError if `out` exists.
    """
    config = resolve(overrides=overrides).data
    path = Path(config.source)
    built_in = config.source == GLYPHS  # even if there is a folder of that name
    out_text, out = out, target(out, [] if built_in else [path])
    require_free(out, overwrite, OURS)
    atomic.make_folder(out.parent)
    with resource_errors(out):
        temporary = tempfile.mkdtemp(prefix=f".kantor-inspect{atomic.TEMPORARY}", dir=out.parent)
    try:
        if not built_in and is_packed(path) and not config.stack:
            store = Store.open(path)
            probed = [(store.spec.height, store.spec.width, CHANNELS[store.spec.channels])] * store.count
        else:
            source = open_images(config)
            listing = scan(source, config)
            require_images(source, listing)
            items = [entry for entry in source.items() if isinstance(entry, Item)][: config.limit or None]
            probed = headers(source, items, config.rules, worker_count(len(items)))
            small = {"max_bad": 1.0, "fit": "cover", "crop": 0, "pad": 0, "edges": "none"}
            config, path = config.model_copy(update=small), Path(temporary) / "thumbnails"
            pack(source, config, THUMBNAIL, path, progress=progress, listing=listing, allow_flat=True)
            store = Store.open(path)
        findings = _findings(store, probed)
        with atomic.new_folder(out, exist_ok=True) as folder:
            _write(folder, store, findings)
            require_free(out, overwrite, OURS)  # again: inspecting may have taken long
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [*_summary(findings.public), f"wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out_text}"]


def _findings(store: Store, probed: list[Header]) -> Findings:
    sizes = [(height, width) for height, width, _ in probed]
    labels = store.labels(np.arange(store.count))
    per_class: Any = np.bincount(labels, minlength=len(store.class_names)) if labels is not None else []
    rejected = [json.loads(line) for line in _lines(store.path / layout.REJECTED)]
    names = [json.loads(line)["name"] for line in _lines(store.path / layout.SOURCES)]
    _, group, group_size = np.unique(store.digests(), axis=0, return_inverse=True, return_counts=True)
    copies = sorted(np.flatnonzero(group_size[group] > 1).tolist(), key=lambda row: (group[row], row))
    duplicates = itertools.groupby(copies, key=lambda row: group[row])
    near_constant = [row for row in range(store.count) if is_near_constant(store.images(np.array([row]))[0])]
    shorter_sides = np.array([min(size) for size in sizes])
    percentiles = (("least", 0), ("median", 50), ("most", 100))
    notes = store.manifest.get("notes", {})
    public = {
        "pictures": store.count,
        "rejected": len(rejected),
        "sizes": {f"{h}x{w}": n for (h, w), n in Counter(sizes).most_common(50)},
        "shorter_side": {name: int(np.percentile(shorter_sides, percent)) for name, percent in percentiles},
        "kinds": dict(Counter(_KINDS[kind] for _, _, kind in probed).most_common()),
        "conversions": {note: n for note, n in notes.items() if note not in _THUMBNAIL_NOTES},
        "classes": {name: int(n) for name, n in zip(store.class_names, per_class, strict=True)},
        "duplicates": [[names[row] for row in rows] for _, rows in duplicates],
        "near_constant": [names[row] for row in near_constant],
        "rejected_because": dict(Counter(str(entry.get("reason", "")) for entry in rejected).most_common()),
    }
    return Findings(public, sizes, rejected, copies, near_constant)


def _write(folder: Path, store: Store, findings: Findings) -> None:
    spread = np.unique(np.linspace(0, store.count - 1, min(_ON_GRID, store.count)).astype(np.int64))
    caption = f"{len(spread)} of {store.count:,} images, spread evenly"
    atomic.write_bytes(folder / "contact-sheet.png", png_bytes(grid(store.images(spread), caption=caption)))
    suspects = {"duplicates.png": findings.copies, "near-constant.png": findings.near_constant}
    for name, rows in suspects.items():
        if rows:
            images = store.images(np.array(rows[:_SUSPECTS], np.int64))
            atomic.write_bytes(folder / name, png_bytes(grid(images)))
    public = findings.public
    atomic.write_bytes(folder / "figures.png", dataset_png(findings.sizes, public["kinds"], public["classes"]))
    atomic.write_text(folder / "inspect.json", json.dumps(public, indent=1) + "\n")
    if findings.rejected:
        atomic.write_text(folder / layout.REJECTED, "".join(json.dumps(entry) + "\n" for entry in findings.rejected))


def _summary(public: dict[str, Any]) -> list[str]:
    side, kinds = public["shorter_side"], ", ".join(f"{n:,} {kind}" for kind, n in public["kinds"].items())
    lines = [
        f"{public['pictures']:,} images can be used",
        f"image headers: {kinds}; shorter side {side['least']} to {side['most']} pixels, median {side['median']}",
    ]
    if counts := public["classes"]:
        least, most = min(counts.values()), max(counts.values())
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        lines.append(f"{len(counts)} classes of {each} images")
    lines += [f"{n:,} x {conversion}" for conversion, n in public["conversions"].items()]
    if reasons_count := public["rejected_because"]:
        reasons = ", ".join(f"{n} {reason}" for reason, n in list(reasons_count.items())[:3])
        more = ", ..." if len(reasons_count) > 3 else ""
        lines.append(f"{public['rejected']:,} files rejected: {reasons}{more}")
    if public["duplicates"]:
        extra = sum(len(names) - 1 for names in public["duplicates"])
        first = " = ".join(public["duplicates"][0][:2])
        lines.append(f"exact copies of other images: {extra:,}, see duplicates.png; first: {first}")
    if names := public["near_constant"]:
        lines.append(f"images of nearly one colour: {len(names):,}, see near-constant.png; first: {names[0]}")
    if sizes := [size for size in _SIZES if size <= side["median"]]:
        lines.append(f"with --size {sizes[-1]} or less, at most half of the images are enlarged; start small")
    return lines


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode("utf-8", "surrogateescape").splitlines()
