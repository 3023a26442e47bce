"""A pool of worker processes that decode images, and outlives whatever an image does to them.

Plain child processes, not `multiprocessing`: that would import the user's main script again in each child, which
fails for scripts without a main guard, and one crash would break the whole pool.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from kantor.data.decoding.decode import DecodeSettings
from kantor.data.packing.worker import Data, Job, Task, load_here, read_frame, size_of
from kantor.data.reasons import Reason
from kantor.data.sources.source import Item, Rejected, Source

_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from kantor.data.packing.worker import main; main()"
_WATCH_S = 0.1
_CHUNK_BYTES = 16 << 20
_AHEAD_BYTES = 256 << 20  # loaded in this process and waiting for a worker

Chunk = list[tuple[Item | Rejected, Data]]


@dataclass(frozen=True, slots=True)
class Row:
    """A decoded image."""

    item: Item
    sha256: bytes  # 32 bytes, of the source's bytes
    crc32: int  # of `pixels`
    near_constant: bool  # whether it is nearly one colour
    dark: bool  # whether it is of 8 bits and holds no value above 63
    notes: tuple[str, ...]  # the conversions that were made
    pixels: bytes  # uint8 [H, W, C]


@dataclass(frozen=True, slots=True)
class Seen:
    """What another job than decoding has found in an image."""

    value: Any  # as JSON: tuples are lists


class WorkerDied(Exception):
    """Raised when a worker is gone; str() is the reason."""


class Worker:
    """A child process, started when it is first needed and again after it died. One thread at a time may use it.

    setup: pickled source and settings. timeout_s: longest silence while it works.
    """

    def __init__(self, setup: bytes, row_bytes: int, timeout_s: float) -> None:
        self._setup, self._row_bytes, self._timeout_s = setup, row_bytes, timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._busy, self._silence_s = False, 0.0

    def ask(self, tasks: Sequence[Task]) -> Iterator[Row | Seen | Rejected]:
        """Yields the outcome of each task in order. Raises WorkerDied if it crashes or is silent for too long."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        self._silence_s, self._busy = 0.0, True  # watch() adds to an idle worker's silence too
        try:
            with contextlib.suppress(OSError):
                pickle.dump(tasks, process.stdin)
                process.stdin.flush()
            done = 0
            while done < len(tasks):
                frame = read_frame(process.stdout)
                if frame is None:
                    timed_out = self._silence_s > self._timeout_s
                    self.close()
                    raise WorkerDied(f"took longer than {self._timeout_s:g} s" if timed_out else "the decoder crashed")
                self._silence_s = 0.0
                answers, pixels = frame[0], io.BytesIO(frame[1])
                for answer in answers:
                    item, _ = tasks[done]
                    done += 1
                    kind, *values = answer
                    if kind == "rejected":
                        yield Rejected(item.name, Reason(*values))
                    elif kind == "seen":
                        yield Seen(values[0])
                    else:
                        sha256, crc32, near_constant, dark, notes = values
                        row = pixels.read(self._row_bytes)
                        yield Row(item, bytes.fromhex(sha256), crc32, near_constant, dark, tuple(notes), row)
        finally:
            self._busy = False

    def watch(self, elapsed_s: float) -> None:
        """Kills the process if it was silent for too long, `elapsed_s` after the last call."""
        self._silence_s += elapsed_s
        if self._busy and self._silence_s > self._timeout_s:
            self.kill()

    def kill(self) -> None:
        process = self._process  # another thread may close it meanwhile
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            with contextlib.suppress(OSError), self._process as process:
                process.kill()
        self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        process = self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if "KANTOR_DEBUG" in os.environ else subprocess.DEVNULL,  # libtiff prints there
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.write(self._setup)
            process.stdin.flush()
        if read_frame(process.stdout) is None:
            self.close()
            raise RuntimeError("a worker process did not start; set KANTOR_DEBUG=1 to see why")
        return process


