"""Packs the images of any source, at one size, into the files that training reads.

journal.py writes and counts images and rejected ones, max_bad.py limits these. A pack that is killed resumes where it
was; the target appears only when it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kantor.atomic import stranger
from kantor.config.data import DataConfig
from kantor.data.decoding.edges import require_edges
from kantor.data.decoding.formats import SEVERAL_FRAMES, DecodeSettings, rgb
from kantor.data.loading import layout
from kantor.data.packing.journal import PartialPack
from kantor.data.packing.max_bad import require_few_listed_bad, require_usable
from kantor.data.packing.pool import Pool, Row, worker_count
from kantor.data.packing.scan import ClassIds, Listing, cache_key, entries_hashed, pixel_settings, require_images, scan
from kantor.data.packing.value_range import FirstLook, UnlookedValues, ValueRanges, look_at_all, not_yet_looked
from kantor.data.sources.arrangement import HALVES
from kantor.data.sources.source import Rejected, Source
from kantor.disk_errors import resource_errors
from kantor.errors import BusyError, ConfigError, DataError, ResourceError
from kantor.lock import locked, remove_locked
from kantor.progress import Progress, silent
from kantor.types import ImageSpec

_FLAT = 0.95  # so many images of nearly one colour make one look whether all are of the same
_CLASSES = 12  # are named

Watch = Callable[[Sequence[Row | Rejected]], None]


@dataclass(frozen=True)
class PackReport:
    """What was packed."""

    path: Path
    manifest: dict[str, Any]
    listed: dict[str, int]  # what the listing found, counted
    elapsed_s: float
    resumed_from: int  # images that an interrupted pack had done already

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self.manifest["count"])

    @property
    def spec(self) -> ImageSpec:
        """Of the packed images."""
        height, width = self.manifest["size"]
        return ImageSpec(height, width, self.manifest["channels"])

    @property
    def rejected(self) -> int:
        """Number of entries in rejected.jsonl."""
        return int(self.manifest["rejected"])

    @property
    def bad(self) -> int:
        """How many of these are images."""
        return int(self.manifest["bad"])

    @property
    def duplicates(self) -> int:
        """Images with the same bytes as an earlier one."""
        return int(self.manifest["duplicates"])

    @property
    def near_constant(self) -> int:
        """Images of nearly one colour: no channel's standard deviation reaches 2 of 255."""
        return int(self.manifest["near_constant"])

    @property
    def notes(self) -> dict[str, int]:
        """How often each conversion was made ("16-bit": 3)."""
        return {**self.manifest["notes"], **self.listed}

    def lines(self, rejected_file: str) -> list[str]:
        """Returns lines for the user. rejected_file: what to call the file that lists the rejected files."""
        images_per_s, rejected = self.count / max(self.elapsed_s, 1e-9), self.rejected
        lines = [f"packed {_images(self.count)}, {self.spec}, in {self.elapsed_s:.1f} s ({images_per_s:,.0f} a second)"]
        if self.resumed_from:
            lines.append(f"resumed after the {self.resumed_from:,} images of an earlier attempt")
        lines += facts(self.manifest)
        if rejected:
            files = "file" if rejected == 1 else "files"
            lines.append(f"rejected {rejected:,} {files}, listed with the reason in {rejected_file}")
            with (self.path / layout.REJECTED).open(encoding="utf-8", errors="surrogateescape") as file:
                entries = [json.loads(line) for line in itertools.islice(file, 1000)]
            entries.sort(key=lambda entry: bool(entry.get("kind") == "not_image"))  # images first
            lines += [f"  {entry['name']}: {entry['reason']}" for entry in entries[:3]]
            lines += ["  ..."] if rejected > 3 else []
        lines += [f"{_images(count)}: {conversion}" for conversion, count in sorted(self.notes.items())]
        if self.duplicates:
            lines.append(f"exact copies of other images: {self.duplicates:,}")
        if self.near_constant:
            lines.append(f"images of nearly one colour: {self.near_constant:,}")
        return lines


