"""Brings the images of any source to one size and into the files that training reads.

Bad images are listed, not fatal, up to a share; a pack that is killed goes on where it was; what appears under
the wanted name is whole.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kantor.atomic import stranger
from kantor.config.data import DataConfig
from kantor.data.decoding.decode import DecodeSettings
from kantor.data.decoding.edges import require_edges
from kantor.data.loading import layout
from kantor.data.packing.journal import COMMIT_S, Partial
from kantor.data.packing.pool import Pool, Row, cores
from kantor.data.packing.scan import (
    Listing,
    Watched,
    cache_key,
    choose_spec,
    is_bad,
    pixel_settings,
    require_images,
    scan,
)
from kantor.data.packing.verdict import judge, none_usable, too_many
from kantor.data.sources.source import Rejected, Source
from kantor.disk_errors import resource_errors
from kantor.errors import BusyError, ConfigError, DataError, ResourceError
from kantor.lock import locked, remove_locked
from kantor.progress import Progress, silent
from kantor.types import ImageSpec

__all__ = ["Listing", "PackReport", "cache_key", "choose_spec", "pack", "scan", "too_many"]

_WORTH_KEEPING = 2000


@dataclass(frozen=True)
class PackReport:
    """What was packed.

    Attributes:
        rejected: entries of the listing that were left out, all in rejected.jsonl; bad: those of them that are
            images.
        notes: how often each conversion was made ("16-bit": 3).
        duplicates: images whose bytes are those of an earlier one.
        near_constant: images of nearly one colour (no channel has a standard deviation of 2 of 255).
        resumed_from: images that an interrupted pack had done already.
    """

    path: Path
    count: int
    spec: ImageSpec
    rejected: int
    bad: int
    notes: dict[str, int]
    duplicates: int
    near_constant: int
    elapsed_s: float
    resumed_from: int


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
    commit_s: float = COMMIT_S,
) -> PackReport:
    """Packs `source` into the folder `out`.

    Args:
        workers: processes that decode; None takes all cores.
        progress: of the images.
        listing: of the source, where it is known already.
        timeout_s: an image that takes longer to decode is left out.
        shard_bytes: no file gets larger.
        commit_s: a pack that is killed loses about this much work.
    Raises:
        DataError: too many bad images, none at all, or the source changed meanwhile; nothing is at `out`.
        ConfigError: `out` exists.
        BusyError: another process packs the same set.
        ResourceError: disk full, no permission; outlines are asked for, and scikit-image is missing.
    """
    if config.edges != "none":
        require_edges()
    started_s = time.monotonic()
    listing = listing or scan(source, config)
    require_images(source, listing)
    class_ids = listing.class_ids(source, config)
    out = Path(out).absolute()
    folder = out.with_name(f".{out.name}.partial")
    _sweep(out, folder)
    _require_free(out, overwrite)
    with locked(folder):
        _require_free(out, overwrite)  # again: another packer may have finished meanwhile
        partial = Partial(folder, spec, class_ids, cache_key(source, config, spec, listing), shard_bytes)
        resumed_from = partial.journal.rows
        try:
            _require_space(out, min(config.limit or listing.items, listing.items) - resumed_from, spec)
            with _pool(source, config, spec, listing.items - resumed_from, workers, timeout_s) as pool:
                _fill(partial, pool, source, config, listing, progress, commit_s)
            manifest = _manifest(partial, config, spec, class_ids)
            partial.publish(manifest, out, replace=overwrite)
        except BaseException as error:
            partial.leave(discard=isinstance(error, DataError) and partial.journal.entries < _WORTH_KEEPING)
            raise
    notes = dict(partial.journal.notes)
    if class_ids is None and listing.labels and config.labels == "auto":
        notes["without a class, so all classes are ignored"] = listing.unlabelled
    return PackReport(
        path=out,
        count=manifest["count"],
        spec=spec,
        rejected=manifest["rejected"],
        bad=partial.journal.bad,
        notes=notes,
        duplicates=manifest["duplicates"],
        near_constant=manifest["near_constant"],
        elapsed_s=time.monotonic() - started_s,
        resumed_from=resumed_from,
    )


def _pool(
    source: Source, config: DataConfig, spec: ImageSpec, items: int, workers: int | None, timeout_s: float
) -> Pool:
    red, green, blue = bytes.fromhex(config.background[1:])
    settings = DecodeSettings(
        spec, config.crop, config.fit, (red, green, blue), config.min_size, config.pad, config.edges, config.edges_sigma
    )
    workers = min(workers or cores(), max(1, items // 64))  # a process takes longer to start than a few images
    return Pool(source, settings, math.prod(spec), workers, timeout_s)


def _fill(
    partial: Partial,
    pool: Pool,
    source: Source,
    config: DataConfig,
    listing: Listing,
    progress: Progress,
    commit_s: float,
) -> None:
    """Adds what the journal lacks of the listing."""
    journal, limit = partial.journal, config.limit if config.choose == "first" else 0  # by chance: all that are listed
    total, watched = listing.items + listing.bad, Watched(source)
    rest = itertools.islice(watched, journal.entries, None)
    for outcomes in pool.decode(rest, chunk=max(1, min(128, total // 8))):
        if limit:
            outcomes = _cut(outcomes, limit - journal.rows)
        partial.add(outcomes, [is_bad(outcome) for outcome in outcomes])
        partial.commit(every_s=commit_s)
        looked_at = min(total, limit + journal.bad) if limit else total
        progress(journal.rows + journal.bad, looked_at, journal.bad)
        if journal.bad >= len(journal.first_bad) == 10:
            judge(journal, source, config, looked_at)
        if limit and journal.rows >= limit:
            break
    else:
        if watched.digest != listing.digest:
            raise DataError(source.path, "changed while it was being packed", "pack it again")
    partial.commit()
    judge(journal, source, config, journal.rows + journal.bad)
    if journal.rows == 0:
        raise none_usable(journal, source, "its")


def _cut(outcomes: list[Row | Rejected], room: int) -> list[Row | Rejected]:
    """The first of `outcomes`, with at most `room` rows among them."""
    for position, outcome in enumerate(outcomes):
        if isinstance(outcome, Row):
            room -= 1
            if room < 0:
                return outcomes[:position]
    return outcomes


def _manifest(
    partial: Partial, config: DataConfig, spec: ImageSpec, class_ids: dict[str, int] | None
) -> dict[str, Any]:
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
    """Raises ConfigError where something is at `out` that must stay."""
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise ConfigError(out, "exists already", "choose another name, or replace it with --overwrite")
    if not layout.is_packed(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(out, "is not a packed set, so it will not be replaced", "choose another name")
    if (name := stranger(out, layout.OURS)) is not None:
        what = f"holds {name}, which is no part of a packed set, so it will not be replaced"
        raise ConfigError(out, what, "move that elsewhere, or choose another name")


def _require_space(out: Path, images: int, spec: ImageSpec) -> None:
    with resource_errors(out):
        free = shutil.disk_usage(out.parent).free
    needed = images * (math.prod(spec) + layout.INDEX.itemsize + layout.LABELS.itemsize)
    if needed > free:
        what = f"the disk is too small: {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free"
        raise ResourceError(out, what, "free some space, choose another disk, or use a smaller --size")


def _sweep(out: Path, folder: Path) -> None:
    """Deletes what a packer left that was killed between publishing its set and tidying up."""
    if out.exists() and folder.exists() and not (folder / "set").exists():
        with contextlib.suppress(BusyError), locked(folder):
            remove_locked(folder)