class Pool:
    """Decodes images in `workers` processes, in order.

    Args:
        job: what is done with each image.
        timeout_s: an image that takes longer is rejected.
    """

    def __init__(self, source: Source, job: Job, workers: int, timeout_s: float = 10.0) -> None:
        self._source = source
        self._row_bytes = math.prod(job.spec) if isinstance(job, DecodeSettings) else 1
        setup = pickle.dumps((None if source.local_only else source, job))
        self._workers = [Worker(setup, self._row_bytes, timeout_s) for _ in range(workers)]
        self._idle = list(self._workers)  # the last used is borrowed first, so small datasets start one process
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pack")
        self._stop = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def workers(self) -> int:
        """How many processes it has at most."""
        return len(self._workers)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()  # before the kills, so that no thread starts another process
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def decode(self, entries: Iterable[Item | Rejected], chunk: int = 128) -> Iterator[list[Row | Rejected]]:
        """Yields the outcomes of the entries in order, some at a time; works on a few chunks at once."""
        return self._outcomes(entries, max(1, min(chunk, _CHUNK_BYTES // self._row_bytes)))

    def look(self, items: Iterable[Item], chunk: int = 8) -> Iterator[Any]:
        """Yields what the job finds in each item, None for those that cannot be read."""
        for outcome in itertools.chain.from_iterable(self._outcomes(items, chunk)):
            yield outcome.value if isinstance(outcome, Seen) else None

    def _outcomes(self, entries: Iterable[Item | Rejected], chunk: int) -> Iterator[list[Any]]:
        pending: deque[tuple[Future[list[Any]], int]] = deque()
        ahead_bytes = 0
        for tasks, size_bytes in self._chunks(entries, chunk):
            pending.append((self._threads.submit(self._run, tasks), size_bytes))
            ahead_bytes += size_bytes
            while len(pending) > 2 * len(self._workers) or (ahead_bytes > _AHEAD_BYTES and len(pending) > 1):
                future, done_bytes = pending.popleft()
                ahead_bytes -= done_bytes
                yield future.result()
        for future, _ in pending:
            yield future.result()

    def _chunks(self, entries: Iterable[Item | Rejected], chunk: int) -> Iterator[tuple[Chunk, int]]:
        """Yields the entries with what this process has loaded for the workers, and the bytes of that."""
        tasks: Chunk = []
        size_bytes = encoded_bytes = 0
        for entry in entries:
            data = load_here(self._source, entry) if self._source.local_only and isinstance(entry, Item) else None
            size_bytes += size_of(data)
            encoded_bytes += entry.size if isinstance(entry, Item) else 0
            tasks.append((entry, data))
            if len(tasks) == chunk or max(size_bytes, encoded_bytes) > _CHUNK_BYTES:
                yield tasks, size_bytes
                tasks, size_bytes, encoded_bytes = [], 0, 0
        if tasks:
            yield tasks, size_bytes

    def _run(self, chunk: Chunk) -> list[Row | Seen | Rejected]:
        tasks = [(entry, data) for entry, data in chunk if isinstance(entry, Item)]
        outcomes: list[Row | Seen | Rejected] = []
        one_by_one = False  # after a crash, to find the image that caused it
        while len(outcomes) < len(tasks):
            if self._stop.is_set():
                raise RuntimeError("the pool is closed")
            remaining = tasks[len(outcomes) :]
            worker = self._idle.pop()  # one for each thread
            try:
                for outcome in worker.ask(remaining[:1] if one_by_one else remaining):
                    outcomes.append(outcome)  # one at a time: those before a crash count
            except WorkerDied as death:
                if one_by_one:
                    outcomes.append(Rejected(remaining[0][0].name, Reason("decoder", str(death))))
                one_by_one = True
            finally:
                self._idle.append(worker)
        results = iter(outcomes)
        return [next(results) if isinstance(entry, Item) else entry for entry, _ in chunk]

    def _watch(self) -> None:
        """Counts its own ticks, so that time while suspended does not count."""
        while not self._stop.wait(_WATCH_S):
            for worker in self._workers:
                worker.watch(_WATCH_S)


def worker_count(images: int, encoded_bytes: int = 0, most: int | None = None) -> int:
    """Returns how many workers to start, at most one per core: each takes longer to start than a few small images.

    encoded_bytes: size of all images.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(most or cores, images, max(images // 64, encoded_bytes // _CHUNK_BYTES)))