def pack(
    source: Source,
    config: DataConfig,
    spec: ImageSpec,
    out: Path,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    overwrite: bool = False,
    listing: Listing | None = None,
    timeout_s: float = 10.0,
    shard_bytes: int = layout.SHARD_BYTES,
    commit_s: float = 2.0,
    allow_flat: bool = False,
    watch: Watch | None = None,
) -> PackReport:
    """Packs `source` into the folder `out`.

    Args:
        workers: processes that decode; None for all cores.
        listing: of the source, if known already.
        timeout_s: an image that takes longer to decode is rejected.
        shard_bytes: the largest size of a file.
        commit_s: a pack that is killed loses about this much work.
        allow_flat: whether the images may be all of nearly the same colour.
        watch: called with the rows that were just packed, and what was rejected between them.
    Raises:
        DataError: too many unreadable images, no image, or the source changed meanwhile; nothing is at `out`.
        ConfigError: `out` exists.
        BusyError: another process packs to the same folder.
        ResourceError: disk full, no permission, or scikit-image is missing for outlines.
    """
    if config.edges != "none":
        require_edges()
    started_s = time.monotonic()
    listing = listing or scan(source, config)
    require_images(source, listing)
    require_few_listed_bad(listing, source, config)
    class_ids, notes = listing.class_ids(source, config), {}
    if class_ids is None and listing.labels and config.labels == "auto":
        notes["without a class, so all classes are ignored"] = listing.unlabelled
    out = Path(out).absolute()
    folder = out.with_name(f".{out.name}.partial")
    _remove_published(out, folder)
    _require_free(out, overwrite)
    with locked(folder):
        _require_free(out, overwrite)  # again: another process may have finished meanwhile
        key = cache_key(source, config, spec, listing)

        def attempt(values: ValueRanges) -> tuple[dict[str, Any], int]:
            whole_key = key if not values.ranges else layout.digest({"key": key, "ranges": values.ranges})
            with PartialPack(folder, spec, class_ids, whole_key, shard_bytes, commit_s, config.rules) as partial:
                resumed_from = partial.journal.rows
                _require_space(out, min(config.limit or listing.items, listing.items) - resumed_from, spec)
                settings = decode_settings(config, spec, values)
                count = worker_count(listing.items - resumed_from, listing.encoded_bytes, workers)
                with Pool(source, settings, count, timeout_s) as pool:
                    _add_missing(partial, pool, source, config, listing, progress, FirstLook(values), watch)
                manifest = _manifest(partial, config, spec, class_ids, values)
                if config.rules >= 2 and not allow_flat:
                    _require_contrast(partial, source, config, values)
                partial.publish(manifest, out, replace=overwrite)
            return manifest, resumed_from

        try:
            manifest, resumed_from = attempt(not_yet_looked(config))
        except UnlookedValues:
            manifest, resumed_from = attempt(look_at_all(source, config, listing, progress))
    elapsed_s = time.monotonic() - started_s
    return PackReport(out, manifest, notes, elapsed_s=elapsed_s, resumed_from=resumed_from)


def decode_settings(config: DataConfig, spec: ImageSpec, values: ValueRanges) -> DecodeSettings:
    """How images become those of a packed dataset. values: the ranges that `config` leaves to be found."""
    same = ("crop", "fit", "min_size", "pad", "edges", "edges_sigma", "transpose", "rules", "range", "nodata")
    fields = {name: getattr(config, name) for name in same}
    fields |= {"background": rgb(config.background), "half": HALVES.get(config.condition, "")}
    return DecodeSettings(spec, ranges=values.ranges, all_looked_at=values.all_looked_at, **fields)


def _require_contrast(partial: PartialPack, source: Source, config: DataConfig, values: ValueRanges) -> None:
    """Raises DataError if the images show nothing: nearly each is of one colour, and all of the same."""
    journal = partial.journal
    if journal.near_constant < _FLAT * journal.rows:
        return
    images = partial.first_images(256).reshape(-1, partial.spec.channels)[:, :3].astype(np.float32)
    if images.std(axis=0).max() >= 1.5:
        return
    low, high = f"{images.min():.0f}", f"{images.max():.0f}"
    what = f"the images show nothing: nearly all pixels are {low if low == high else f'{low} to {high}'} of 0 to 255"
    remedy = "look at them with kantor pack --inspect"
    if values.held:
        least, most, _ = max(values.held.values(), key=lambda held: held[2])
        remedy = f"spread their values, {least:.3g} to {most:.3g}: --set data.range={least:.3g}..{most:.3g}"
    if SEVERAL_FRAMES in journal.notes:
        remedy = "they are the first of several frames each: take all with --set data.frames=all"
    if config.range != "auto":
        remedy = "leave data.range out, and it is found by looking at all images"
    raise DataError(source.path, what, remedy)


