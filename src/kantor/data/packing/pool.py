"""A pool of worker processes that decode images, and outlives whatever an image does to them.

Plain child processes, not `multiprocessing`: that would import the user's main script again in each child, which
fails for scripts without a main guard, and one crash would break the whole pool.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.packing.worker import load_here, read_frame, write_frame
from kantor.data.reasons import Reason
from kantor.data.sources.source import Item, Rejected, Source

if TYPE_CHECKING:
    from kantor.data.decoding.decode import DecodeSettings

_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from kantor.data.packing.worker import main; main()"
_WATCH_S = 0.1
_CHUNK_BYTES = 16 << 20
_AHEAD_BYTES = 256 << 20  # loaded in this process and waiting for a worker

Loaded = dict[int, "bytes | NDArray[Any] | Reason"]  # by position


@dataclass(frozen=True, slots=True)
class Row:
    """A decoded image.

    Attributes:
        sha256: of the source's bytes, 32 bytes.
        crc32: of `pixels`.
        near_constant: whether it is nearly one colour.
        notes: the conversions that were made.
        pixels: uint8 [H, W, C] as bytes.
    """

    item: Item
    sha256: bytes
    crc32: int
    near_constant: bool
    notes: tuple[str, ...]
    pixels: bytes


class WorkerDied(Exception):
    """Raised when a worker is gone; str() is the reason."""


class Worker:
    """A child process, used by one thread at a time. The pool's watchdog increases `silence_s`."""

    def __init__(self, source: Source | None, settings: DecodeSettings | None) -> None:
        self.silence_s, self.busy, self.timed_out = 0.0, False, False
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if "KANTOR_DEBUG" in os.environ else subprocess.DEVNULL,  # libtiff prints there
            env=environment,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._tasks, self._replies = self.process.stdin, self.process.stdout
        with contextlib.suppress(OSError):
            pickle.dump((source, settings), self._tasks)
            self._tasks.flush()
        if read_frame(self._replies) is None:
            self.close()
            raise RuntimeError("a worker process did not start; set KANTOR_DEBUG=1 to see why")

    def ask(self, task: str, items: Sequence[Item], loaded: Loaded | None = None) -> Iterator[tuple[Any, bytes]]:
        """Sends a task and yields frames until all `items` are answered.

        Args:
            loaded: what this process has loaded, for a worker without a source.
        Raises:
            WorkerDied: it crashed, was killed, or was silent for too long.
        """
        self.silence_s, self.busy = 0.0, True
        replies = len(items)
        blob = pickle.dumps({item.position: loaded[item.position] for item in items}) if loaded is not None else b""
        try:
            with contextlib.suppress(OSError):
                write_frame(self._tasks, {"do": task, "items": [astuple(item) for item in items]}, blob)
            while replies > 0:
                frame = read_frame(self._replies)
                self.silence_s = 0.0
                if frame is None:
                    raise WorkerDied("the decoder crashed")
                replies -= len(frame[0])
                yield frame
        finally:
            self.busy = False

    def close(self) -> None:
        self.process.kill()
        for stream in (self._tasks, self._replies):
            with contextlib.suppress(OSError):
                stream.close()
        self.process.wait()


