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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kantor.atomic import stranger
from kantor.config.data import DataConfig
from kantor.data.decoding.edges import require_edges
from kantor.data.decoding.formats import DecodeSettings, rgb
from kantor.data.loading import layout
from kantor.data.packing.journal import PartialPack
from kantor.data.packing.max_bad import require_usable
from kantor.data.packing.pool import Pool, Row, worker_count
from kantor.data.packing.scan import ClassIds, Listing, cache_key, entries_hashed, pixel_settings, require_images, scan
from kantor.data.sources.source import Source
from kantor.disk_errors import resource_errors
from kantor.errors import BusyError, ConfigError, DataError, ResourceError
from kantor.lock import locked, remove_locked
from kantor.progress import Progress, silent
from kantor.types import ImageSpec


@dataclass(frozen=True)
class PackReport:
    """What was packed."""

    path: Path
    count: int
    spec: ImageSpec
    rejected: int  # entries listed in rejected.jsonl
    bad: int  # those of them that are images
    notes: dict[str, int]  # how often each conversion was made ("16-bit": 3)
    duplicates: int  # images with the same bytes as an earlier one
    near_constant: int  # images of nearly one colour: no channel's standard deviation reaches 2 of 255
    elapsed_s: float
    resumed_from: int  # images that an interrupted pack had done already

    def lines(self, rejected_file: str) -> list[str]:
        """Returns lines for the user. rejected_file: what to call the file that lists the rejected files."""
        images_per_s = self.count / max(self.elapsed_s, 1e-9)
        lines = [f"packed {_images(self.count)}, {self.spec}, in {self.elapsed_s:.1f} s ({images_per_s:,.0f} a second)"]
        if self.resumed_from:
            lines.append(f"resumed after the {self.resumed_from:,} images of an earlier attempt")
        if self.rejected:
            files = "file" if self.rejected == 1 else "files"
            lines.append(f"rejected {self.rejected:,} {files}, listed with the reason in {rejected_file}")
            with (self.path / layout.REJECTED).open(encoding="utf-8", errors="surrogateescape") as file:
                rejected = [json.loads(line) for line in itertools.islice(file, 1000)]
            rejected.sort(key=lambda entry: bool(entry.get("kind") == "not_image"))  # images first
            lines += [f"  {entry['name']}: {entry['reason']}" for entry in rejected[:3]]
            lines += ["  ..."] if self.rejected > 3 else []
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
) -> PackReport:
    """Packs `source` into the folder `out`.

    Args:
        workers: processes that decode; None for all cores.
        listing: of the source, if known already.
        timeout_s: an image that takes longer to decode is rejected.
        shard_bytes: the largest size of a file.
        commit_s: a pack that is killed loses about this much work.
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
        with PartialPack(folder, spec, class_ids, key, shard_bytes, commit_s) as partial:
            resumed_from = partial.journal.rows
            _require_space(out, min(config.limit or listing.items, listing.items) - resumed_from, spec)
            same = ("crop", "fit", "min_size", "pad", "edges", "edges_sigma")
            fields = {name: getattr(config, name) for name in same}
            settings = DecodeSettings(spec=spec, background=rgb(config.background), **fields)
            with Pool(source, settings, worker_count(listing.items - resumed_from, workers), timeout_s) as pool:
                _add_missing(partial, pool, source, config, listing, progress)
            manifest = _manifest(partial, config, spec, class_ids)
            partial.publish(manifest, out, replace=overwrite)
    counts = {name: manifest[name] for name in ("count", "rejected", "bad", "duplicates", "near_constant")}
    notes = manifest["notes"] | notes
    elapsed_s = time.monotonic() - started_s
    return PackReport(out, spec=spec, notes=notes, elapsed_s=elapsed_s, resumed_from=resumed_from, **counts)


def _add_missing(
    partial: PartialPack, pool: Pool, source: Source, config: DataConfig, listing: Listing, progress: Progress
) -> None:
    """Adds those entries of the listing that the journal lacks."""
    journal, digest, total = partial.journal, hashlib.sha256(), listing.items + listing.bad
    limit = config.limit if config.choose == "first" else 0  # a random subset is listed as such
    missing = itertools.islice(entries_hashed(source, digest), journal.entries, None)
    for outcomes in pool.decode(missing, chunk=max(1, min(128, total // 8))):
        if limit:
            rows = itertools.accumulate(isinstance(outcome, Row) for outcome in outcomes)
            outcomes = [outcome for outcome, n in zip(outcomes, rows, strict=True) if journal.rows + n <= limit]
        partial.add(outcomes)
        expected = min(total, limit + journal.bad) if limit else total
        progress(journal.rows + journal.bad, expected, journal.bad)
        if journal.bad >= len(journal.first_bad) == 10:
            require_usable(journal, source, config, expected)
        if limit and journal.rows >= limit:
            break
    else:
        if digest.hexdigest() != listing.digest:
            raise DataError(source.path, "changed while it was being packed", "pack it again")
    partial.commit()
    require_usable(journal, source, config, journal.rows + journal.bad)


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count != 1 else ''}"


def _manifest(partial: PartialPack, config: DataConfig, spec: ImageSpec, class_ids: ClassIds) -> dict[str, Any]:
    journal, settings, names = partial.journal, pixel_settings(config), list(class_ids or ())
    shards = list(partial.index_and_labels())
    manifest = {
        "kantor_pack": layout.VERSION,
        "size": [spec.height, spec.width],
        "channels": spec.channels,
        "count": journal.rows,
        "shards": [{"rows": rows} for rows in journal.shards],
        "labelled": class_ids is not None,
        "class_names": names,
        "settings": settings,
        "fingerprint": layout.fingerprint(spec, settings, names, shards),
        "notes": journal.notes,
        "rejected": journal.rejected,
        "bad": journal.bad,
        "duplicates": layout.duplicates([index for index, _ in shards]),
        "near_constant": journal.near_constant,
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
