"""A look at a set of images before anything is trained on it."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.app.output_paths import require_free, target
from kantor.config.data import DataConfig
from kantor.config.io import resolve
from kantor.data.loading import layout
from kantor.data.loading.store import Store, is_packed
from kantor.data.packing.pack import pack
from kantor.data.packing.pool import Pool, cores
from kantor.data.packing.scan import Listing, require_images, scan
from kantor.data.packing.selection import open_images
from kantor.data.packing.worker import is_flat
from kantor.data.sources import GLYPHS, Item, Source
from kantor.disk_errors import resource_errors
from kantor.progress import Progress
from kantor.report.dataset_figure import figure_png
from kantor.sample.grid import grid, png_bytes
from kantor.types import ImageSpec

OURS = r"(contact-sheet|figures|duplicates|near-constant)\.png|inspect\.json|rejected\.jsonl"
SIDE = 64
_SHEET, _SUSPECTS = 100, 64
_MODES = {"gray": "grey", "rgb": "colour", "rgba": "with transparency"}
_OURS = ("enlarged", "grey to RGB", "shrunk")  # of the thumbnails, which says nothing about the images
_LEVELS = (32, 48, 64, 96, 128, 192, 256, 512)


def inspect(overrides: Mapping[str, Any], out: Path, overwrite: bool, progress: Progress) -> list[str]:
    """Looks at every image and writes the folder `out`: see docs/commands.md. The images stay as they are.

    Returns:
        The summary, line by line.
    Raises:
        DataError: there are no images; ConfigError: `out` exists.
    """
    config = resolve(overrides=overrides).data
    path = Path(config.source)
    built_in = config.source == GLYPHS  # even where a folder of that name lies here
    shown, out = out, target(out, [] if built_in else [path])
    require_free(out, overwrite, OURS)
    atomic.make_folder(out.parent)
    with resource_errors(out):
        place = tempfile.mkdtemp(prefix=f".kantor-inspect{atomic.TEMPORARY}", dir=out.parent)
    try:
        if not built_in and is_packed(path) and not config.stack:
            store, sizes, kinds = Store.open(path), None, None
        else:
            source = open_images(config)
            listing = scan(source, config)
            sizes, kinds = _probed(source, config, listing)
            wanted = config.model_copy(update={"max_bad": 1.0, "fit": "cover", "crop": 0, "pad": 0, "edges": "none"})
            thumbnails = Path(place) / "thumbnails"
            pack(source, wanted, ImageSpec(SIDE, SIDE, 3), thumbnails, progress=progress, listing=listing)
            store = Store.open(thumbnails)
        found = _facts(store, sizes, kinds)
        with atomic.new_folder(out, exist_ok=True) as folder:
            _write(folder, store, found)
            require_free(out, overwrite, OURS)  # once more: looking may have taken long
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return [*_summary(found), f"written to {shown}: {', '.join(sorted(p.name for p in out.iterdir()))}"]


def _probed(source: Source, config: DataConfig, listing: Listing) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """(height, width) of every image that can be opened, and how many of each kind."""
    require_images(source, listing)
    items = [entry for entry in source.items() if isinstance(entry, Item)]
    items = items[: config.limit] if config.limit else items
    with Pool(source, None, row_bytes=1, workers=cores()) as pool:
        seen = pool.probe(items)
    kinds = Counter(_MODES[kind] for _, _, kind in seen)
    return [(height, width) for height, width, _ in seen], dict(kinds.most_common())


def _facts(store: Store, sizes: list[tuple[int, int]] | None, kinds: dict[str, int] | None) -> dict[str, Any]:
    """Everything that inspect.json says; and the rows that the sheets show."""
    if sizes is None or kinds is None:
        sizes = [store.spec[:2]] * store.count
        kinds = {{1: "grey", 3: "colour"}.get(store.spec.channels, "with transparency"): store.count}
    labels = store.labels(np.arange(store.count))
    counts: Any = np.bincount(labels, minlength=len(store.class_names)) if labels is not None else []
    rejected = [json.loads(line) for line in _lines(store.path / layout.REJECTED)]
    names = [json.loads(line)["name"] for line in _lines(store.path / layout.SOURCES)]
    _, group, size = np.unique(store.digests(), axis=0, return_inverse=True, return_counts=True)
    copies = sorted(np.flatnonzero(size[group] > 1).tolist(), key=lambda row: (group[row], row))
    alike = itertools.groupby(copies, key=lambda row: group[row])
    flat = [row for row in range(store.count) if is_flat(store.images(np.array([row]))[0])]
    sides = np.array([min(pair) for pair in sizes])
    return {
        "pictures": store.count,
        "rejected": len(rejected),
        "sizes": {f"{h}x{w}": n for (h, w), n in Counter(sizes).most_common(50)},
        "shorter_side": {q: int(np.percentile(sides, p)) for q, p in (("least", 0), ("median", 50), ("most", 100))},
        "kinds": kinds,
        "conversions": {what: n for what, n in store.manifest.get("notes", {}).items() if what not in _OURS},
        "classes": {name: int(n) for name, n in zip(store.class_names, counts, strict=True)},
        "duplicates": [[names[row] for row in rows] for _, rows in alike],
        "near_constant": [names[row] for row in flat],
        "rejected_because": dict(Counter(str(entry.get("reason", "")) for entry in rejected).most_common()),
        "_rejected": rejected,
        "_sizes": sizes,
        "_copies": copies,
        "_flat": flat,
    }


def _write(folder: Path, store: Store, found: dict[str, Any]) -> None:
    spread = np.unique(np.linspace(0, store.count - 1, min(_SHEET, store.count)).astype(np.int64))
    caption = f"{len(spread)} of {store.count:,} images, spread evenly"
    atomic.write_bytes(folder / "contact-sheet.png", png_bytes(grid(store.images(spread), caption=caption)))
    suspects: dict[str, NDArray[np.int64]] = {
        "duplicates.png": np.array(found["_copies"][:_SUSPECTS], np.int64),
        "near-constant.png": np.array(found["_flat"][:_SUSPECTS], np.int64),
    }
    for name, rows in suspects.items():
        if len(rows):
            atomic.write_bytes(folder / name, png_bytes(grid(store.images(rows))))
    atomic.write_bytes(folder / "figures.png", figure_png(found["_sizes"], found["kinds"], found["classes"]))
    public = {name: value for name, value in found.items() if not name.startswith("_")}
    atomic.write_text(folder / "inspect.json", json.dumps(public, indent=1) + "\n")
    if found["_rejected"]:
        lines = [json.dumps(entry) for entry in found["_rejected"]]
        atomic.write_text(folder / layout.REJECTED, "\n".join(lines) + "\n")


def _summary(found: dict[str, Any]) -> list[str]:
    side, kinds = found["shorter_side"], ", ".join(f"{n:,} {kind}" for kind, n in found["kinds"].items())
    lines = [
        f"{found['pictures']:,} images can be used",
        f"what the headers of all that can be opened say: {kinds}; shorter sides from {side['least']} to {side['most']} "
        f"pixels, half of them {side['median']} or more",
    ]
    if found["classes"]:
        counts = found["classes"]
        least, most = min(counts.values()), max(counts.values())
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        lines.append(f"{len(counts)} classes of {each} images")
    lines += [f"{n:,} x {what}" for what, n in found["conversions"].items()]
    if found["rejected"]:
        reasons = ", ".join(f"{n} {why}" for why, n in list(found["rejected_because"].items())[:3])
        more = ", ..." if len(found["rejected_because"]) > 3 else ""
        lines.append(f"{found['rejected']:,} files are left out: {reasons}{more}")
    if found["duplicates"]:
        extra = sum(len(group) - 1 for group in found["duplicates"])
        first = " = ".join(found["duplicates"][0][:2])
        lines.append(f"exact copies of other images: {extra:,}, see duplicates.png; the first: {first}")
    if found["near_constant"]:
        first = found["near_constant"][0]
        lines.append(
            f"images that show next to nothing: {len(found['near_constant']):,}, see near-constant.png; the first: {first}"
        )
    fits = [level for level in _LEVELS if level <= side["median"]]
    if fits:
        lines.append(f"with --size {fits[-1]} or less, no more than half of them have to be enlarged; begin small")
    return lines


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode("utf-8", "surrogateescape").splitlines()
