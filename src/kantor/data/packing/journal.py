"""A packed set that is being written, in such a way that a pack killed at any instant can go on.

Everything happens in `.NAME.partial` beside the target: the files of the set in `set/`, and a journal that says how
far each of them is known to be on the disk. Whoever opens it cuts the files back to the journal; the same images
then give the same bytes as a pack that was never disturbed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kantor.atomic import AppendFile, patch, publish, remove_leftovers, sync_folder, write_json
from kantor.data.loading import layout
from kantor.data.loading.layout import HEADER_BYTES, INDEX, LABELS, shard_file
from kantor.data.packing.pool import Row
from kantor.data.reasons import Reason
from kantor.data.sources.source import Rejected
from kantor.lock import remove_locked
from kantor.types import ImageSpec

COMMIT_S = 2.0
_BLANK = b" " * HEADER_BYTES


def rejected_in(entry: list[Any]) -> Rejected:
    """An entry of `first_bad`; journals of version 0.1 have a sentence in the place of the reason's fields."""
    name, *reason = entry
    return Rejected(name, Reason(*reason) if len(reason) > 1 else Reason("other", reason[0]))


@dataclass
class Journal:
    """How far the pack has come.

    Attributes:
        key: of the listing and settings.
        entries: of the listing, done.
        shards: rows of each shard; the last one may be growing.
        rejected: lines of rejected.jsonl. bad: those of them that are images.
        first_bad: the first of these; first_strange: the first three that are no images. Each is its name and the
            fields of its reason.
        sources_bytes, rejected_bytes: lengths of the two lists.
    """

    key: str
    entries: int = 0
    shards: list[int] = field(default_factory=list)
    near_constant: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    bad: int = 0
    first_bad: list[list[Any]] = field(default_factory=list)
    first_strange: list[list[Any]] = field(default_factory=list)
    sources_bytes: int = 0
    rejected_bytes: int = 0

    @property
    def rows(self) -> int:
        return sum(self.shards)


