"""Writes a packed dataset so that a pack killed at any instant can resume.

The folder `.NAME.partial` next to the target holds the dataset's files in `set/`, and a journal of how much of each is
safely on the disk. Resuming cuts the files back to the journal; the same images then give the same bytes as a pack that
was never interrupted.
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
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.atomic import AppendFile, patch, publish, remove_leftovers, sync_folder, write_json
from kantor.data.loading import layout
from kantor.data.loading.layout import HEADER_BYTES, LABELS, shard_file
from kantor.data.packing.pool import Row
from kantor.data.packing.scan import ClassIds, count_reason, is_bad
from kantor.data.reasons import Reason
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError
from kantor.lock import remove_locked
from kantor.types import ImageSpec

_WORTH_KEEPING = 2000  # entries: after so many, a pack that failed on bad images can resume with another --max-bad


def rejected_in(entry: list[Any]) -> Rejected:
    """Reads an entry of `first_bad`; in journals of version 0.1 the reason is a sentence."""
    name, *reason = entry
    return Rejected(name, Reason(*reason) if len(reason) > 1 else Reason("other", reason[0]))


@dataclass
class Journal:
    """The progress of a pack; written as JSON, so that names must stay."""

    key: str  # of the listing and settings
    entries: int = 0  # of the listing that are done
    shards: list[int] = field(default_factory=list)  # rows of each; the last one may be growing
    near_constant: int = 0
    notes: dict[str, int] = field(default_factory=dict)  # how often each conversion was made
    rejected: int = 0  # lines in rejected.jsonl
    bad: int = 0  # those of them that are images
    bad_reasons: dict[str, int] = field(default_factory=dict)  # why, as `count_reason` counts it
    first_bad: list[list[Any]] = field(default_factory=list)  # ten of these, each a name and the fields of its reason
    first_strange: list[list[Any]] = field(default_factory=list)  # three that are not images, likewise
    sources_bytes: int = 0  # length of sources.jsonl
    rejected_bytes: int = 0  # length of rejected.jsonl

    @property
    def rows(self) -> int:
        return sum(self.shards)


def _source_line(item: Item) -> str:
    """A line of sources.jsonl."""
    about = {} if item.place is None else {"object": item.place._asdict()}
    return json.dumps({"name": item.name, **about}) + "\n"


class PartialPack:
    """The files in `folder`, opened where the journal left off, or started anew if it has another key.

    The caller holds the folder's lock. Leaving the context closes the files, so that a later pack can resume.

    Args:
        key: equal keys mean equal images and settings, so that the pack can resume.
        shard_bytes: the largest size of a file.
        rules: data.rules, by which files count as images that cannot be used.
        commit_s: after how long to commit what was added.
    """

    def __init__(
        self,
        folder: Path,
        spec: ImageSpec,
        class_ids: ClassIds,
        key: str,
        shard_bytes: int,
        commit_s: float,
        rules: int,
    ) -> None:
        self._rules = rules
        self._folder, self._set, self._class_ids, self.spec = folder, folder / "set", class_ids, spec
        self._dtypes = layout.row_dtypes(spec, class_ids is not None)
        self._capacity = max(1, (shard_bytes - HEADER_BYTES) // self._dtypes["images"].itemsize)
        self._commit_s, self._committed_s = commit_s, time.monotonic()
        self._open: dict[str, AppendFile] = {}
        self.journal = self._read_journal(key)
        remove_leftovers(folder)
        if self.journal.entries == 0:
            (folder / "journal.json").unlink(missing_ok=True)
            shutil.rmtree(self._set, ignore_errors=True)
            self._set.mkdir(parents=True)
        committed = self._committed_bytes(self.journal)
        for path in self._set.iterdir():
            if path not in committed:
                path.unlink()
        self._sources = AppendFile(folder / "sources.jsonl", self.journal.sources_bytes)
        self._rejected = AppendFile(self._set / layout.REJECTED, self.journal.rejected_bytes)
        if self.journal.shards and self.journal.shards[-1] < self._capacity:
            self._open_shard(self.journal.shards[-1])

    def __enter__(self) -> PartialPack:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Keeps what was committed, unless a DataError struck so early that resuming would save little.

        Commits nothing: the error may have struck halfway through `add`.
        """
        self._close()
        early = isinstance(error, DataError) and self.journal.entries < _WORTH_KEEPING
        if error is not None and (early or not (self._folder / "journal.json").exists()):
            remove_locked(self._folder)

    def add(self, outcomes: Sequence[Row | Rejected]) -> None:
        """Appends the outcomes of the listing's next entries, and commits when it is time."""
        rows = [outcome for outcome in outcomes if isinstance(outcome, Row)]
        lines = "".join(_source_line(row.item) for row in rows)
        self._sources.write(lines.encode())
        while rows:
            if not self._open:
                self.journal.shards.append(0)
                self._open_shard(0)
            room = self._capacity - self.journal.shards[-1]
            self._append(rows[:room])
            if len(rows) >= room:
                self._close_shard()
            rows = rows[room:]
        for outcome in outcomes:
            self._record(outcome)
        self.journal.entries += len(outcomes)
        if time.monotonic() - self._committed_s >= self._commit_s:
            self.commit()

    def commit(self) -> None:
        """Makes what was added survive a crash."""
        for file in (*self._open.values(), self._sources, self._rejected):
            file.sync()
        self.journal.sources_bytes, self.journal.rejected_bytes = self._sources.offset, self._rejected.offset
        write_json(self._folder / "journal.json", asdict(self.journal))
        self._committed_s = time.monotonic()

    def publish(self, manifest: dict[str, Any], out: Path, replace: bool) -> None:
        """Closes the dataset, writes its manifest, moves it to `out` and removes the folder `.NAME.partial`."""
        self.commit()
        self._pack_sources()
        write_json(self._set / layout.MANIFEST, manifest)
        self._close()
        publish(self._set, out, replace)
        with contextlib.suppress(OSError):  # the dataset is safe
            remove_locked(self._folder)

    def close_shards(self) -> None:
        """Closes the last shard: all images are there."""
        if self._open:
            self._close_shard()

    def class_counts(self, classes: int) -> list[int]:
        """Number of images of each class, before `write_labels`."""
        counts = np.zeros(classes, np.int64)
        for number in range(len(self.journal.shards)):
            for labels in layout.blocks(self._path("labels", number), LABELS):
                counts += np.bincount(labels, minlength=classes)
        return counts.tolist()

    def write_labels(self, numbers: dict[int, int]) -> None:
        """Writes the labels of the dataset. numbers: of each class that stays, by its number in `class_ids`."""
        table = np.zeros(max(numbers, default=0) + 1, LABELS)
        table[list(numbers)] = list(numbers.values())
        for number, rows in enumerate(self.journal.shards):
            with AppendFile(self._set / shard_file("labels", number), 0) as file:
                file.write(layout.npy_header(self._dtypes["labels"], rows))
                for labels in layout.blocks(self._path("labels", number), LABELS):
                    file.write(table[labels].tobytes())
                file.sync()

    def index_and_labels(self) -> Iterator[tuple[Any, Any]]:
        """Yields (index, labels) of all rows, some at a time, after `write_labels`."""
        for number in range(len(self.journal.shards)):
            files = [layout.blocks(self._set / shard_file("index", number), layout.INDEX)]
            if self._class_ids is not None:
                files.append(layout.blocks(self._set / shard_file("labels", number), LABELS))
            for index, *labels in zip(*files, strict=True):
                yield index, labels[0] if labels else None

    def index(self) -> Iterator[Any]:
        """Yields the index of all rows, some at a time."""
        return (index for index, _ in self.index_and_labels())

    def first_images(self, count: int) -> NDArray[np.uint8]:
        """uint8 [N, H, W, C]: at most so many of the first shard."""
        images: NDArray[np.uint8] = np.load(self._path("images", 0), mmap_mode="r")[:count]
        return images

    def _path(self, kind: str, number: int) -> Path:
        """Of a shard's file. Labels are numbered anew when all are there, so that they stay outside until then."""
        return (self._folder if kind == "labels" else self._set) / shard_file(kind, number)

    def _close(self) -> None:
        for file in (*self._open.values(), self._sources, self._rejected):
            file.close()
        self._open = {}

    def _read_journal(self, key: str) -> Journal:
        try:
            journal = Journal(**json.loads((self._folder / "journal.json").read_bytes()))
            complete = all(path.stat().st_size >= size for path, size in self._committed_bytes(journal).items())
            return journal if journal.key == key and complete else Journal(key)
        except (OSError, ValueError, TypeError):
            return Journal(key)

    def _committed_bytes(self, journal: Journal) -> dict[Path, int]:
        """The size of each file at the last commit."""
        sizes = {
            self._set / layout.REJECTED: journal.rejected_bytes,
            self._folder / "sources.jsonl": journal.sources_bytes,
        }
        for number, rows in enumerate(journal.shards):
            for kind, dtype in self._dtypes.items():
                sizes[self._path(kind, number)] = layout.file_bytes(dtype, rows)
        return sizes

    def _open_shard(self, rows: int) -> None:
        for kind, dtype in self._dtypes.items():
            path = self._path(kind, len(self.journal.shards) - 1)
            self._open[kind] = AppendFile(path, layout.file_bytes(dtype, rows) if rows else 0)
            if not rows:
                self._open[kind].write(b" " * HEADER_BYTES)
        sync_folder(self._set)
        sync_folder(self._folder)

    def _append(self, rows: list[Row]) -> None:
        self._open["images"].write(b"".join(row.pixels for row in rows))
        self._open["index"].write(b"".join(row.sha256 + row.crc32.to_bytes(4, "little") for row in rows))
        if self._class_ids is not None:
            ids = [self._class_ids[str(row.item.label)] for row in rows]
            self._open["labels"].write(np.array(ids, LABELS).tobytes())
        self.journal.shards[-1] += len(rows)

    def _close_shard(self) -> None:
        number, rows = len(self.journal.shards) - 1, self.journal.shards[-1]
        for kind, dtype in self._dtypes.items():
            file = self._open.pop(kind)
            file.sync()
            file.close()
            patch(self._path(kind, number), layout.npy_header(dtype, rows))

    def _record(self, outcome: Row | Rejected) -> None:
        journal = self.journal
        if isinstance(outcome, Row):
            journal.near_constant += outcome.near_constant
            for note in outcome.notes:
                journal.notes[note] = journal.notes.get(note, 0) + 1
            return
        bad, reason = is_bad(outcome, self._rules), outcome.reason
        self._rejected.line(json.dumps({"name": outcome.name, "reason": str(reason), "kind": reason.kind}))
        journal.rejected += 1
        journal.bad += bad
        if bad:
            count_reason(journal.bad_reasons, outcome)
        examples, limit = (journal.first_bad, 10) if bad else (journal.first_strange, 3)
        if len(examples) < limit:
            examples.append([outcome.name, *reason])

    def _pack_sources(self) -> None:
        gzip = zlib.compressobj(6, zlib.DEFLATED, 31)  # without a time: equal datasets give equal bytes
        with (
            (self._folder / "sources.jsonl").open("rb") as plain,
            AppendFile(self._set / layout.SOURCES, 0) as packed,
        ):
            while block := plain.read(1 << 20):
                packed.write(gzip.compress(block))
            packed.write(gzip.flush())
            packed.sync()
