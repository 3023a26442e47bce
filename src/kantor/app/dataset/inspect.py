"""`kantor pack --inspect`: describes images before anything is trained on them."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.app.dataset.cache import DatasetCache, cache_folder
from kantor.app.dataset.image_size import CHANNELS, side_here
from kantor.app.dataset.pairs import check_condition, condition_data, pairs_line
from kantor.app.dataset.prepare import ALL_OPAQUE, absolute_source, packed_in_cache, plan_pack
from kantor.app.output_paths import require_free, target
from kantor.config.base import parse_size
from kantor.config.data import DataConfig
from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.decoding import numbers
from kantor.data.decoding.decode import COMPOSITED, MOSTLY_CUT, Header
from kantor.data.loading import layout
from kantor.data.loading.store import Store, is_packed
from kantor.data.packing.choose_size import headers
from kantor.data.packing.pack import facts, pack
from kantor.data.packing.pool import worker_count
from kantor.data.packing.scan import require_images, scan
from kantor.data.packing.selection import open_images
from kantor.data.packing.worker import is_near_constant
from kantor.data.sources.arrangement import WITHOUT_FILES
from kantor.data.sources.recognise import GLYPHS, place
from kantor.data.sources.source import Item, Source
from kantor.disk_errors import resource_errors
from kantor.errors import DataError, ResourceError
from kantor.progress import Progress
from kantor.report.dataset_page import DatasetPage, dataset_html
from kantor.report.figures import dataset_png
from kantor.report.page import EmbeddedImage
from kantor.sample.grid import grid, png_bytes
from kantor.types import ImageSpec

OURS = r"(contact-sheet|figures|duplicates|near-constant)\.png|inspect\.(json|html)|rejected\.jsonl"
THUMBNAIL = ImageSpec(64, 64, 3)
_ON_GRID, _SUSPECTS, _LISTED = 100, 64, 200
_KINDS = {"gray": "grey", "rgb": "colour", "rgba": "with transparency"}
_THUMBNAIL_NOTES = ("enlarged", "grey to RGB", MOSTLY_CUT)  # conversions to thumbnails say nothing about the images
_SIZES = (32, 48, 64, 96, 128, 192, 256, 512)


class Findings(NamedTuple):
    """What inspecting a dataset found."""

    public: dict[str, Any]  # in inspect.json
    sizes: list[tuple[int, int]]  # (height, width) of each image
    rejected: list[dict[str, Any]]  # lines of rejected.jsonl
    copies: list[int]  # rows of images whose bytes occur more than once, equal ones together
    near_constant: list[int]  # rows of images of nearly one colour


def inspect(
    overrides: Mapping[str, Any], out: Path, overwrite: bool, progress: Progress, cache: str | Path | None = None
) -> list[str]:
    """Looks at every image and writes the folder `out`: see docs/commands.md. Returns a summary, line by line.

    The images are packed into the cache, as training with the same settings packs them: either finds what the other decoded.

    Raises DataError if there are no images, ConfigError if `out` exists.
    """
    whole = resolve(overrides=overrides)
    config = whole.data
    path = Path(config.source)
    built_in = config.source == GLYPHS  # even if there is a folder of that name
    path_name = path.name or str(path)
    out_text, out = out, target(out, [] if built_in else [path])
    require_free(out, overwrite, OURS)
    atomic.make_folder(out.parent)
    with resource_errors(out):
        temporary = tempfile.mkdtemp(prefix=f".kantor-inspect{atomic.TEMPORARY}", dir=out.parent)
    decisions: list[str] = []
    try:
        if not built_in and is_packed(path) and not config.stack:
            store = Store.open(path)
            probed = [(store.spec.height, store.spec.width, CHANNELS[store.spec.channels])] * store.count
        else:
            store, source = _decoded(whole, Path(temporary), DatasetCache(cache_folder(cache), progress), decisions)
            usable = set(store.names())
            items = [item for item in _items(source) if item.name in usable]
            probed = headers(source, items, config.rules, worker_count(len(items)))
        findings = _findings(store, probed, decisions, config)
        with atomic.new_folder(out, exist_ok=True) as folder:
            _write(folder, store, findings, path_name)
            require_free(out, overwrite, OURS)  # again: inspecting may have taken long
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [*_summary(findings.public), f"wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out_text}"]


def _decoded(config: Config, temporary: Path, cache: DatasetCache, decisions: list[str]) -> tuple[Store, Source]:
    """The images as training takes them, in the cache; as thumbnails if they cannot be packed so (they show nothing, say).

    decisions: takes what the listing decided.
    """
    if config.data.condition != "none":
        return _thumbnails(config, temporary / "thumbnails", cache.progress, decisions)
    whole, config = config, absolute_source(config)
    config = config.model_copy(update={"data": config.data.model_copy(update={"max_bad": 1.0})})
    plan = plan_pack(config, side_here(config), decisions.append, looks=cache.looks)
    require_images(plan.source, plan.listing)
    try:
        return packed_in_cache(plan, cache), plan.source
    except (DataError, ResourceError):
        decisions.clear()
        return _thumbnails(whole, temporary / "thumbnails", cache.progress, decisions)


def _thumbnails(config: Config, path: Path, progress: Progress, decisions: list[str]) -> tuple[Store, Source]:
    """The images at one small size, whatever they show. decisions: takes what the listing decided."""
    data = config.data
    source = open_images(data)
    listing = scan(source, data)
    decisions += [line for line in (source.note, *source.all_listing_notes) if line]
    require_images(source, listing)
    if data.condition not in WITHOUT_FILES:
        check_condition(config)
        others = _condition_names(condition_data(data))
        decisions.append(pairs_line([item.name for item in _items(source)], others, data))
    small = data.model_copy(update={"max_bad": 1.0, "fit": "cover", "crop": 0, "pad": 0, "edges": "none"})
    pack(source, small, THUMBNAIL, path, progress=progress, listing=listing, allow_flat=True)
    return Store.open(path), source


def _findings(store: Store, probed: list[Header], decisions: list[str], config: DataConfig) -> Findings:
    sizes = [(height, width) for height, width, _ in probed]
    labels = store.labels(np.arange(store.count))
    per_class: Any = np.bincount(labels, minlength=len(store.class_names)) if labels is not None else []
    file = store.path / layout.REJECTED
    rejected = [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []
    names = store.names()
    _, group, group_size = np.unique(store.digests(), axis=0, return_inverse=True, return_counts=True)
    copies = sorted(np.flatnonzero(group_size[group] > 1).tolist(), key=lambda row: (group[row], row))
    duplicates = itertools.groupby(copies, key=lambda row: group[row])
    near_constant = [row for row in range(store.count) if is_near_constant(store.images(np.array([row]))[0])]
    shorter_sides = np.array([min(size) for size in sizes])
    percentiles = (("least", 0), ("median", 50), ("most", 100))
    notes = store.manifest.get("notes", {})
    manifest, transparent = store.manifest, _transparent(store)
    height, width = (1, 1) if config.size == "auto" else parse_size(config.size)
    public = {
        "images": store.count,
        "decisions": [*decisions, *facts(manifest), *_transparency(transparent, store, config.background)],
        "rejected": len(rejected),
        "sizes": {f"{h}x{w}": n for (h, w), n in Counter(sizes).most_common(50)},
        "shorter_side": {name: int(np.percentile(shorter_sides, percent)) for name, percent in percentiles},
        "kinds": dict(Counter(_KINDS[kind] for _, _, kind in probed).most_common()),
        "values": {
            numbers.words(kind): {"images": n, "smallest": low, "largest": high, "range": manifest["ranges"].get(kind)}
            for kind, (low, high, n) in manifest.get("values", {}).items()
        },
        "cut_by_a_third": {
            "shape": f"{height}x{width}",
            "images": sum(_cut(h, w, height, width) > 1 / 3 for h, w in sizes),
        },
        "transparent": transparent,
        "conversions": {note: n for note, n in notes.items() if note not in _THUMBNAIL_NOTES},
        "classes": {name: int(n) for name, n in zip(store.class_names, per_class, strict=True)},
        "duplicates": [[names[row] for row in rows] for _, rows in duplicates],
        "near_constant": [names[row] for row in near_constant],
        "rejected_because": dict(Counter(str(entry.get("reason", "")) for entry in rejected).most_common()),
    }
    return Findings(public, sizes, rejected, copies, near_constant)


def _transparent(store: Store) -> int:
    """How many images have, or had before they were packed, pixels that are not opaque."""
    if store.spec.channels != 4:
        return int(store.manifest.get("notes", {}).get(COMPOSITED, 0))
    return sum(int(store.images(np.array([row]))[..., 3].min() < 255) for row in range(store.count))


def _transparency(count: int, store: Store, background: str) -> list[str]:
    """What becomes of transparency: at most one line."""
    images = f"{count:,} image{'s have' if count != 1 else ' has'} transparency"
    if store.spec.channels == 4:
        return [f"{images}, which is kept"] if count else [ALL_OPAQUE]
    colour = "white" if background.lower() == "#ffffff" else background
    return [f"{images}; --channels rgba keeps it, otherwise it becomes {colour}"] if count else []


def _cut(height: int, width: int, to_height: int, to_width: int) -> float:
    """Which fraction of an image --fit cover cuts away to give it another shape."""
    ratio = (height * to_width) / (width * to_height)
    return 1 - min(ratio, 1 / ratio)


def _write(folder: Path, store: Store, findings: Findings, title: str) -> None:
    spread = np.unique(np.linspace(0, store.count - 1, min(_ON_GRID, store.count)).astype(np.int64))
    caption = f"{len(spread)} of {store.count:,} images, spread evenly"
    atomic.write_bytes(folder / "contact-sheet.png", png_bytes(grid(_small(store, spread), caption=caption)))
    suspects = {"duplicates.png": findings.copies, "near-constant.png": findings.near_constant}
    for name, rows in suspects.items():
        if rows:
            images = _small(store, np.array(rows[:_SUSPECTS], np.int64))
            atomic.write_bytes(folder / name, png_bytes(grid(images)))
    public = findings.public
    atomic.write_bytes(folder / "figures.png", dataset_png(findings.sizes, public["kinds"], public["classes"]))
    atomic.write_text(folder / "inspect.json", json.dumps(public, indent=1) + "\n")
    atomic.write_text(folder / "inspect.html", dataset_html(_page(folder, title, public)))
    if findings.rejected:
        atomic.write_text(folder / layout.REJECTED, "".join(json.dumps(entry) + "\n" for entry in findings.rejected))


def _small(store: Store, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8 [rows, H, W, C], large images shrunk to about 128 pixels: a hundred of them have to fit on a sheet."""
    step = max(1, max(store.spec.height, store.spec.width) // 128)
    if step == 1:
        return store.images(rows)
    from kantor.app.images import at_size  # imports PyTorch

    height, width = (side // step * step for side in (store.spec.height, store.spec.width))
    spec = store.spec._replace(height=height // step, width=width // step)

    def shrunk(row: int) -> NDArray[np.uint8]:
        image = store.images(np.array([row]))[0, :height, :width]
        small: NDArray[np.uint8] = at_size(image[None], spec)[0]
        return small

    return np.stack([shrunk(row) for row in rows.tolist()])


def _page(folder: Path, title: str, public: dict[str, Any]) -> DatasetPage:
    """The page, with the images that are in the folder already."""
    captions = {
        "contact-sheet.png": "Images, spread evenly over the dataset", "figures.png": "Sizes, kinds and classes",
        "duplicates.png": "Exact copies, next to each other", "near-constant.png": "Images of nearly one colour",
    }  # fmt: skip
    figures = []
    for name, caption in captions.items():
        if (folder / name).exists():
            data = (folder / name).read_bytes()
            figures.append(EmbeddedImage(caption, data, int.from_bytes(data[16:20], "big")))

    def counted(values: dict[str, int]) -> list[tuple[str, str]]:
        return [(name, f"{count:,}") for name, count in list(values.items())[:12]]

    values = [
        (kind, f"{found['smallest']:g} to {found['largest']:g} in {found['images']:,} images")
        for kind, found in public["values"].items()
    ]
    groups = [
        ("Kinds", counted(public["kinds"])), ("Sizes", counted(public["sizes"])), ("Values", values),
        ("Conversions", counted(public["conversions"])), ("Rejected", counted(public["rejected_because"])),
    ]  # fmt: skip
    lead = f"{public['images']:,} images can be used, {public['rejected']:,} files cannot."
    classes = list(public["classes"].items())[:_LISTED]
    return DatasetPage(title, lead, _summary(public)[1:], groups, classes, public["duplicates"][:_LISTED], figures)


def _summary(public: dict[str, Any]) -> list[str]:
    side, kinds = public["shorter_side"], ", ".join(f"{n:,} {kind}" for kind, n in public["kinds"].items())
    lines = [
        f"{public['images']:,} images can be used",
        f"image headers: {kinds}; shorter side {side['least']} to {side['most']} pixels, median {side['median']}",
    ]
    lines += public["decisions"]
    if cut := public["cut_by_a_third"]["images"]:
        shape = "a square" if public["cut_by_a_third"]["shape"] == "1x1" else public["cut_by_a_third"]["shape"]
        lines.append(
            f"{cut:,} image{'s' if cut != 1 else ''}: {shape} cuts more than a third away; --fit contain keeps all"
        )
    lines += [f"{n:,} x {conversion}" for conversion, n in public["conversions"].items() if conversion != COMPOSITED]
    if reasons_count := public["rejected_because"]:
        reasons = "; ".join(f"{reason} ({n:,})" for reason, n in list(reasons_count.items())[:3])
        more = "; ..." if len(reasons_count) > 3 else ""
        lines.append(f"{public['rejected']:,} files rejected: {reasons}{more}")
    if public["duplicates"]:
        extra = sum(len(names) - 1 for names in public["duplicates"])
        first = " = ".join(public["duplicates"][0][:2])
        lines.append(f"exact copies of other images: {extra:,}, see duplicates.png; first: {first}")
    if names := public["near_constant"]:
        lines.append(f"images of nearly one colour: {len(names):,}, see near-constant.png; first: {names[0]}")
    if sizes := [size for size in _SIZES if size <= side["median"]]:
        lines.append(f"--size {sizes[-1]} enlarges at most half of the images; larger sizes enlarge more")
    return lines


def _condition_names(data: DataConfig) -> list[str]:
    path = place(data.source)
    return Store.open(path).names() if is_packed(path) else [item.name for item in _items(open_images(data))]


def _items(source: Source) -> Iterator[Item]:
    return (entry for entry in source.items() if isinstance(entry, Item))