class Pool:
    """Decodes images in `workers` processes, in order.

    Args:
        settings: None if only `probe` is used.
        row_bytes: size of a decoded image.
        timeout_s: an image that takes longer is skipped.
    """

    def __init__(
        self,
        source: Source,
        settings: DecodeSettings | None,
        row_bytes: int,
        workers: int,
        timeout_s: float = 10.0,
    ) -> None:
        self._source, self._settings, self._row_bytes, self._timeout_s = source, settings, row_bytes, timeout_s
        self._workers = workers
        self._load_here = source.local_only
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()  # last used first: small datasets start one
        for _ in range(workers):
            self._idle.put(None)
        self._alive: set[Worker] = set()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pack")
        self._stop = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, daemon=True)
        self._watchdog.start()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()  # before the kills, so that no thread starts another worker
        for worker in list(self._alive):
            worker.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._alive:
            worker.close()

    def decode(self, entries: Iterable[Item | Rejected], chunk: int = 128) -> Iterator[list[Row | Rejected]]:
        """Yields the outcomes of the entries in order, some at a time; works on a few chunks at once."""
        chunk = max(1, min(chunk, _CHUNK_BYTES // self._row_bytes))
        pending: deque[tuple[Future[list[Row | Rejected]], int]] = deque()
        ahead_bytes = 0
        for part, loaded, size_bytes in self._chunks(entries, chunk):
            pending.append((self._threads.submit(self._decode_chunk, part, loaded), size_bytes))
            ahead_bytes += size_bytes
            while len(pending) > 2 * self._workers or (ahead_bytes > _AHEAD_BYTES and len(pending) > 1):
                future, done_bytes = pending.popleft()
                ahead_bytes -= done_bytes
                yield future.result()
        for future, _ in pending:
            yield future.result()

    def probe(self, items: Sequence[Item]) -> list[tuple[int, int, str]]:
        """Returns (height, width, kind) of those items that can be read."""
        probed: list[tuple[int, int, str]] = []
        for part, loaded, _ in self._chunks(items, 8):
            batch = [item for item in part if isinstance(item, Item)]
            try:
                probed += self._probe(batch, loaded)
            except WorkerDied:  # one by one, to lose only the image that caused it
                for item in batch:
                    with contextlib.suppress(WorkerDied):
                        probed += self._probe([item], loaded)
        return probed

    def _probe(self, items: list[Item], loaded: Loaded | None) -> list[tuple[int, int, str]]:
        with self._borrowed() as worker:
            replies = [reply for frame, _ in worker.ask("probe", items, loaded) for reply in frame]
        return [(reply[0], reply[1], reply[2]) for reply in replies if reply is not None]

    def _chunks(
        self, entries: Iterable[Item | Rejected], chunk: int
    ) -> Iterator[tuple[list[Item | Rejected], Loaded | None, int]]:
        """Yields (entries, what they hold, its bytes); (entries, None, 0) if workers read the source themselves."""
        part: list[Item | Rejected] = []
        loaded: Loaded = {}
        size_bytes = 0
        for entry in entries:
            part.append(entry)
            if self._load_here and isinstance(entry, Item):
                data = loaded[entry.position] = load_here(self._source, entry)
                size_bytes += data.nbytes if isinstance(data, np.ndarray) else len(data)
            if len(part) == chunk or size_bytes > _CHUNK_BYTES:
                yield part, loaded if self._load_here else None, size_bytes
                part, loaded, size_bytes = [], {}, 0
        if part:
            yield part, loaded if self._load_here else None, size_bytes

    def _decode_chunk(self, entries: list[Item | Rejected], loaded: Loaded | None) -> list[Row | Rejected]:
        items = [entry for entry in entries if isinstance(entry, Item)]
        outcomes: list[Row | Rejected] = []
        one_by_one = False  # after a crash, to find the image that caused it
        while len(outcomes) < len(items):
            remaining = items[len(outcomes) :]
            task = remaining[:1] if one_by_one else remaining
            try:
                with self._borrowed() as worker:
                    for frame, blob in worker.ask("decode", task, loaded):
                        outcomes += self._unpack(items[len(outcomes) :], frame, blob)
            except WorkerDied as death:
                if one_by_one:
                    outcomes.append(Rejected(items[len(outcomes)].name, Reason("decoder", str(death))))
                one_by_one = True
        answers = iter(outcomes)
        return [next(answers) if isinstance(entry, Item) else entry for entry in entries]

    def _unpack(self, items: list[Item], frame: list[Any], blob: bytes) -> list[Row | Rejected]:
        outcomes: list[Row | Rejected] = []
        offset = 0
        for item, reply in zip(items, frame, strict=False):
            if len(reply) == 1:
                outcomes.append(Rejected(item.name, Reason(*reply[0])))
                continue
            sha256, crc32, near_constant, notes = reply
            pixels = blob[offset : offset + self._row_bytes]
            outcomes.append(Row(item, bytes.fromhex(sha256), crc32, near_constant, tuple(notes), pixels))
            offset += self._row_bytes
        return outcomes

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Worker]:
        """Lends a worker to this thread; the next borrower replaces one that died."""
        worker = self._idle.get()
        try:
            if worker is None:
                if self._stop.is_set():
                    raise RuntimeError("the pool is closed")
                worker = Worker(None if self._load_here else self._source, self._settings)
                self._alive.add(worker)
            yield worker
        except WorkerDied as death:
            assert worker is not None
            self._alive.discard(worker)
            worker.close()
            reason = f"took longer than {self._timeout_s:g} s" if worker.timed_out else str(death)
            worker = None
            raise WorkerDied(reason) from None
        finally:
            self._idle.put(worker)

    def _watch(self) -> None:
        """Kills workers that are silent for too long. Counts its own ticks, so that time while suspended does not count."""
        while not self._stop.wait(_WATCH_S):
            for worker in list(self._alive):
                worker.silence_s += _WATCH_S
                if worker.busy and worker.silence_s > self._timeout_s:
                    worker.timed_out = True
                    worker.process.kill()


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