class Partial:
    """The files of `folder`, opened where the journal says, or started anew where it does not fit.

    The caller holds the folder's lock.

    Args:
        class_ids: class name -> label; None where the set has no labels.
        key: equal keys: the same images and settings, so that the work can go on.
        shard_bytes: no file gets larger.
    """

    def __init__(
        self, folder: Path, spec: ImageSpec, class_ids: dict[str, int] | None, key: str, shard_bytes: int
    ) -> None:
        self._folder, self._set, self._spec, self._class_ids = folder, folder / "set", spec, class_ids
        self._row_bytes = int(np.prod(spec))
        self._capacity = max(1, (shard_bytes - HEADER_BYTES) // self._row_bytes)
        self._commit_s = time.monotonic()
        self._open: dict[str, AppendFile] = {}
        self.journal = self._read_journal(key)
        remove_leftovers(folder)
        if self.journal.entries == 0:
            (folder / "journal.json").unlink(missing_ok=True)
            shutil.rmtree(self._set, ignore_errors=True)
            self._set.mkdir(parents=True)
        self._remove_strangers()
        self._sources = AppendFile(folder / "sources.jsonl", self.journal.sources_bytes)
        self._rejected = AppendFile(self._set / layout.REJECTED, self.journal.rejected_bytes)
        if self.journal.shards and self.journal.shards[-1] < self._capacity:
            self._open_shard(self.journal.shards[-1])

    def add(self, outcomes: Sequence[Row | Rejected], bad: Sequence[bool]) -> None:
        """Appends the outcomes of the listing's next entries; bad[i]: outcome i is an image that was rejected."""
        rows = [outcome for outcome in outcomes if isinstance(outcome, Row)]
        lines = "".join(json.dumps({"name": row.item.name}) + "\n" for row in rows)
        self._sources.write(lines.encode())
        while rows:
            if not self._open:
                self.journal.shards.append(0)
                self._open_shard(0)
            rows = self._fill_shard(rows)
        for outcome, is_bad in zip(outcomes, bad, strict=True):
            self._note(outcome, is_bad)
        self.journal.entries += len(outcomes)

    def commit(self, every_s: float = 0.0) -> None:
        """Makes what was added survive a crash; not more often than `every_s`."""
        if time.monotonic() - self._commit_s < every_s:
            return
        for file in (*self._open.values(), self._sources, self._rejected):
            file.sync()
        self.journal.sources_bytes, self.journal.rejected_bytes = self._sources.offset, self._rejected.offset
        write_json(self._folder / "journal.json", asdict(self.journal))
        self._commit_s = time.monotonic()

    def publish(self, manifest: dict[str, Any], out: Path, replace: bool) -> None:
        """Closes the set, writes its manifest, and gives it its name; the folder `.NAME.partial` disappears."""
        self.commit()
        self._pack_sources()
        write_json(self._set / layout.MANIFEST, manifest)
        self.close()
        publish(self._set, out, replace)
        with contextlib.suppress(OSError):  # the set is safe
            remove_locked(self._folder)

    def index_and_labels(self) -> Iterator[tuple[Any, Any]]:
        """Of each shard. Ends the growth of the last one."""
        if self._open:
            self._close_shard()
        for number in range(len(self.journal.shards)):
            index = np.load(self._set / shard_file("index", number))
            labels = None
            if self._class_ids is not None:
                labels = np.load(self._set / shard_file("labels", number))
            yield index, labels

    def close(self) -> None:
        """Closes the files, and leaves them for the next time."""
        for file in (*self._open.values(), self._sources, self._rejected):
            file.close()
        self._open = {}

    def leave(self, discard: bool) -> None:
        """After an error: keeps what the journal knows of for the next time, or deletes everything.

        Nothing is committed here: the error may have struck halfway through `add`.
        """
        self.close()
        if discard or not (self._folder / "journal.json").exists():
            remove_locked(self._folder)

    def _read_journal(self, key: str) -> Journal:
        try:
            journal = Journal(**json.loads((self._folder / "journal.json").read_bytes()))
            sizes = {f"set/{layout.REJECTED}": journal.rejected_bytes, "sources.jsonl": journal.sources_bytes}
            for number, rows in enumerate(journal.shards):
                for kind, dtype, shape in self._kinds():
                    row_bytes = dtype.itemsize * int(np.prod(shape))
                    sizes[f"set/{shard_file(kind, number)}"] = HEADER_BYTES + rows * row_bytes
            whole = all((self._folder / name).stat().st_size >= size for name, size in sizes.items())
            return journal if journal.key == key and whole else Journal(key)
        except (OSError, ValueError, TypeError):
            return Journal(key)

    def _remove_strangers(self) -> None:
        """Deletes files begun after the last commit."""
        known = {layout.REJECTED}
        for number in range(len(self.journal.shards)):
            known |= {shard_file(kind, number) for kind, _, _ in self._kinds()}
        for path in self._set.iterdir():
            if path.name not in known:
                path.unlink()

    def _kinds(self) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
        """(kind of file, dtype, shape of a row)."""
        labels = [("labels", LABELS, ())] if self._class_ids is not None else []
        return [("images", np.dtype(np.uint8), tuple(self._spec)), ("index", INDEX, ()), *labels]

    def _open_shard(self, rows: int) -> None:
        number = len(self.journal.shards) - 1
        for kind, dtype, shape in self._kinds():
            path = self._set / shard_file(kind, number)
            offset = HEADER_BYTES + rows * dtype.itemsize * int(np.prod(shape)) if rows else 0
            self._open[kind] = AppendFile(path, offset)
            if not rows:
                self._open[kind].write(_BLANK)
        sync_folder(self._set)

    def _fill_shard(self, rows: list[Row]) -> list[Row]:
        """Writes as many rows as fit; returns the others."""
        room = self._capacity - self.journal.shards[-1]
        some = rows[:room]
        self._open["images"].write(b"".join(row.pixels for row in some))
        self._open["index"].write(b"".join(row.sha256 + row.crc32.to_bytes(4, "little") for row in some))
        if self._class_ids is not None:
            ids = [self._class_ids[str(row.item.label)] for row in some]
            self._open["labels"].write(np.array(ids, LABELS).tobytes())
        self.journal.shards[-1] += len(some)
        if len(some) == room:
            self._close_shard()
        return rows[room:]

    def _close_shard(self) -> None:
        number, rows = len(self.journal.shards) - 1, self.journal.shards[-1]
        for kind, dtype, shape in self._kinds():
            file = self._open.pop(kind)
            file.sync()
            file.close()
            patch(self._set / shard_file(kind, number), layout.npy_header(dtype, (rows, *shape)))

    def _note(self, outcome: Row | Rejected, is_bad: bool) -> None:
        journal = self.journal
        if isinstance(outcome, Row):
            journal.near_constant += outcome.flat
            for note in outcome.notes:
                journal.notes[note] = journal.notes.get(note, 0) + 1
            return
        reason = outcome.reason
        self._rejected.line(json.dumps({"name": outcome.name, "reason": str(reason), "kind": reason.kind}))
        journal.rejected += 1
        journal.bad += is_bad
        first, most = (journal.first_bad, 10) if is_bad else (journal.first_strange, 3)
        if len(first) < most:
            first.append([outcome.name, *reason])

    def _pack_sources(self) -> None:
        squeeze = zlib.compressobj(6, zlib.DEFLATED, 31)  # gzip without a time: equal sets give equal bytes
        with (
            (self._folder / "sources.jsonl").open("rb") as plain,
            AppendFile(self._set / layout.SOURCES, 0) as packed,
        ):
            while block := plain.read(1 << 20):
                packed.write(squeeze.compress(block))
            packed.write(squeeze.flush())
            packed.sync()