def _add_missing(
    partial: PartialPack,
    pool: Pool,
    source: Source,
    config: DataConfig,
    listing: Listing,
    progress: Progress,
    first_look: FirstLook,
    watch: Watch | None,
) -> None:
    """Adds those entries of the listing that the journal lacks."""
    journal, digest, total = partial.journal, hashlib.sha256(), listing.items + listing.bad
    limit = config.limit if config.choose == "first" else 0  # a random subset is listed as such
    missing = itertools.islice(entries_hashed(source, digest), journal.entries, None)
    for outcomes in pool.decode(missing, chunk=max(1, min(128, total // max(8, 4 * pool.workers)))):
        first_look(outcomes)
        if limit:
            rows = itertools.accumulate(isinstance(outcome, Row) for outcome in outcomes)
            outcomes = [outcome for outcome, n in zip(outcomes, rows, strict=True) if journal.rows + n <= limit]
        partial.add(outcomes)
        if watch is not None:
            watch(outcomes)
        expected = min(total, limit + journal.bad) if limit else total
        progress(journal.rows + journal.bad, expected, journal.bad)
        if journal.bad >= len(journal.first_bad) == 10:
            require_usable(journal, source, config, expected)
        if limit and journal.rows >= limit:
            break
    else:
        if digest.hexdigest() != listing.digest:
            raise DataError(source.path, "changed while it was being packed", "pack it again")
    first_look((), last=True)
    partial.commit()
    require_usable(journal, source, config, journal.rows + journal.bad)


def facts(manifest: dict[str, Any]) -> list[str]:
    """What a packed dataset is, for the user: its classes, and the range of its values."""
    lines = []
    names, counts = manifest["class_names"], manifest.get("class_counts")
    if names and counts:
        lines.append(class_line(dict(zip(names, counts, strict=True))))
    if empty := manifest.get("empty_classes"):
        what = "this class has" if len(empty) == 1 else f"{len(empty)} classes have"
        lines.append(f"{what} no usable image and is no class of the dataset: {', '.join(empty[:_CLASSES])}")
    ranges = {kind: (low, high) for kind, (low, high) in manifest.get("ranges", {}).items()}
    held = {kind: (low, high, count) for kind, (low, high, count) in manifest.get("values", {}).items()}
    return lines + ValueRanges(ranges, True, held).lines()


def class_line(counts: dict[str, int]) -> str:
    """ "3 classes: red (12), green (12), blue (12)"."""
    shown = ", ".join(f"{name} ({count:,})" for name, count in itertools.islice(counts.items(), _CLASSES))
    more = f" and {len(counts) - _CLASSES:,} more" if len(counts) > _CLASSES else ""
    return f"{len(counts):,} class{'es' if len(counts) != 1 else ''}: {shown}{more}"


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count != 1 else ''}"


def _manifest(
    partial: PartialPack, config: DataConfig, spec: ImageSpec, class_ids: ClassIds, values: ValueRanges
) -> dict[str, Any]:
    journal, settings, names = partial.journal, pixel_settings(config), list(class_ids or ())
    partial.close_shards()
    counts = partial.class_counts(len(names)) if names else []
    kept = [old for old, count in enumerate(counts) if count or config.rules < 2]
    used = [names[old] for old in kept]
    if class_ids is not None:
        partial.write_labels({old: new for new, old in enumerate(kept)})
    more: dict[str, Any] = {}
    if config.rules >= 2:
        more = {
            "class_counts": [count for count in counts if count],
            "empty_classes": [name for name, count in zip(names, counts, strict=True) if not count],
            "ranges": {kind: list(ends) for kind, ends in values.ranges.items()},
            "values": {kind: list(held) for kind, held in values.held.items()},
        }
    manifest = {
        "kantor_pack": layout.VERSION,
        "size": [spec.height, spec.width],
        "channels": spec.channels,
        "count": journal.rows,
        "shards": [{"rows": rows} for rows in journal.shards],
        "labelled": class_ids is not None,
        "class_names": used,
        "settings": settings,
        "fingerprint": layout.fingerprint(spec, settings, used, partial.index_and_labels()),
        "notes": journal.notes,
        "rejected": journal.rejected,
        "bad": journal.bad,
        "duplicates": layout.duplicates(partial.index, journal.rows),
        "near_constant": journal.near_constant,
        **more,
    }
    return {**manifest, "digest": layout.digest(manifest)}


def _require_free(out: Path, overwrite: bool) -> None:
    """Raises ConfigError if there is something at `out` that must stay."""
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise ConfigError(out, "already exists", "choose another name, or replace it with --overwrite")
    if not layout.is_packed(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(out, "is not a packed dataset, so it will not be replaced", "choose another name")
    if (name := stranger(out, layout.OURS)) is not None:
        what = f"holds {name}, which is not part of a packed dataset, so it will not be replaced"
        raise ConfigError(out, what, "move it elsewhere, or choose another name")


def _require_space(out: Path, images: int, spec: ImageSpec) -> None:
    with resource_errors(out):
        free = shutil.disk_usage(out.parent).free
    needed = images * (math.prod(spec) + layout.INDEX.itemsize + layout.LABELS.itemsize)
    if needed > free:
        what = f"the disk is too small: {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free"
        raise ResourceError(out, what, "free some space, choose another disk, or use a smaller --size")


def _remove_published(out: Path, folder: Path) -> None:
    """Deletes what is left of a pack that was killed between publishing its dataset and cleaning up."""
    if out.exists() and folder.exists() and not (folder / "set").exists():
        with contextlib.suppress(BusyError), locked(folder):
            remove_locked(folder)
